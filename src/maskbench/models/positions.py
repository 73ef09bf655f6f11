"""Position tables ``(N, D)``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.errors import ConfigError


def sinusoidal(n: int, d: int) -> Tensor:
    """Vaswani et al. (2017): sine and cosine interleaved over the columns."""
    angle = torch.arange(n)[:, None] * torch.exp(torch.arange(0, d, 2) * (-torch.log(torch.tensor(10000.0)) / d))
    table = torch.zeros(n, d)
    table[:, 0::2], table[:, 1::2] = angle.sin(), angle.cos()[:, : d // 2]
    return table


def sincos(n: int, d: int) -> Tensor:
    """MAE: all sines first, then all cosines, over frequencies ``10000^(-j / (d/2))`` (MaskDP spec 2.1)."""
    angle = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(d // 2) / (d // 2))
    return torch.cat([angle.sin(), angle.cos()], 1)


class FixedPositions(nn.Module):
    """A table that is not trained. Beyond ``n`` rows it is stretched by linear interpolation (MaskDP spec 2.10) where
    ``stretch`` is set, continued by its formula otherwise."""

    def __init__(self, n: int, d: int, kind: str, scale: float = 1.0, stretch: bool = False) -> None:
        super().__init__()
        self.make = {"sinusoidal": sinusoidal, "sincos": sincos}[kind]
        self.scale, self.stretch = scale, stretch
        self.register_buffer("table", self.make(n, d) * scale, persistent=False)
        self.table: Tensor

    def forward(self, n: int) -> Tensor:
        if n <= len(self.table):
            return self.table[:n]
        if self.stretch:
            return F.interpolate(self.table.T[None], n, mode="linear", align_corners=False)[0].T
        return (self.make(n, self.table.shape[1]) * self.scale).to(self.table)


class LearnedPositions(nn.Module):
    """A trained table: windows may be shorter than it, never longer."""

    def __init__(self, n: int, d: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(n, d) * 0.02)

    def forward(self, n: int) -> Tensor:
        if n > len(self.table):
            raise ConfigError(
                f"this model learned {len(self.table)} positions; {n} tokens were asked for. Use a shorter window."
            )
        return self.table[:n]


def build_positions(kind: str, n: int, d: int) -> nn.Module:
    """``sinusoidal`` | ``sincos`` | ``sincos_half`` (halved and stretched, MaskDP) | ``learned``."""
    if kind == "learned":
        return LearnedPositions(n, d)
    if kind == "sincos_half":
        return FixedPositions(n, d, "sincos", 0.5, stretch=True)
    if kind in ("sinusoidal", "sincos"):
        return FixedPositions(n, d, kind)
    raise ConfigError(f"no positions are called '{kind}'; valid: sinusoidal, sincos, sincos_half, learned")
