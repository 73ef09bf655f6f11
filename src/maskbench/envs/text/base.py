"""What a text game answers, and what every text game can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from maskbench.errors import EnvError


@dataclass(frozen=True)
class TextStep:
    """The state of a game after a command, or after its reset.

    obs:        what the game printed.
    score:      points so far, in the game's own units.
    max_score:  the most that the game gives; 0 where it is not known.
    reward:     points that the last command earned; 0 after a reset.
    done:       the game is over; won or lost says how, neither where it was cut short.
    admissible: commands that the game accepts now and that may change something; None where it cannot tell.
    inventory:  what ``inventory`` would print; None where it is not known without asking.
    location:   name of the room; None where it is not known.
    expert:     what the environment's own teacher would do now; None without a teacher, or once nothing can be won.
    """

    obs: str
    score: float
    max_score: float
    reward: float
    done: bool
    won: bool
    lost: bool
    admissible: tuple[str, ...] | None
    inventory: str | None
    location: str | None
    expert: str | None


class TextEnv(ABC):
    """One text game. What it prints depends on the seed of its reset and on the commands since, on nothing else."""

    @abstractmethod
    def reset(self, seed: int) -> TextStep:
        """Begins an episode: the game, or the chance in it, that ``seed`` names."""

    @abstractmethod
    def step(self, command: str) -> TextStep:
        """Answers ``command``. Raises EnvError before the first reset and after the end of an episode."""

    def save(self) -> Any:
        """The present state, for ``load`` of the same game. Raises EnvError where the game cannot be saved."""
        raise EnvError(f"{type(self).__name__} cannot save its state; replay the commands instead")

    def load(self, state: Any) -> TextStep:
        """Goes back to what ``save`` gave and repeats its step. Raises EnvError where the game cannot be saved."""
        raise EnvError(f"{type(self).__name__} cannot load a state; replay the commands instead")

    def close(self) -> None:  # noqa: B027 - most games hold nothing
        """Frees the interpreter behind the game."""
