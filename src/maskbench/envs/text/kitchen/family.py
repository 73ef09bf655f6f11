"""The kitchen as an environment of the workbench."""

from __future__ import annotations

from typing import Literal

from maskbench.envs.text.family import TextGames
from maskbench.envs.text.kitchen.game import Kitchen
from maskbench.envs.text.levels import FIRST_SEED, Flavour, Split, level_of
from maskbench.errors import ConfigError


class KitchenLite(TextGames):
    """Cooking games in pure Python, tens of thousands a minute: for tests, for documentation and to pre-train on.

    level, flavour: what a game asks for (``maskbench.envs.text.levels``).
    foods:   ``textworld``: its names, by ``split``. ``invented``: names that no other game has.
    split:   whose names and seeds.
    games:   how many different games there are; None = every seed is one of its own.
    horizon: commands of an episode.
    expert:  whether observations name the teacher's command.
    strange: share of the sentences about rooms and furniture that are random words around the names (``babble``).
    """

    def __init__(
        self,
        level: int = 2,
        flavour: Flavour = "gata",
        foods: Literal["textworld", "invented"] = "textworld",
        split: Split = "train",
        games: int | None = None,
        horizon: int = 50,
        expert: bool = True,
        strange: float = 0.0,
    ) -> None:
        if not 0 <= strange <= 1:
            raise ConfigError(f"strange is a share from 0 to 1; found {strange}")
        if games is not None and games < 1:
            raise ConfigError(f"games must be at least 1, or null for a new one each episode; found {games}")
        self.name = "kitchen_lite"
        self.level, self.split, self.horizon, self.expert = level_of(level, flavour), split, horizon, expert
        self.foods, self.strange = foods, strange
        self.worlds = None if games is None else range(FIRST_SEED[split], FIRST_SEED[split] + games)

    @property
    def max_score(self) -> float:
        return float(self.level.max_score)

    def game(self) -> Kitchen:
        split: Split = self.split  # type: ignore[assignment]
        return Kitchen(self.level, split, self.foods == "invented", self.expert, self.strange)
