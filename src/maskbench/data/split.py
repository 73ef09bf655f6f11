"""Dividing episodes, never windows, into train, validation and test parts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from maskbench.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Sorted, disjoint ``int64`` episode indices."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_episodes(
    num_episodes: int,
    train: float | None = None,
    validation: float | None = 0,
    test: float | None = 0,
    seed: int | None = None,
) -> Split:
    """Deterministic split by episode.

    train, validation, test: an int is a number of episodes; a float in [0, 1] a fraction, rounded down (bet.md section 1.5);
        None takes what the others leave (one of them at most).
    seed: None keeps the recorded order: train from the front, then validation and test at the very end (unimask.md section
        4.1: the first N train, the last 1000 validate). Otherwise the order is a permutation drawn from the seed.
    Raises ``DataError`` where the parts exceed the episodes or train is empty.
    """
    asked = {"train": train, "validation": validation, "test": test}
    sizes = {name: _size(name, size, num_episodes) for name, size in asked.items() if size is not None}
    open_parts = [name for name, size in asked.items() if size is None]
    if len(open_parts) > 1:
        raise DataError(f"only one part may take the rest; found {' and '.join(open_parts)}. Give all but one a size.")
    rest = num_episodes - sum(sizes.values())
    if rest < 0:
        raise DataError(
            f"the split asks for {sum(sizes.values())} episodes ({', '.join(f'{k} {v}' for k, v in sizes.items())}); "
            f"there are {num_episodes}. Lower a size or make more episodes."
        )
    sizes |= dict.fromkeys(open_parts, rest)
    if sizes["train"] == 0:
        raise DataError(f"no episode of {num_episodes} is left to train on; lower validation or test")
    order = np.arange(num_episodes) if seed is None else np.random.default_rng(seed).permutation(num_episodes)
    test_from = num_episodes - sizes["test"]
    validation_from = test_from - sizes["validation"]
    return Split(
        train=np.sort(order[: sizes["train"]]),
        validation=np.sort(order[validation_from:test_from]),
        test=np.sort(order[test_from:]),
    )


def _size(name: str, size: float, num_episodes: int) -> int:
    if isinstance(size, bool) or size < 0 or (isinstance(size, float) and size > 1):
        raise DataError(f"{name} is {size}; expected a number of episodes, a fraction in [0, 1] or null")
    return math.floor(size * num_episodes + 1e-9) if isinstance(size, float) else int(size)
