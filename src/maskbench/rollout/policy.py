"""What runners see of a policy, and the policies that need no model: the reference rows of every table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from maskbench.envs.base import Observation
from maskbench.errors import ConfigError
from maskbench.prompt import Prompt
from maskbench.rollout.plan import PlanRow
from maskbench.trajectory import Factor


class Policy(Protocol):
    """Acts in many environments at once, with separate state for each slot.

    The action of a slot must depend on its own row and history only: not on which slots act beside it, nor on slot
    numbers. In particular each episode owns a generator seeded by ``row.policy_seed`` alone, and sequence models pad to a
    fixed context, since padding to the longest neighbour changes sums. The runner takes care of the rounding of batched
    layers (``batch_invariant``).
    """

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        """New episodes begin: ``slots`` ``(n,)`` int64, one row each; whatever those slots held is forgotten."""

    def act(self, observations: Observation, slots: np.ndarray) -> np.ndarray:
        """Actions ``(len(slots), *action_shape)`` for state factors ``(len(slots), *shape)``."""

    def record(self, slots: np.ndarray, rewards: np.ndarray) -> None:
        """Rewards ``(len(slots),)`` float32 earned by the actions just taken (return-to-go)."""


@runtime_checkable
class Annotated(Protocol):
    """A policy with something to say beside its actions, which recorded trajectories keep as the texts ``notes``."""

    def notes(self, slots: np.ndarray) -> Sequence[str]:
        """One text a slot about the actions just given."""


@runtime_checkable
class Instructed(Protocol):
    """A policy that acts on instructions."""

    def instruct(self, slots: np.ndarray, prompts: Sequence[Prompt]) -> None:
        """What the episodes that have just been reset in ``slots`` are asked for; empty where the family has no prompts."""


class _Memoryless:
    """Policies that do not look at rewards."""

    def record(self, slots: np.ndarray, rewards: np.ndarray) -> None:
        return None


class RandomPolicy(_Memoryless):
    """Uniform actions: over the classes of a discrete factor, over ``[low, high]`` of a continuous one."""

    def __init__(self, action: Factor, low: float = -1.0, high: float = 1.0) -> None:
        self.action, self.low, self.high = action, low, high
        self._generators: dict[int, np.random.Generator] = {}

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        for slot, row in zip(slots, rows, strict=True):
            self._generators[int(slot)] = np.random.Generator(np.random.Philox(row.policy_seed))

    def act(self, observations: Observation, slots: np.ndarray) -> np.ndarray:
        generators = [self._generators[int(slot)] for slot in slots]
        if self.action.classes is not None:
            return np.array([g.integers(self.action.classes) for g in generators], self.action.dtype)
        return np.stack([g.uniform(self.low, self.high, self.action.shape) for g in generators]).astype(self.action.dtype)


class ZeroPolicy(_Memoryless):
    """The zero action (class 0), always: what an environment pays for doing nothing."""

    def __init__(self, action: Factor) -> None:
        self.action = action

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        return None

    def act(self, observations: Observation, slots: np.ndarray) -> np.ndarray:
        return np.zeros((len(slots), *self.action.shape), self.action.dtype)


class ReplayPolicy(_Memoryless):
    """Plays stored actions: the oracle of goal reaching, and the self-test of every indexing rule.

    actions: per plan row ``(length, *action_shape)``; after its last action a row repeats it.
    Raises ConfigError where a row has no stored actions.
    """

    def __init__(self, actions: Mapping[int, np.ndarray]) -> None:
        self.actions = actions
        self._playing: dict[int, tuple[np.ndarray, int]] = {}

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        for slot, row in zip(slots, rows, strict=True):
            if len(self.actions.get(row.row, ())) == 0:
                raise ConfigError(f"no actions are stored to replay for row {row.row}; found rows {sorted(self.actions)[:10]}")
            self._playing[int(slot)] = (self.actions[row.row], 0)

    def act(self, observations: Observation, slots: np.ndarray) -> np.ndarray:
        chosen = []
        for slot in slots:
            actions, step = self._playing[int(slot)]
            chosen.append(actions[min(step, len(actions) - 1)])
            self._playing[int(slot)] = (actions, step + 1)
        return np.stack(chosen)
