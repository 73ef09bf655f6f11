"""TextWorld's cooking games as an environment of the workbench."""

from __future__ import annotations

from pathlib import Path

from maskbench.envs.text.clean import Cleaning
from maskbench.envs.text.cooking.files import Collection, make_games
from maskbench.envs.text.cooking.game import TextWorldGame
from maskbench.envs.text.family import TextGames
from maskbench.envs.text.levels import Flavour, Split, level_of
from maskbench.errors import ConfigError

#: Games of a split where nothing else is said: GATA's largest training set, and its validation and test sets.
GAMES: dict[Split, int] = {"train": 100, "valid": 20, "test": 20}


class Cooking(TextGames):
    """Cooking games of one level, flavour and split; the missing ones are made before the first episode.

    folder:  where games lie (``maskbench.envs.text.cooking.files``).
    games:   how many of the split; None = 100 of train, 20 of valid and test.
    horizon: commands of an episode; GATA's evaluation allows 100.
    expert:  whether observations name the teacher's command (slower).
    status, banner, score_text, collapse, append_inventory, append_look: ``maskbench.envs.text.clean.Cleaning``.
    """

    def __init__(
        self,
        level: int,
        flavour: Flavour = "gata",
        split: Split = "train",
        games: int | None = None,
        folder: str = "data/generated/cooking",
        horizon: int = 100,
        expert: bool = False,
        status: bool = False,
        banner: bool = False,
        score_text: bool = True,
        collapse: bool = True,
        append_inventory: bool = False,
        append_look: bool = False,
    ) -> None:
        if games is not None and games < 1:
            raise ConfigError(f"games must be at least 1, or null for the usual number; found {games}")
        self.name = f"cooking_level_{level}"
        self.level, self.split, self.horizon, self.expert = level_of(level, flavour), split, horizon, expert
        self.collection = Collection(Path(folder), level, flavour, split)
        self.games = games or GAMES[split]
        self.worlds = self.collection.seeds(self.games)
        self.cleaning = Cleaning(status, banner, score_text, collapse, append_inventory, append_look)

    @property
    def max_score(self) -> float:
        return float(self.level.max_score)

    def prepare(self, jobs: int = 1) -> None:
        for _ in make_games(self.collection, self.games, jobs):
            pass

    def game(self) -> TextWorldGame:
        files = {seed: self.collection.file(seed) for seed in self.collection.seeds(self.games)}
        return TextWorldGame(files, self.max_score, self.cleaning, self.expert)
