"""The large matrix products of fp32 on a CPU.

In fp32 torch asks MKL, which uses half of the vector width of AMD processors; oneDNN, which torch asks for bf16, takes about
half the time on Zen 5 (measured: 1.5 to 2.3 times as fast forward, 1.1 to 2.4 times backward, for widths 64 to 1024). On Zen 4,
which makes two of every 512-bit operation, both take the same time (measured).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from maskbench import arithmetic

#: Rows from which the fixed cost of another library pays (measured).
_MANY_ROWS = 256


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """``layer(x)`` for a Linear, ``(..., in)`` to ``(..., out)``."""
    if type(layer) is not nn.Linear:  # of stacked models
        y: Tensor = layer(x)
        return y
    return linear_by(x, layer.weight, layer.bias)


def linear_by(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.linear``."""
    if (answer := arithmetic.answering()) is not None:
        return answer(x, weight, bias)
    if bias is None or not trains_faster(x) or x.shape[:-1].numel() < _MANY_ROWS:
        return F.linear(x, weight, bias)
    y: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


def linear_gelu(layer: nn.Module, x: Tensor, approximate: str) -> Tensor:
    """``F.gelu(layer(x))`` for a Linear."""
    if (answer := arithmetic.answering()) is not None and type(layer) is nn.Linear:
        return answer(x, layer.weight, layer.bias, approximate)
    return F.gelu(linear(layer, x), approximate=approximate)


def trains_faster(x: Tensor) -> bool:
    """Whether oneDNN takes the products of ``x``, of which there will be a gradient: in fp32 on a CPU with wide vectors.
    Compiled code and autocast have ways of their own; rollouts need products that do not depend on the batch."""
    plain = not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
    gradient = torch.is_grad_enabled() and x.requires_grad
    return x.device.type == "cpu" and x.dtype == torch.float32 and plain and gradient and arithmetic.has_wide_vectors()


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """``a @ b.T + bias`` of two matrices."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    return y


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(_rows(x), weight, bias).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        dy, rows = _rows(grad), _rows(x)
        return product(dy, weight.t()).view(x.shape), product(dy.t(), rows.t()), dy.sum(0)


def _rows(x: Tensor) -> Tensor:
    """``(..., D)`` as one block ``(M, D)``: oneDNN takes a hundred times as long for rows that lie apart or are repeated."""
    return x.reshape(-1, x.shape[-1]).contiguous()
