"""Families of text games in the workbench: words are factors, so plans, records, workers and intervals are those of all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from maskbench.envs.base import BatchEnv, Environment, Observation, Start, StepBatch
from maskbench.envs.text.base import TextEnv, TextStep
from maskbench.errors import EnvError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

if TYPE_CHECKING:
    import gymnasium

#: Text cells are ``str``; ``admissible`` holds a command a line. What a game does not tell is an empty text.
#: ``points`` = (score, greatest score, points of the last command).
TEXT_SPEC = TrajectorySpec(
    (
        *(Factor(name, "text", "state") for name in ("obs", "admissible", "inventory", "location", "expert")),
        Factor("points", "continuous", "state", (3,)),
        Factor("command", "text", "action"),
        Factor("reward", "continuous", "reward", (1,)),
    )
)
_WORDS = ("obs", "admissible", "inventory", "location", "expert")


def pack(steps: Sequence[TextStep]) -> dict[str, np.ndarray]:
    """State factors of ``n`` steps: object arrays ``(n,)`` of str, and ``points`` ``(n, 3)`` float32."""
    words = {
        "obs": [s.obs for s in steps],
        "admissible": ["\n".join(s.admissible or ()) for s in steps],
        "inventory": [s.inventory or "" for s in steps],
        "location": [s.location or "" for s in steps],
        "expert": [s.expert or "" for s in steps],
    }
    packed: dict[str, np.ndarray] = {name: np.empty(len(steps), object) for name in words}
    for name, texts in words.items():
        packed[name][:] = texts
    packed["points"] = np.array([(s.score, s.max_score, s.reward) for s in steps], np.float32).reshape(-1, 3)
    return packed


def unpack(observation: Observation) -> list[TextStep]:
    """The steps behind state factors, for games that go on."""
    columns = (*(observation[name] for name in _WORDS), observation["points"])
    return [
        TextStep(
            obs=str(obs),
            score=float(points[0]),
            max_score=float(points[1]),
            reward=float(points[2]),
            done=False,
            won=False,
            lost=False,
            admissible=tuple(str(admissible).split("\n")) if admissible else None,
            inventory=str(inventory) or None,
            location=str(location) or None,
            expert=str(expert) or None,
        )
        for obs, admissible, inventory, location, expert, points in zip(*columns, strict=True)
    ]


class TextGames(Environment):
    """Text games of one kind. A subclass says how to open one, and how many points can be had."""

    success_events: ClassVar[tuple[str, ...]] = ("won",)
    events: tuple[str, ...] | None = ("won", "lost")
    spec = TEXT_SPEC

    #: Environment seeds of a fixed set of games, each of which an evaluation plays in turn; None = any seed is a game.
    worlds: Sequence[int] | None = None
    #: Which part of the games these are; only games that are split have more than one.
    split: str = "train"

    @abstractmethod
    def game(self) -> TextEnv:
        """One game, not yet reset."""

    @property
    @abstractmethod
    def max_score(self) -> float:
        """The most points of a game; 0 where it is not known."""

    def prepare(self, jobs: int = 1) -> None:
        """Makes or finds everything that games need, in ``jobs`` processes; nothing for games that exist already."""

    def make(self) -> gymnasium.Env[Any, Any]:
        from maskbench.envs.single import SingleEnv, text_space

        return SingleEnv(self.make_batch(1), self.spec, text_space(), "won")

    def make_batch(self, num_slots: int) -> TextBatch:
        return TextBatch([self.game() for _ in range(num_slots)], self.horizon)

    def generate(self, episodes: int | range, seed: int, **options: Any) -> Iterator[Episode]:
        raise EnvError(
            f"'{self.name}' is a text game, whose episodes are rollouts of text. Collect its teacher's with: "
            f"python -m maskbench text collect env={self.name}"
        )

    def score(self, episode_return: float) -> Mapping[str, float]:
        return {"normalised_score": episode_return / self.max_score} if self.max_score else {}


class TextBatch(BatchEnv):
    """Text games in lock step."""

    def __init__(self, games: Sequence[TextEnv], horizon: int) -> None:
        self.games, self.horizon, self.num_slots = games, horizon, len(games)
        self._elapsed = [0] * len(games)

    def reset(self, slots: Sequence[int], seeds: Sequence[int], starts: Sequence[Start | None] | None = None) -> Observation:
        if starts is not None and any(s is not None for s in starts):
            raise EnvError("a text game begins where its seed says; it has no saved simulator state to start from")
        for slot in slots:
            self._elapsed[slot] = 0
        return pack([self.games[slot].reset(int(seed)) for slot, seed in zip(slots, seeds, strict=True)])

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        if len(actions) != len(slots):
            raise EnvError(f"{len(slots)} slots need {len(slots)} commands; found {len(actions)}")
        steps = [self.games[slot].step(str(command)) for slot, command in zip(slots, actions, strict=True)]
        for slot in slots:
            self._elapsed[slot] += 1
        return StepBatch(
            observation=pack(steps),
            reward=np.array([s.reward for s in steps], np.float32),
            terminated=np.array([s.done for s in steps], bool),
            truncated=np.array([self._elapsed[slot] >= self.horizon for slot in slots], bool),
            events=tuple(("won",) * s.won + ("lost",) * s.lost for s in steps),
        )

    def render(self, slot: int) -> np.ndarray:
        raise EnvError("a text game has no picture; its transcript is in the rollouts that experiment.run_id stores")

    def close(self) -> None:
        for game in self.games:
            game.close()
