"""Dropout whose mask is cheap to draw on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Values of one drawn 16-bit number: rates are exact to 1 / 65536.
_LEVELS = 1 << 16


class Dropout(nn.Module):
    """``nn.Dropout`` with the same distribution. On CPUs torch draws one float per element, one at a time, which took a third
    of a small model's training step (measured); here one 64-bit draw decides over four elements."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return drop(x, self.p, self.training)


def drop(x: Tensor, p: float, training: bool = True) -> Tensor:
    """``x`` with every element zeroed with probability ``p`` and the others divided by ``1 - p``."""
    if not training or p == 0 or x.numel() == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    dropped: Tensor = _Drop.apply(x, p)  # type: ignore[no-untyped-call]
    return dropped


def relu_drop(x: Tensor, p: float, training: bool = True) -> Tensor:
    """``drop(x.relu(), p, training)``. Where the result is positive both let the gradient through, so on CPUs it alone is kept
    for the backward pass, which is one pass shorter."""
    if x.device.type != "cpu" or not training or p == 0 or x.numel() == 0:
        return drop(F.relu(x), p, training)
    dropped: Tensor = _ReluDrop.apply(x, p)  # type: ignore[no-untyped-call]
    return dropped


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        keep = _kept_like(x, p).to(x.dtype)
        ctx.save_for_backward(keep)
        ctx.scale = 1 / (1 - p)
        return (x * keep).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return (grad * keep.to(grad.dtype)).mul_(ctx.scale), None


class _ReluDrop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.scale = 1 / (1 - p)
        y = x.relu().mul_(_kept_like(x, p).to(x.dtype)).mul_(ctx.scale)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        if torch.compiler.is_compiling():  # a comparison would be kept as bool, which compiled code stores slowly (measured)
            return grad * y.sign().mul(ctx.scale), None
        return torch.ops.aten.threshold_backward(grad, y, 0.0).mul_(ctx.scale), None


def _kept_like(x: Tensor, p: float) -> Tensor:
    return _kept(x, p) if torch.compiler.is_compiling() else kept(x.shape, p)


@torch.library.custom_op("maskbench::kept", mutates_args=(), schema="(Tensor x, float p) -> Tensor")
def _kept(x: Tensor, p: float) -> Tensor:
    """``kept`` as one operation that compiled code calls, so that it draws what plain code does; on CPUs the compiler's own
    generator takes longer than the rest of a small model (measured). ``x`` keeps two draws of one shape apart."""
    return kept(x.shape, p)


@_kept.register_fake
def _(x: Tensor, p: float) -> Tensor:
    return torch.empty(x.shape)


def kept(shape: torch.Size, p: float) -> Tensor:
    """Float32 of ``shape``, 0 with probability ``p`` and else 1, from torch's global generator."""
    n = shape.numel()
    words = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(1 << 63), None)
    bits = words.view(torch.int16)[:n].view(shape)
    # a comparison written as float takes a sixth of the time of one written as bool and then converted (measured)
    return torch.ge(bits, round(p * _LEVELS) - _LEVELS // 2, out=torch.empty(shape))
