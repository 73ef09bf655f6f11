"""Players of text games: one episode each, and many of them behind the policy that rollouts see."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from maskbench.envs.base import Observation
from maskbench.envs.text.base import TextEnv, TextStep
from maskbench.envs.text.family import unpack
from maskbench.rollout.plan import PlanRow
from maskbench.text.rollout import Label


@dataclass(frozen=True)
class Decision:
    """What a player does at a step, and what it has to say about it.

    texts:   other words, by field, e.g. ``hindsight_expectation``: kept in rollouts, never sent to the game.
    labels:  hindsight about earlier steps.
    noise:   drawn at random on purpose: seen by models, not imitated.
    logprob: log-probability of the command under the player's model; None without one.
    """

    command: str
    texts: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[Label, ...] = ()
    noise: bool = False
    logprob: float | None = None

    def note(self) -> str:
        """Everything but the command, as one line of JSON; empty where there is nothing."""
        said = {"texts": dict(self.texts), "labels": [asdict(label) for label in self.labels], "noise": self.noise}
        kept = {key: value for key, value in said.items() if value}
        return json.dumps(kept, ensure_ascii=False) if kept else ""

    @classmethod
    def noted(cls, command: str, note: str) -> Decision:
        """The inverse of ``note``."""
        said: dict[str, Any] = json.loads(note) if note else {}
        labels = tuple(Label(**label) for label in said.get("labels", ()))
        return cls(command, said.get("texts", {}), labels, said.get("noise", False))


class TextAgent(ABC):
    """Plays one episode at a time. What it does depends on its seed and on what it was shown, on nothing else."""

    def begin(self, seed: int) -> None:  # noqa: B027 - most players keep nothing
        """A new episode; ``seed`` is the player's own."""

    def attach(self, game: TextEnv) -> None:  # noqa: B027 - most players need no game
        """The game that is played, for players that try commands before they choose."""

    @abstractmethod
    def decide(self, step: TextStep) -> Decision:
        """The answer to ``step``; called once for each step of the episode, in order."""

    def propose(self, step: TextStep, n: int) -> list[Decision]:
        """Up to ``n`` different answers to ``step``, best first; calling it changes nothing that ``decide`` would do."""
        return [self.decide(step)][:n]

    def value(self, step: TextStep, command: str) -> float:
        """How good ``command`` is in the eyes of the player's value model; 0 without one."""
        return 0.0

    def surprise(self) -> float | None:
        """-log p per token of the newest observation given what went before (spec 3.4); None without a model."""
        return None

    def sent(self, command: str) -> None:  # noqa: B027 - most players do not mind
        """What was really sent, where it differs from the last decision."""


class AgentPolicy:
    """A player a slot, as the ``Policy`` of the rollout runner. ``make`` builds one player."""

    def __init__(self, make: Callable[[], TextAgent]) -> None:
        self._make = make
        self._agents: dict[int, TextAgent] = {}
        self._notes: dict[int, str] = {}

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        for slot, row in zip(slots, rows, strict=True):
            agent = self._agents.setdefault(int(slot), self._make())
            agent.begin(row.policy_seed)

    def act(self, observations: Observation, slots: np.ndarray) -> np.ndarray:
        """``(len(slots),)`` objects: commands."""
        commands = np.empty(len(slots), object)
        for i, (slot, step) in enumerate(zip(slots, unpack(observations), strict=True)):
            decision = self._agents[int(slot)].decide(step)
            commands[i], self._notes[int(slot)] = decision.command, decision.note()
        return commands

    def notes(self, slots: np.ndarray) -> list[str]:
        """What the players said beside the commands just given (``Decision.note``)."""
        return [self._notes[int(slot)] for slot in slots]

    def record(self, slots: np.ndarray, rewards: np.ndarray) -> None:
        return None
