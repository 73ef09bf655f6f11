"""k-means over actions (scikit-learn), reproducible and scale-aware."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maskbench.errors import DataError


def fit_kmeans(values: Tensor, k: int, seed: int = 0, restarts: int = 10, limit: int = 100_000) -> Tensor:
    """Centres ``(k, D)`` float32 of values ``(N, D)``: k-means++ starts, the restart of least inertia, ordered by size.

    limit: values beyond this count are subsampled, seeded.
    Raises DataError where there are fewer distinct values than centres.
    """
    from sklearn.cluster import KMeans

    x = values.detach().cpu().double().numpy()
    if len(x) > limit:
        x = x[np.random.default_rng(seed).permutation(len(x))[:limit]]
    distinct = len(np.unique(x, axis=0))
    if distinct < k:
        raise DataError(
            f"{k} bins need at least as many distinct actions; the training data has {distinct}. Lower head.action.num_bins."
        )
    fitted = KMeans(k, n_init=restarts, random_state=seed).fit(x)
    order = np.argsort(-np.bincount(fitted.labels_, minlength=k), kind="stable")
    return torch.from_numpy(fitted.cluster_centers_[order]).float()
