"""The parts of a transformer for fp32 training on few tokens on a CPU. Activations are feature-major, ``(D, N, B)``.

With the batch last, the products of attention, too small for matrix kernels, become passes over the whole batch; heads need
no copies; and the large products read every factor as it lies in memory, forward and backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from maskbench.models.dropout import kept
from maskbench.models.products import product, trains_faster

#: Tokens up to which training on a CPU has faster ways than fused attention (measured for 6, 10 and 16).
FEW_TOKENS = 16
#: Rows from which this one is faster than ``transformer.attend_few`` (measured for widths 32 to 128): it takes more, but
#: cheaper, operations.
_MANY_ROWS = 64


def pays(x: Tensor) -> bool:
    """Whether a transformer trains faster this way on ``(B, N, D)``."""
    return x.shape[1] <= FEW_TOKENS and x.shape[0] >= _MANY_ROWS and trains_faster(x)


def turned(x: Tensor) -> Tensor:
    """``(B, N, D)`` as ``(D, N, B)``, or back; in memory, and so are gradients."""
    y: Tensor = _Turned.apply(x)  # type: ignore[no-untyped-call]
    return y


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """``layer`` on ``(in, N, B)``."""
    y: Tensor = _Linear.apply(x, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return y


def attend(qkv: Tensor, n_head: int, causal: bool, dropout: float) -> Tensor:
    """Self-attention from queries, keys and values ``(3 D, N, B)`` to ``(D, N, B)``; dropout acts on its weights."""
    y: Tensor = _Attend.apply(qkv, n_head, causal, dropout)  # type: ignore[no-untyped-call]
    return y


def layer_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """``layer`` on ``(D, N, B)``."""
    y: Tensor = _LayerNorm.apply(x, layer.weight, layer.bias, layer.eps)  # type: ignore[no-untyped-call]
    return y


def add_dropped(x: Tensor, y: Tensor, p: float) -> Tensor:
    """``x + drop(y, p)``."""
    if p == 0:
        return x + y
    z: Tensor = _AddDropped.apply(x, y, p)  # type: ignore[no-untyped-call]
    return z


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.permute(2, 1, 0).contiguous()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.permute(2, 1, 0).contiguous()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(weight, x.flatten(1).t()).add_(bias[:, None]).view(-1, *x.shape[1:])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        dy = grad.flatten(1).contiguous()  # see products._rows
        return product(weight.t(), dy.t()).view_as(x), product(dy, x.flatten(1)), dy.sum(1)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, n_head: int, causal: bool, p: float) -> Tensor:
        _, n, b = qkv.shape
        q, k, v = qkv.view(3, n_head, -1, n, b)
        ctx.scale = q.shape[1] ** -0.5
        q = q * ctx.scale
        score = _outer(k, q)
        if causal:
            score.masked_fill_(torch.ones(n, n, dtype=torch.bool).tril(-1)[:, None, :, None], -torch.inf)
        weight = score.view(n, -1).softmax(0).view_as(score)
        keep = kept(weight.shape, p).div_(1 - p) if p else None
        ctx.save_for_backward(q, k, v, weight, keep)
        dropped = weight if keep is None else torch.mul(weight, keep, out=score)
        return _over_keys(dropped, v, torch.empty_like(v)).view(-1, n, b)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        q, k, v, weight, keep = ctx.saved_tensors
        n = len(weight)
        dy = grad.view_as(v)
        dqkv = torch.empty(3, *v.shape)
        _over_queries(weight if keep is None else weight * keep, dy, dqkv[2])
        dweight = _outer(v, dy)
        if keep is not None:
            dweight.mul_(keep)
        dscore = torch._softmax_backward_data(dweight.view(n, -1), weight.view(n, -1), 0, torch.float32).view_as(weight)
        _over_keys(dscore, k, dqkv[0]).mul_(ctx.scale)
        _over_queries(dscore, q, dqkv[1])
        return dqkv.view(-1, *grad.shape[1:]), None, None, None


def _outer(k: Tensor, q: Tensor) -> Tensor:
    """Inner products of the columns of ``k`` and ``q`` ``(H, D/H, N, B)``: ``(key, head, query, B)``."""
    h, _, n, b = k.shape
    return _sum_of_products(k.permute(2, 0, 1, 3)[:, :, :, None].unbind(2), q.unbind(1), torch.empty(n, h, n, b))


def _over_keys(weight: Tensor, v: Tensor, out: Tensor) -> Tensor:
    """Sums of ``v`` ``(H, D/H, N, B)`` over keys, by weights ``(key, head, query, B)``, written to ``out``, shaped as ``v``."""
    return _sum_of_products(weight[:, :, None].unbind(0), v[:, :, :, None].unbind(2), out)


def _over_queries(weight: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Sums of ``y`` ``(H, D/H, N, B)`` over queries, likewise."""
    return _sum_of_products(weight.transpose(0, 1)[:, None].unbind(3), y[:, :, :, None].unbind(2), out)


def _sum_of_products(a: Sequence[Tensor], b: Sequence[Tensor], out: Tensor) -> Tensor:
    torch.mul(a[0], b[0], out=out)
    for x, y in zip(a[1:], b[1:], strict=True):
        out.addcmul_(x, y)
    return out


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        normal = x - x.mean(0)
        scale = (normal * normal).mean(0).add_(eps).rsqrt_()
        normal.mul_(scale)
        ctx.save_for_backward(normal, scale, weight)
        return torch.addcmul(bias[:, None, None], normal, weight[:, None, None])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        normal, scale, weight = ctx.saved_tensors
        share = weight / len(weight)
        along = grad * normal
        mean, slope = (torch.mv(x.flatten(1).t(), share).view_as(scale) for x in (grad, along))
        dx = (grad * weight[:, None, None]).sub_(mean).addcmul_(normal, slope, value=-1).mul_(scale)
        return dx, along.sum((1, 2)), grad.sum((1, 2)), None


class _AddDropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, p: float) -> Tensor:
        keep = kept(y.shape, p).div_(1 - p)
        ctx.save_for_backward(keep)
        return torch.addcmul(x, y, keep)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (keep,) = ctx.saved_tensors
        return grad, grad * keep, None
