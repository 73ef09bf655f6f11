"""How often demonstrations follow each mode of their environment: what the modes of rollouts are compared with."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from maskbench.data.store import EpisodeStore

if TYPE_CHECKING:
    from maskbench.envs.base import Environment


def mode_counts(environment: Environment, store: EpisodeStore, episodes: np.ndarray) -> dict[str, int]:
    """Episodes by mode (``Environment.mode``), the most frequent first; those that follow none are left out. Empty where the
    environment has no modes."""
    counts: Counter[str] = Counter()
    for index in episodes:
        mode = environment.mode(store.episode(int(index)))
        if mode is None:
            return {}
        counts[mode] += 1
    return {mode: count for mode, count in counts.most_common() if mode}
