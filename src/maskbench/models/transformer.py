"""Transformer blocks on PyTorch's fused attention: the one trunk under every sequence model here."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from maskbench.errors import ConfigError
from maskbench.models import few
from maskbench.models.dropout import Dropout, drop, relu_drop
from maskbench.models.products import linear, linear_by, linear_gelu

Norm = Literal["pre", "post"]
#: ``gelu_tanh``: its approximation, as GPT-2 has it.
Activation = Literal["relu", "gelu", "gelu_tanh"]


class Attention(nn.Module):
    """Multi-head self-attention; queries, keys and values come from one fused projection."""

    def __init__(self, n_embd: int, n_head: int, dropout: float) -> None:
        super().__init__()
        if n_embd % n_head:
            raise ConfigError(f"n_embd must be a multiple of n_head; found {n_embd} and {n_head}")
        self.n_head, self.dropout = n_head, dropout
        self.qkv = nn.Linear(n_embd, 3 * n_embd)
        self.out = nn.Linear(n_embd, n_embd)

    def forward(self, x: Tensor, causal: bool, keys: Tensor | None, at: Tensor | None = None) -> Tensor:
        """x ``(B, N, D)``; keys ``(B, N)`` bool, True = may be looked at, or None for all; at ``(B, M)`` the tokens that look,
        or None for all. Returns ``(B, N or M, D)``."""
        b, n, d = x.shape
        mask = None if keys is None else keys[:, None, None, :]  # (B, 1, 1, N): never a dense (B, H, N, N) matrix
        if at is None:
            q, k, v = (
                linear(self.qkv, x).view(b, n, 3, self.n_head, d // self.n_head).permute(2, 0, 3, 1, 4)
            )  # 3 x (B, H, N, D/H)
            if mask is not None and causal:
                mask = mask & torch.ones(n, n, dtype=torch.bool, device=x.device).tril()
        else:
            (wq, wkv), (bq, bkv) = self.qkv.weight.split([d, 2 * d]), self.qkv.bias.split([d, 2 * d])
            q = linear_by(take_tokens(x, at), wq, bq).view(b, -1, self.n_head, d // self.n_head).transpose(1, 2)
            k, v = linear_by(x, wkv, bkv).view(b, n, 2, self.n_head, d // self.n_head).permute(2, 0, 3, 1, 4)
            if causal:
                past = (torch.arange(n, device=x.device) <= at[..., None])[:, None]  # (B, 1, M, N)
                mask = past if mask is None else mask & past
        p = self.dropout if self.training else 0.0
        if n <= few.FEW_TOKENS and mask is None and q.requires_grad and q.device.type == "cpu":
            y = attend_few(q, k, v, causal, p)
        else:
            y = _attend(q, k, v, attn_mask=mask, dropout_p=p, is_causal=causal and mask is None)
        return linear(self.out, y.transpose(1, 2).reshape(b, -1, d))  # (B, N or M, D)


def attend_few(q: Tensor, k: Tensor, v: Tensor, causal: bool, dropout: float) -> Tensor:
    """What fused attention computes, queries ``(B, H, M, D/H)`` to the same, for training on few tokens on a CPU, in fp32,
    where ``few.attend`` cannot: in compiled code, under autocast, for stacked models, small batches and tokens that look alone.

    Kernels there take the softmax of one short row after the other. Here it runs down the keys, over all heads and queries of
    the batch at once: 1.3 to 1.7 times as fast for ten tokens, forward and backward (measured).
    """
    (b, h, n, width), m, dtype = k.shape, q.shape[2], q.dtype
    with torch.autocast("cpu", enabled=False):
        q, k, v = (x.float().reshape(b * h, -1, width) for x in (q, k, v))
        score = torch.bmm(k * width**-0.5, q.mT).transpose(0, 1)  # (N, B H, M): key, head, query
        if causal:
            score = score.masked_fill(torch.ones(n, n, dtype=torch.bool).tril(-1)[:, None], -torch.inf)
        weight = drop(score.reshape(n, -1).softmax(0), dropout).view(n, b * h, m)
        return torch.bmm(weight.permute(1, 2, 0), v).view(b, h, m, width).to(dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Fused attention. On CPUs its bf16 gradient takes 2-6 times as long as the fp32 one (measured), so training stays in
    fp32 here under autocast."""
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.requires_grad:
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), **options).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, **options)


class Block(nn.Module):
    """Attention and MLP with residuals; ``pre`` normalises their inputs (GPT, MAE), ``post`` their sums (BERT)."""

    def __init__(self, n_embd: int, n_head: int, n_inner: int, dropout: float, activation: Activation, norm: Norm) -> None:
        super().__init__()
        self.pre = norm == "pre"
        self.attention = Attention(n_embd, n_head, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.up, self.down = nn.Linear(n_embd, n_inner), nn.Linear(n_inner, n_embd)
        self.activation = activation
        self.drop = Dropout(dropout)
        self.drop_inner = Dropout(dropout if norm == "post" else 0.0)  # BERT also drops inside the MLP

    def mlp(self, x: Tensor) -> Tensor:
        if self.activation == "relu":
            return linear(self.down, relu_drop(linear(self.up, x), self.drop_inner.p, self.training))
        return linear(self.down, self.drop_inner(linear_gelu(self.up, x, self._approximate)))

    @property
    def _approximate(self) -> str:
        return "tanh" if self.activation == "gelu_tanh" else "none"

    def forward(self, x: Tensor, causal: bool, keys: Tensor | None, at: Tensor | None = None) -> Tensor:
        looking = x if at is None else take_tokens(x, at)
        if self.pre:
            x = looking + self.drop(self.attention(self.norm1(x), causal, keys, at))
            return x + self.drop(self.mlp(self.norm2(x)))
        x = self.norm1(looking + self.drop(self.attention(x, causal, keys, at)))
        return self.norm2(x + self.drop(self.mlp(x)))

    def forward_few(self, x: Tensor, causal: bool) -> Tensor:
        """``forward`` by the parts of ``few``, ``(D, N, B)`` to the same."""
        p = self.drop.p if self.training else 0.0
        y = few.layer_norm(self.norm1, x) if self.pre else x
        y = few.attend(few.linear(self.attention.qkv, y), self.attention.n_head, causal, p)
        x = few.add_dropped(x, few.linear(self.attention.out, y), p)
        if self.pre:
            return few.add_dropped(x, self._mlp_few(few.layer_norm(self.norm2, x)), p)
        x = few.layer_norm(self.norm1, x)
        return few.layer_norm(self.norm2, few.add_dropped(x, self._mlp_few(x), p))

    def _mlp_few(self, x: Tensor) -> Tensor:
        x = few.linear(self.up, x)
        if self.activation == "relu":
            return few.linear(self.down, relu_drop(x, self.drop_inner.p, self.training))
        return few.linear(self.down, self.drop_inner(F.gelu(x, approximate=self._approximate)))


class Transformer(nn.Module):
    """A stack of blocks.

    n_inner: width of the MLP, None for ``4 * n_embd``.
    final_norm: one more LayerNorm at the end (GPT, MAE's encoder).
    """

    def __init__(
        self,
        n_layer: int,
        n_head: int,
        n_embd: int,
        n_inner: int | None = None,
        dropout: float = 0.0,
        activation: Activation = "gelu",
        norm: Norm = "pre",
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        if n_layer < 1:
            raise ConfigError(f"a transformer needs at least one block; found {n_layer}")
        inner = n_inner or 4 * n_embd
        self.blocks = nn.ModuleList(Block(n_embd, n_head, inner, dropout, activation, norm) for _ in range(n_layer))
        self.norm = nn.LayerNorm(n_embd) if final_norm else nn.Identity()

    def forward(self, x: Tensor, causal: bool = False, keys: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """x ``(B, N, D)`` to ``(B, N, D)``, or to ``(B, M, D)`` where only the tokens ``at`` ``(B, M)`` are wanted: the last
        block then computes no others."""
        if has_torch_function_unary(x) and self._plain:  # rollouts answer it at once (rollout/invariant.py)
            y: Tensor = handle_torch_function(_whole_trunk, (x,), self, x, causal, keys, at)
            return y
        return self._states(x, causal, keys, at)

    def _states(self, x: Tensor, causal: bool, keys: Tensor | None, at: Tensor | None) -> Tensor:
        whole = list(self.blocks) if at is None else list(self.blocks)[:-1]  # those that compute all tokens
        if keys is None and self._few(x):
            x = few.turned(x)
            for block in whole:
                x = block.forward_few(x, causal)  # type: ignore[operator]
            x = few.turned(x)
        else:
            for block in whole:
                x = block(x, causal, keys)
        return self.norm(x if at is None else self.blocks[-1](x, causal, keys, at))

    def _few(self, x: Tensor) -> bool:
        """Whether ``few`` trains faster; it has no parts for stacked models."""
        return few.pays(x) and self._plain

    @property
    def _plain(self) -> bool:
        """Whether this is one model, and no stack of several."""
        return type(self.get_submodule("blocks.0.attention.qkv")) is nn.Linear


def _whole_trunk(trunk: Transformer, x: Tensor, causal: bool, keys: Tensor | None, at: Tensor | None) -> Tensor:
    """A transformer under one name for ``__torch_function__``, which then does not look at its operations one by one. Whoever
    answers it must care for linear maps (``arithmetic.answered_by``); nothing else in it depends on the size of the batch."""
    return trunk._states(x, causal, keys, at)


def take_tokens(x: Tensor, at: Tensor) -> Tensor:
    """``(B, N, D)`` at ``(B, M)`` -> ``(B, M, D)``."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))


def initialise(module: nn.Module, scheme: Literal["normal", "xavier"]) -> None:
    """Weights of every Linear below ``module``: N(0, 0.02) (GPT) or Xavier-uniform (MAE); biases zero, LayerNorm 1/0."""
    for m in module.modules():
        if isinstance(m, nn.Linear):
            if scheme == "normal":
                nn.init.normal_(m.weight, 0.0, 0.02)
            else:
                nn.init.xavier_uniform_(m.weight)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.LayerNorm):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)
