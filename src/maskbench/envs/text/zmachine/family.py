"""Story files as an environment of the workbench."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from maskbench.envs.text.clean import Cleaning
from maskbench.envs.text.family import TextGames
from maskbench.envs.text.zmachine.game import ZMachineGame
from maskbench.errors import EnvError, did_you_mean

#: Games that come with maskbench: a story file and its solution.
SHIPPED = Path(__file__).with_name("games")
SUFFIXES = tuple(f".z{version}" for version in range(1, 9))


class ZMachine(TextGames):
    """A story file: Zork, any game of the Jericho suite, any other.

    game:    a path, or the name of a file in ``folder`` or among the games that come with maskbench, with or without its
             suffix. ``<game>.txt`` beside it may hold a solution, a command a line; Jericho knows those of its own suite.
    folder:  where the user keeps games.
    seed:    chance in the game: a number for every episode; ``walkthrough``: that of the solution; ``episode``: each its own.
    horizon: commands of an episode.
    admissible: search for commands that change the world, at each step.
    score_text, collapse, append_inventory, append_look, status: ``maskbench.envs.text.clean.Cleaning``.

    Raises EnvError where there is no such game, MissingExtraError without Jericho, both when the first game is opened.
    """

    def __init__(
        self,
        game: str,
        folder: str = "data/games",
        seed: int | Literal["walkthrough", "episode"] = "walkthrough",
        horizon: int = 400,
        admissible: bool = False,
        status: bool = False,
        score_text: bool = True,
        collapse: bool = True,
        append_inventory: bool = False,
        append_look: bool = False,
    ) -> None:
        self.story, self.folder, self.seed, self.horizon = game, Path(folder), seed, horizon
        self.name = Path(game).stem
        self.admissible = admissible
        self.cleaning = Cleaning(status, False, score_text, collapse, append_inventory, append_look)
        # where chance is fixed there is one game, which every episode plays
        self.worlds = None if seed == "episode" else (0,)

    @functools.cached_property
    def max_score(self) -> float:  # type: ignore[override]
        game = self.game()
        game.search = False
        try:
            return game.reset(0).max_score
        finally:
            game.close()

    @property
    def path(self) -> Path:
        """The story file. Raises EnvError where it is nowhere."""
        return find_game(self.story, self.folder)

    def prepare(self, jobs: int = 1) -> None:
        self.game().close()

    def game(self) -> ZMachineGame:
        path = self.path
        notes = path.with_suffix(".txt")
        lines = notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []
        solution = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        fixed = self.seed if isinstance(self.seed, int) else None
        game = ZMachineGame(path, solution, fixed, self.admissible, self.cleaning)
        if self.seed == "walkthrough":
            game.seed = game.walkthrough_seed
        return game


def find_game(game: str, folder: Path) -> Path:
    """The story file that ``game`` names."""
    if Path(game).suffix in SUFFIXES and Path(game).is_file():
        return Path(game)
    files = games_at(folder)
    for path in files:
        if game in (path.name, path.stem):
            return path
    raise EnvError(
        f"there is no story file '{game}' in {folder}, nor among the games that come with maskbench. Put the file there, or "
        f"give its path (env.game=...). {did_you_mean(game, [f.name for f in files])}"
    )


def games_at(folder: Path) -> list[Path]:
    """Story files below ``folder``, then those that come with maskbench."""
    own = sorted(p for p in folder.rglob("*.z?") if p.suffix in SUFFIXES) if folder.is_dir() else []
    return own + sorted(p for p in SHIPPED.glob("*.z?") if p.suffix in SUFFIXES)
