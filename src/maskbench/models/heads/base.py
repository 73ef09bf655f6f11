"""What turns token states back into a distribution over one factor."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from torch import Tensor, nn

from maskbench.models.heads.sampling import PLAIN, Sampling
from maskbench.tokens.rvq import Watch
from maskbench.trajectory import Factor

Net = Literal["linear", "norm_relu", "norm_gelu"]


def build_net(net: Net, n_embd: int, width: int, bias: bool = True) -> nn.Module:
    """``linear`` (uniMASK, BeT), ``norm_relu`` = LayerNorm-ReLU-Linear (MaskDP), ``norm_gelu`` = LayerNorm-Linear-GELU-Linear
    (MTM)."""
    if net == "norm_relu":
        return nn.Sequential(nn.LayerNorm(n_embd), nn.ReLU(), nn.Linear(n_embd, width, bias))
    if net == "norm_gelu":
        return nn.Sequential(nn.LayerNorm(n_embd), nn.Linear(n_embd, n_embd), nn.GELU(), nn.Linear(n_embd, width, bias))
    return nn.Linear(n_embd, width, bias)


class Head(nn.Module):
    """A head owns its parameters, its loss and its sampling.

    Sampling has two parts, so that a policy may hold the first for some steps: which class, bin, component or code
    (``choose``), and the value that this stands for (``realise``).
    """

    #: Uniform numbers that one sample consumes.
    num_uniforms: int = 0
    #: Consecutive values, from its own timestep on, that a prediction stands for.
    chunk: int = 1

    def __init__(self, factor: Factor, n_embd: int, width: int, net: Net = "linear", bias: bool = True) -> None:
        super().__init__()
        self.factor = factor
        self.net = build_net(net, n_embd, width, bias)

    def forward(self, h: Tensor) -> Tensor:
        """Token states ``(..., D)`` to distribution parameters ``(..., P)``."""
        return self.net(h)

    @abstractmethod
    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Named terms ``(...)`` of the loss of each cell; their sum is the loss."""

    @abstractmethod
    def mode(self, params: Tensor) -> Tensor:
        """Most likely value, ``(..., *shape)``."""

    def choose(self, params: Tensor, uniform: Tensor, how: Sampling = PLAIN) -> Tensor | None:
        """The discrete part of a draw, ``(..., C)`` int64, from float64 uniforms ``(..., U)``; None where there is none."""
        return None

    def realise(
        self,
        params: Tensor,
        choice: Tensor | None,
        uniform: Tensor,
        how: Sampling = PLAIN,
        offset_of: Tensor | None = None,
    ) -> Tensor:
        """The value ``(..., *shape)`` of a choice.

        offset_of: the choice whose offset is added instead of its own (a defect of the BeT study, BeT spec 1.6).
        """
        return self.mode(params)

    def sample(self, params: Tensor, uniform: Tensor, how: Sampling = PLAIN) -> Tensor:
        """A value drawn with the given float64 uniforms ``(..., U)`` on [0, 1): sampling is a pure function of its noise, so
        that every episode owns its own. Deterministic heads return their mode."""
        return self.realise(params, self.choose(params, uniform, how), uniform, how)

    def fit(self, values: Tensor, watch: Watch | None = None) -> None:
        """Learns from the training values ``(N, *shape)`` what must be known before training (k-means bins, action codes);
        ``watch`` follows what takes long."""

    def progress(self, share: float) -> None:
        """Told before every step which share of the training is done."""


def take(rows: Tensor, index: Tensor) -> Tensor:
    """``(..., K, A)`` at ``(...)`` -> ``(..., A)``."""
    at = index[..., None, None].expand(*index.shape, 1, rows.shape[-1])
    return rows.gather(-2, at)[..., 0, :]
