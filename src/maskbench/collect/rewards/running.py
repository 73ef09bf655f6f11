"""Running mean and deviation of a scalar, for rewards whose scale drifts."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RunningScale(nn.Module):
    """Moments of everything shown so far, merged batch by batch; buffers, so that checkpoints hold them."""

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.tensor(1e-4))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("variance", torch.ones(()))

    @torch.no_grad()
    def forward(self, values: Tensor) -> Tensor:
        """Takes ``values`` into account; returns the standard deviation."""
        n, gap = values.numel(), values.mean() - self.mean
        total = self.count + n
        squares = self.variance * self.count + values.var(unbiased=False) * n + gap.square() * self.count * n / total
        self.mean += gap * n / total
        self.variance.copy_(squares / total)
        self.count.copy_(total)
        return self.variance.sqrt()
