"""Continuous values: a point (MSE) or a diagonal Gaussian."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from maskbench.models.heads.base import Head, Net
from maskbench.models.heads.sampling import PLAIN, Sampling
from maskbench.trajectory import Factor

Target = Literal["raw", "l2", "standard"]


class RegressionHead(Head):
    """Mean squared error over the dimensions of a cell.

    target: ``raw``; ``l2`` regresses the direction ``s / |s|`` of the cell and ``standard`` the cell standardised over its
            own dimensions (MaskDP spec 2.6). Under both the head's mode is that normalised cell, not the value.
    tanh:   squash to [-1, 1], for actions.
    """

    def __init__(
        self, factor: Factor, n_embd: int, net: Net = "linear", target: Target = "raw", tanh: bool = False, bias: bool = True
    ) -> None:
        super().__init__(factor, n_embd, factor.width, net, bias)
        self.target = target
        if tanh:
            self.net = nn.Sequential(self.net, nn.Tanh())

    def normalised(self, value: Tensor) -> Tensor:
        """The cell ``(..., width)`` as the loss sees it."""
        if self.target == "l2":
            return value / value.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        if self.target == "standard":
            return (value - value.mean(-1, keepdim=True)) / (value.var(-1, keepdim=True) + 1e-6).sqrt()
        return value

    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        flat = self.normalised(target.flatten(params.dim() - 1).float())
        return {"mse": (params.float() - flat).square().mean(-1)}

    def mode(self, params: Tensor) -> Tensor:
        return params.unflatten(-1, self.factor.shape)


class GaussianHead(Head):
    """Negative log-likelihood of a diagonal Gaussian, averaged over dimensions.

    std: fixed standard deviation; None learns one per cell and dimension.
    """

    def __init__(
        self, factor: Factor, n_embd: int, net: Net = "linear", std: float | None = None, tanh: bool = False, bias: bool = True
    ) -> None:
        super().__init__(factor, n_embd, factor.width * (1 if std else 2), net, bias)
        self.std, self.tanh, self.num_uniforms = std, tanh, factor.width

    def moments(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``(..., width)``."""
        d = self.factor.width
        mean = params[..., :d].float()
        mean = mean.tanh() if self.tanh else mean
        if self.std:
            return mean, torch.full_like(mean, self.std)
        return mean, params[..., d:].float().clamp(-8, 4).exp()

    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        mean, std = self.moments(params)
        z = (target.flatten(params.dim() - 1).float() - mean) / std
        return {"nll": (0.5 * z.square() + std.log() + 0.5 * math.log(2 * math.pi)).mean(-1)}

    def mode(self, params: Tensor) -> Tensor:
        return self.moments(params)[0].unflatten(-1, self.factor.shape)

    def realise(
        self,
        params: Tensor,
        choice: Tensor | None,
        uniform: Tensor,
        how: Sampling = PLAIN,
        offset_of: Tensor | None = None,
    ) -> Tensor:
        mean, std = self.moments(params)
        if not how.greedy:
            mean = mean + how.temperature * how.spread * std * gaussian_noise(uniform).to(mean)
        return mean.unflatten(-1, self.factor.shape)


def gaussian_noise(uniform: Tensor) -> Tensor:
    """Standard normal numbers at the quantiles ``uniform``."""
    return torch.special.ndtri(uniform.clamp(1e-12, 1 - 1e-12))
