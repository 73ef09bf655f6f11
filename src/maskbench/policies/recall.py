"""Acting without training: the action that followed the most similar history (BeT spec 1.7: 1-NN and LWR).

the last observations  ->  nearest histories among the training episodes  ->  nearest: the first one's action
                                                                              lwr: their actions, weighed by exp(-distance)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.spatial import cKDTree

from maskbench.data.store import EpisodeStore
from maskbench.errors import DataError
from maskbench.trajectory import Factor

if TYPE_CHECKING:
    from maskbench.rollout.plan import PlanRow

Kind = Literal["nearest", "lwr"]


@dataclass(frozen=True)
class Memory:
    """Histories of the training episodes and the actions that followed.

    Histories of ``h < H`` observations are the first ``h`` of each episode, so that the beginning of a rollout is compared
    with beginnings; those of ``H`` come from everywhere. Continuous observations are standardised, discrete ones one-hot.

    trees, actions: per history length ``1 .. H`` the histories ``(n, h * D)`` and their actions ``(n, *shape)``.
    """

    states: tuple[Factor, ...]
    action: Factor
    mean: np.ndarray
    std: np.ndarray
    trees: tuple[cKDTree, ...]
    actions: tuple[np.ndarray, ...]

    @classmethod
    def fit(cls, store: EpisodeStore, episodes: np.ndarray, length: int) -> Memory:
        """Remembers ``episodes`` of ``store`` as histories of up to ``length`` observations; shorter where no episode has as
        many. Raises DataError where there is nothing to remember."""
        if not len(episodes):
            raise DataError("there is no training episode with actions to compare with")
        states, action = store.spec.with_role("state"), store.spec.with_role("action")[0]
        rows, lengths = store.rows(episodes), store.lengths[episodes]
        raw = _columns(states, {f.name: store.array(f.name)[rows] for f in states})
        numeric = np.concatenate([np.full(f.width, f.kind == "continuous") for f in states])
        mean, std = np.where(numeric, raw.mean(0), 0.0), np.where(numeric, raw.std(0), 1.0)
        std = np.where(std > 1e-6, std, 1.0)
        cells, acted = (raw - mean) / std, store.array(action.name)[rows]
        length = min(length, int(lengths.max()))
        time = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        trees, actions = [], []
        for h in range(1, length + 1):
            ends = np.flatnonzero(time >= h - 1 if h == length else time == h - 1)
            histories = cells[ends[:, None] + np.arange(1 - h, 1)].reshape(len(ends), -1)
            # recordings repeat: trees that halve the points instead of the space would be slow to build
            trees.append(cKDTree(histories, balanced_tree=False, compact_nodes=False))
            actions.append(acted[ends])
        return cls(states, action, mean, std, tuple(trees), tuple(actions))

    def observed(self, observations: Mapping[str, np.ndarray]) -> np.ndarray:
        """Observations ``(n, *shape)`` per factor as comparable columns ``(n, D)``."""
        return (_columns(self.states, observations) - self.mean) / self.std


class RecallPolicy:
    """Acts by a memory.

    kind:       ``nearest`` copies the action of the most similar history; ``lwr`` averages those of the ``neighbours`` most
                similar ones with weights ``exp(-distance)`` (a vote where actions are classes).
    """

    def __init__(self, memory: Memory, kind: Kind, neighbours: int = 32) -> None:
        self.memory, self.kind, self.neighbours = memory, kind, 1 if kind == "nearest" else neighbours
        self._seen: dict[int, list[np.ndarray]] = {}

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        for slot in slots:
            self._seen[int(slot)] = []

    def act(self, observations: Mapping[str, np.ndarray], slots: np.ndarray) -> np.ndarray:
        """Actions ``(n, *shape)``; slot by slot, so that none depends on its neighbours' rounding."""
        actions = []
        for slot, cell in zip(slots, self.memory.observed(observations), strict=True):
            seen = self._seen[int(slot)] = [*self._seen[int(slot)], cell][-len(self.memory.trees) :]
            actions.append(self._recall(np.concatenate(seen), len(seen) - 1))
        return np.stack(actions).astype(self.memory.action.dtype)

    def record(self, slots: np.ndarray, rewards: np.ndarray) -> None:
        return None

    def _recall(self, history: np.ndarray, index: int) -> np.ndarray:
        tree, actions = self.memory.trees[index], self.memory.actions[index]
        distance, found = tree.query(history, k=np.arange(1, min(self.neighbours, tree.n) + 1))
        if len(found) == 1:
            return np.asarray(actions[found[0]])
        weight = np.exp(distance.min() - distance)
        if self.memory.action.classes is not None:
            return np.asarray(np.bincount(actions[found], weight, self.memory.action.classes).argmax())
        return np.tensordot(weight / weight.sum(), actions[found], 1)


def _columns(factors: Sequence[Factor], values: Mapping[str, np.ndarray]) -> np.ndarray:
    """``(n, D)`` float64."""
    parts = [
        np.eye(f.classes)[np.asarray(values[f.name])]
        if f.classes is not None
        else np.asarray(values[f.name], np.float64).reshape(len(values[f.name]), -1)
        for f in factors
    ]
    return np.concatenate(parts, -1)
