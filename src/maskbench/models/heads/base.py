"""What turns token states back into a distribution over one factor."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from torch import Tensor, nn

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
    """A head owns its parameters, its loss and its sampling."""

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

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """A value drawn with the given float64 uniforms ``(..., U)`` on [0, 1): sampling is a pure function of its noise, so
        that every episode owns its own. Deterministic heads return their mode."""
        return self.mode(params)

    #: Uniform numbers that one sample consumes.
    num_uniforms: int = 0

    def fit(self, values: Tensor) -> None:
        """Sets statistics from the training values ``(N, *shape)`` before training (k-means bins)."""


def draw_class(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Class indices ``(...)`` by inverting the cumulative distribution at ``uniform`` ``(...)``; float64 throughout."""
    if logits.device.type == "mps":  # has no float64
        return draw_class(logits.cpu(), uniform.cpu(), temperature).to(logits.device)
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
    return (cumulative < uniform[..., None] * cumulative[..., -1:]).sum(-1)
