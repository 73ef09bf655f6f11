"""Where a token sits: position tables ``(N, D)`` over the window, learned timesteps over the episode."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.tokens.layout import TokenLayout
from maskbench.trajectory import Window

Timesteps = Literal["none", "learned"]


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


class Positions(nn.Module):
    """A row for every place of a sequence: ``forward(n)`` gives the first ``n`` as ``(n, D)``."""

    def add_to(self, x: Tensor) -> Tensor:
        """Tokens ``(B, N, D)`` with their positions."""
        return x + self(x.shape[1])


class FixedPositions(Positions):
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


class LearnedPositions(Positions):
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


class EpisodeTimesteps(nn.Module):
    """A trained row for every timestep of an episode, added to all tokens of that timestep (uniMASK's ``-te``, Decision
    Transformer). Rows start as N(0, 1), the originals' ``nn.Embedding``.

    Timesteps behind the table's end share its last row. Only padding lies there: whoever brings data or an environment
    checks that episodes are no longer than ``n`` (``SequenceModel.max_timesteps``).
    """

    def __init__(self, n: int, d: int) -> None:
        super().__init__()
        self.table = nn.Embedding(n, d)

    def forward(self, window: Window, layout: TokenLayout) -> Tensor:
        """``(B, N, D)``. Raises ConfigError where the window does not say at which timestep it starts."""
        if window.start is None:
            raise ConfigError(
                "this model embeds the timestep inside the episode, but the window has no start: give Window(start=...), "
                "the timestep of each row's first cell, or build the model with timesteps='none'"
            )
        t = window.start[:, None] + layout.token_timesteps.to(window.start.device)  # (B, N)
        embedded: Tensor = self.table(t.clamp(max=self.table.num_embeddings - 1))
        return embedded


def build_timesteps(kind: Timesteps, n: int, d: int) -> EpisodeTimesteps | None:
    """``learned``: a table of ``n`` rows; ``none``: nothing."""
    if kind not in ("none", "learned"):
        raise ConfigError(f"timesteps are 'none' or 'learned'; found '{kind}'")
    return EpisodeTimesteps(n, d) if kind == "learned" else None


def build_positions(kind: str, n: int, d: int) -> Positions:
    """``sinusoidal`` | ``sincos`` | ``sincos_half`` (halved and stretched, MaskDP) | ``learned``."""
    if kind == "learned":
        return LearnedPositions(n, d)
    if kind == "sincos_half":
        return FixedPositions(n, d, "sincos", 0.5, stretch=True)
    if kind in ("sinusoidal", "sincos"):
        return FixedPositions(n, d, kind)
    raise ConfigError(f"no positions are called '{kind}'; valid: sinusoidal, sincos, sincos_half, learned")
