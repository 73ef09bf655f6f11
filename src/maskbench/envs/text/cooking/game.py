"""One of TextWorld's games, seen as a ``TextEnv``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskbench.envs.text.base import TextEnv, TextStep
from maskbench.envs.text.clean import Cleaning
from maskbench.envs.text.cooking.files import require_textworld
from maskbench.envs.text.cooking.teacher import Teacher
from maskbench.errors import EnvError


class TextWorldGame(TextEnv):
    """Plays the file of ``files`` that a seed names. ``expert`` costs about half of the speed: ask for it when collecting.

    There is no saved state: TextWorld's interpreter keeps the game and its facts apart, so states are replayed.
    """

    def __init__(self, files: Mapping[int, Path], max_score: float, cleaning: Cleaning, expert: bool) -> None:
        self.files, self.max_score, self.cleaning, self.expert = files, max_score, cleaning, expert
        self._env: Any = None
        self._open: Path | None = None
        self._over = True

    def reset(self, seed: int) -> TextStep:
        require_textworld()
        if seed not in self.files:
            raise EnvError(f"no cooking game has the seed {seed}; these are {min(self.files)} to {max(self.files)}")
        path = self.files[seed]
        if not path.is_file():
            raise EnvError(f"the game {path} has not been made. Run: python -m maskbench text make-games")
        if self._open != path:
            self.close()
            self._env, self._open = _start(path, self.expert), path
        state = self._env.reset()
        self._score, self._moves, self._over = 0.0, 0, False
        self._teacher = Teacher() if self.expert else None
        return self._step(state)

    def step(self, command: str) -> TextStep:
        if self._over:
            raise EnvError("the game is over, or has not begun; reset it before the next command")
        command = " ".join(command.split())
        state, _, _ = self._env.step(command or "wait")
        self._moves += 1
        if self._teacher is not None:
            self._teacher.saw(command, state.feedback)
        return self._step(state)

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = self._open = None

    def _step(self, state: Any) -> TextStep:
        won, lost = bool(state.won), bool(state.lost)
        score = float(state.score)
        reward, self._score = score - self._score, score
        self._over = won or lost
        text = self.cleaning.text(state.feedback or "")
        if self.cleaning.look and not self._over and state.description.strip() not in text:
            text = f"{text}\n{self.cleaning.text(state.description)}"
        inventory = " ".join((state.inventory or "").split())
        if self.cleaning.inventory:
            text = f"{text}\n{inventory}"
        return TextStep(
            obs=text,
            score=score,
            max_score=self.max_score,
            reward=reward,
            done=self._over,
            won=won,
            lost=lost,
            admissible=() if self._over else tuple(state.admissible_commands),
            inventory=inventory,
            location=_room(state.description),
            expert=None if self._teacher is None or self._over else self._teacher.advise(state, self._moves),
        )


def _room(description: str) -> str | None:
    start, _, rest = (description or "").strip().partition("-= ")
    return rest.partition(" =-")[0].lower() or None if not start else None


def _start(path: Path, expert: bool) -> Any:
    import textworld

    wanted = textworld.EnvInfos(
        feedback=True,
        description=True,
        inventory=True,
        score=True,
        won=True,
        lost=True,
        admissible_commands=True,
        policy_commands=expert,
        facts=expert,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Jericho's: the score of these games comes from TextWorld
        return textworld.start(str(path), wanted)
