"""Distances to nearest neighbours: particle estimates of entropy (Liu and Abbeel 2021)."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest(points: Tensor, others: Tensor, k: int) -> Tensor:
    """``(B, k)`` ascending Euclidean distances from ``points`` ``(B, D)`` to their ``k`` nearest of ``others`` ``(N, D)``.

    A point that is itself among the others counts, at distance zero.
    """
    distances = torch.cdist(points, others)
    return distances.topk(min(k, len(others)), dim=1, largest=False).values
