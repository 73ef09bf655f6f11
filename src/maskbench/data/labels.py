"""Which episodes know which factor: heteromodal training (MTM; unimask.md section 6.3).

An episode may lack a factor, most often its actions. Its other factors still train the model; the cells that it lacks are
neither shown nor asked, and no statistic is fitted on them. There are two reasons to lack a factor: the episode's meta data
say so (``lacks: [action]``, with zeros in the store), or the configuration takes it away from a share of the training
episodes, to measure what labels are worth.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from maskbench.data.store import EpisodeStore
from maskbench.errors import ConfigError, did_you_mean
from maskbench.trajectory import MODEL_ROLES

Known = Mapping[str, np.ndarray]


def known_factors(
    store: EpisodeStore, train: np.ndarray, factor: str = "action", fraction: float = 0.0, seed: int = 0
) -> dict[str, np.ndarray]:
    """Per factor that some episode lacks ``(E,)`` bool: which episodes have it.

    train:    the training episodes; only these lose anything.
    factor:   role or factor that is taken away.
    fraction: share of the training episodes that lose it, rounded down; an int is how many of them.
    seed:     draws which. A larger share takes it from the same episodes and further ones.
    Raises ``ConfigError`` where the factor is unknown, or no training episode would keep it.
    """
    known: dict[str, np.ndarray] = {}
    for episode, meta in enumerate(store.metas):
        for name in meta.get("lacks", ()):
            known.setdefault(store.spec[name].name, np.ones(store.num_episodes, np.bool_))[episode] = False
    count = fraction if isinstance(fraction, int) else int(fraction * len(train) + 1e-9)
    if count == 0:
        return known
    names = [f.name for f in store.spec if factor in (f.name, f.role) and f.role in MODEL_ROLES]
    if not names:
        raise ConfigError(f"unlabelled.factor: {did_you_mean(factor, [*store.spec.names, *MODEL_ROLES])}")
    if not 0 < count < len(train):
        raise ConfigError(
            f"unlabelled.fraction={fraction} takes '{factor}' from {count} of {len(train)} training episodes; at least one "
            "must keep it. Lower it, or raise split.train."
        )
    loses = np.random.default_rng(seed).permutation(train)[:count]
    for name in names:
        known.setdefault(name, np.ones(store.num_episodes, np.bool_))[loses] = False
    return known


def complete(episodes: np.ndarray, known: Known) -> np.ndarray:
    """Those of ``episodes`` that have every factor."""
    return episodes[np.all([has[episodes] for has in known.values()], axis=0)] if known else episodes
