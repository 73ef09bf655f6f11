"""VIMA's controller: blocks that look at the prompt and then at the history (VIMA spec 2.3), and the decoder-only one of its
baselines (2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.errors import ConfigError

#: Published sizes: width, layers, heads of self-attention and of cross-attention.
SIZES = {
    "2M": (256, 1, 8, 8),
    "4M": (256, 2, 8, 8),
    "9M": (320, 3, 10, 10),
    "20M": (384, 4, 12, 12),
    "43M": (512, 5, 16, 16),
    "92M": (640, 7, 20, 20),
    "200M": (768, 11, 24, 24),
}

KeyValue = tuple[Tensor, Tensor]


def _heads(x: Tensor, heads: int) -> Tensor:
    """``(B, N, D)`` to ``(B, H, N, D/H)``."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


class CrossBlock(nn.Module):
    """Looks at the prompt: attention with the prompt as it is, then a gated MLP whose gate reads what is not normalised."""

    def __init__(self, n_embd: int, heads: int, expand: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_up = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.query = nn.Linear(n_embd, n_embd, bias=False)
        self.key_value = nn.Linear(n_embd, 2 * n_embd, bias=False)
        self.out = nn.Linear(n_embd, n_embd, bias=False)
        self.up, self.gate = (nn.Linear(n_embd, expand * n_embd, bias=False) for _ in range(2))
        self.down = nn.Linear(expand * n_embd, n_embd, bias=False)

    def remember(self, prompt: Tensor) -> KeyValue:
        """Keys and values of a prompt ``(B, P, D)``, the same at every step of an episode."""
        k, v = self.key_value(prompt).chunk(2, -1)
        return _heads(k, self.heads), _heads(v, self.heads)

    def forward(self, x: Tensor, memory: KeyValue, mask: Tensor) -> Tensor:
        """x ``(B, N, D)``; mask ``(B, 1, 1, P)``, bool or additive."""
        q = _heads(self.query(self.norm(x)), self.heads)
        h = x + self.out(_joined(F.scaled_dot_product_attention(q, *memory, attn_mask=mask)))
        return h + self.down(F.gelu(self.up(self.norm_up(h))) * self.gate(h))


class SelfBlock(nn.Module):
    """GPT's first block: attention and a gated MLP, normalised after their sums."""

    def __init__(self, n_embd: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.out = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.norm1, self.norm2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.up, self.down = nn.Linear(n_embd, 4 * n_embd), nn.Linear(4 * n_embd, n_embd)
        self.gate = nn.Linear(n_embd, 4 * n_embd, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x ``(B, N, D)``, mask ``(B, 1, N, N)`` bool."""
        q, k, v = (_heads(y, self.heads) for y in self.qkv(x).chunk(3, -1))
        return self._after(x, q, k, v, mask)

    def step(self, x: Tensor, mask: Tensor, row: Tensor, places: Tensor, past: KeyValue) -> Tensor:
        """New tokens alone: their keys and values join those in ``past`` at ``places`` ``(B, M)``; ``row`` is ``(B, 1)``."""
        q, k, v = (_heads(y, self.heads) for y in self.qkv(x).chunk(3, -1))
        past[0][row, :, places], past[1][row, :, places] = k.transpose(1, 2), v.transpose(1, 2)
        return self._after(x, q, *past, mask)

    def _after(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        p = self.dropout if self.training else 0.0
        y = self.out(_joined(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)))
        n = self.norm1(x + self.drop(y))
        return self.norm2(n + self.drop(self.down(F.gelu(self.up(n)) * self.gate(n))))


@dataclass
class Cache:
    """What a controller keeps of ``B`` episodes between steps.

    memory: per layer keys and values of the prompt, ``(B, H, P, D/H)``; keep: ``(B, 1, 1, P)`` which may be looked at.
    past:   per layer keys and values of ``L`` places for tokens, ``(B, H, L, D/H)``.
    valid:  ``(B, L)`` bool: places that hold a token that is no padding.
    """

    memory: list[KeyValue]
    keep: Tensor
    past: list[KeyValue]
    valid: Tensor

    def rows(self, at: Tensor) -> Cache:
        """A copy for some of the episodes."""
        memory, past = ([(k[at], v[at]) for k, v in pairs] for pairs in (self.memory, self.past))
        return Cache(memory, self.keep[at], past, self.valid[at])

    def put(self, at: Tensor, other: Cache) -> None:
        """Writes episodes back."""
        for mine, theirs in zip((*self.memory, *self.past), (*other.memory, *other.past), strict=True):
            for kept, fresh in zip(mine, theirs, strict=True):
                kept[at] = fresh
        self.keep[at], self.valid[at] = other.keep, other.valid


class Controller(nn.Module):
    """``n_layer`` pairs of a cross and a self block; self blocks alone where ``cross_heads`` is None.

    Weights are N(0, 0.02), as in the published code.
    """

    def __init__(self, n_embd: int, n_layer: int, n_head: int, cross_heads: int | None, dropout: float = 0.1) -> None:
        super().__init__()
        for heads in (n_head, cross_heads or n_head):
            if n_embd % heads:
                raise ConfigError(f"n_embd must be a multiple of the heads; found {n_embd} and {heads}")
        self.self_blocks = nn.ModuleList(SelfBlock(n_embd, n_head, dropout) for _ in range(n_layer))
        crossing = n_layer if cross_heads else 0
        self.cross_blocks = nn.ModuleList(CrossBlock(n_embd, cross_heads or 1) for _ in range(crossing))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def remember(self, prompt: Tensor) -> list[KeyValue]:
        """Per layer what a prompt ``(B, P, D)`` is looked at by."""
        return [block.remember(prompt) for block in self.cross_blocks]  # type: ignore[operator]

    def forward(self, x: Tensor, mask: Tensor | None, memory: list[KeyValue], keep: Tensor | None) -> Tensor:
        """Tokens ``(B, N, D)`` to states; mask ``(B, 1, N, N)`` bool; keep ``(B, 1, 1, P)`` of the prompt."""
        for i, block in enumerate(self.self_blocks):
            if memory:
                x = self.cross_blocks[i](x, memory[i], keep)
            x = block(x, mask)
        return x

    def step(self, x: Tensor, places: Tensor, valid: Tensor, cache: Cache) -> Tensor:
        """States of new tokens ``(B, M, D)`` alone, at the places ``(B, M)`` of the cache, which then holds them too; causal.

        valid: ``(B, M)`` bool. Shapes do not depend on how much an episode has seen.
        """
        row = torch.arange(len(x), device=x.device)[:, None]
        cache.valid[row, places] = valid
        place = torch.arange(cache.valid.shape[1], device=x.device)
        before = place <= places[:, :, None]
        own = place == places[:, :, None]  # padding looks at itself: no row may be empty
        mask = ((cache.valid[:, None] & before) | own)[:, None]  # (B, 1, M, L)
        for i, block in enumerate(self.self_blocks):
            if cache.memory:
                x = self.cross_blocks[i](x, cache.memory[i], cache.keep)
            x = block.step(x, mask, row, places, cache.past[i])  # type: ignore[operator]
        return x

    def blank(self, memory: list[KeyValue], keep: Tensor, episodes: int, length: int) -> Cache:
        """An empty cache with room for ``length`` tokens of each of ``episodes``."""
        first = cast(SelfBlock, self.self_blocks[0])
        like = first.qkv.weight
        shape = (episodes, first.heads, length, like.shape[1] // first.heads)
        past = [(like.new_zeros(shape), like.new_zeros(shape)) for _ in self.self_blocks]
        return Cache(memory, keep, past, torch.zeros(episodes, length, dtype=torch.bool, device=like.device))
