"""Statistics of stored factors in one streaming pass: what cards print and normalisers are fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from maskbench.trajectory import Factor

#: Widest continuous factor whose statistics are listed per dimension; wider ones (images) get one number each.
MAX_LISTED_DIMS = 64

_CHUNK_BYTES = 1 << 25


class Moments:
    """Count, mean, spread and range of rows ``(n, d)``, merged chunk by chunk in float64 (Chan, Golub and LeVeque 1983)."""

    def __init__(self, dims: int) -> None:
        self.count = 0
        self.mean = np.zeros(dims)
        self.min = np.full(dims, np.inf)
        self.max = np.full(dims, -np.inf)
        self._squares = np.zeros(dims)

    @property
    def std(self) -> np.ndarray:
        """``(d,)`` population standard deviation; zero before the first update."""
        return np.sqrt(self._squares / max(self.count, 1))

    def update(self, rows: np.ndarray) -> None:
        """Adds ``(n, d)`` rows."""
        if len(rows) == 0:
            return
        rows = rows.astype(np.float64)
        mean, total = rows.mean(0), self.count + len(rows)
        gap = mean - self.mean
        self._squares += np.square(rows - mean).sum(0) + np.square(gap) * (self.count * len(rows) / total)
        self.mean = self.mean + gap * (len(rows) / total)
        self.min, self.max = np.minimum(self.min, rows.min(0)), np.maximum(self.max, rows.max(0))
        self.count = total


def chunks(array: np.ndarray, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Pieces of an array, or of its ``rows``, that may be memory-mapped and larger than memory."""
    step = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    for first in range(0, len(array if rows is None else rows), step):
        yield array[first : first + step] if rows is None else array[rows[first : first + step]]


def factor_statistics(factor: Factor, array: np.ndarray) -> dict[str, Any]:
    """Class ``counts`` of a discrete factor; ``mean, std, min, max`` lists of any other, per dimension up to 64 of them.

    array: ``(N, *shape)``, every row of the factor.
    """
    if factor.kind == "discrete":
        assert factor.classes is not None
        return {"counts": np.bincount(array, minlength=factor.classes).tolist()}
    columns = factor.width if factor.width <= MAX_LISTED_DIMS else 1
    moments = Moments(columns)
    for rows in chunks(array):
        moments.update(rows.reshape(-1, columns))
    return {k: getattr(moments, k).tolist() for k in ("mean", "std", "min", "max")}


def return_statistics(factor: Factor, array: np.ndarray, ends: np.ndarray) -> dict[str, float]:
    """Mean, spread and range of the episodes' undiscounted returns, from the reward factor."""
    returns = np.add.reduceat(reward_values(factor, array), np.concatenate([[0], ends[:-1]]))
    return {k: float(getattr(returns, k)()) for k in ("mean", "std", "min", "max")}


def reward_values(factor: Factor, array: np.ndarray) -> np.ndarray:
    """``(N,)`` float64 rewards; a discrete reward factor stores ``reward + offset`` as its class."""
    rewards = array.astype(np.float64)
    return rewards - factor.offset if factor.kind == "discrete" else rewards.reshape(len(array), -1).sum(1)
