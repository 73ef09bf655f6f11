"""Keys and values of what a causal transformer has read, so that only new tokens are computed; any causal trunk can use it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskbench.models.transformer import Block, Transformer


class KeyValueCache:
    """What ``B`` rows have read so far, each of its own length.

    keys, values: per block ``(B, H, L, D/H)``; entries at and beyond ``lengths`` ``(B,)`` mean nothing.
    """

    def __init__(self, n_layer: int, rows: int, n_head: int, width: int, device: torch.device, dtype: torch.dtype) -> None:
        empty = torch.zeros(rows, n_head, 0, width, device=device, dtype=dtype)
        self.keys: list[Tensor] = [empty] * n_layer
        self.values: list[Tensor] = [empty] * n_layer
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=device)

    @classmethod
    def for_trunk(cls, trunk: Transformer, rows: int) -> KeyValueCache:
        """An empty cache for ``rows`` sequences."""
        block: Block = trunk.blocks[0]  # type: ignore[assignment]
        weight = block.attention.qkv.weight
        heads = block.attention.n_head
        return cls(len(trunk.blocks), rows, heads, weight.shape[1] // heads, weight.device, weight.dtype)

    @property
    def capacity(self) -> int:
        return self.keys[0].shape[2]

    def grow(self, rows: int) -> None:
        """Room for ``rows`` more sequences."""
        self.keys = [F.pad(k, (0, 0) * 3 + (0, rows)) for k in self.keys]
        self.values = [F.pad(v, (0, 0) * 3 + (0, rows)) for v in self.values]
        self.lengths = F.pad(self.lengths, (0, rows))

    def clear(self, rows: Tensor) -> None:
        """Forgets what ``rows`` ``(n,)`` have read."""
        self.lengths[rows] = 0

    def commit(self, rows: Tensor, keys: list[Tensor], values: list[Tensor], counts: Tensor) -> None:
        """Appends the first ``counts`` ``(n,)`` of the new tokens, per block ``(n, H, M, D/H)``, to ``rows`` ``(n,)``."""
        need = int((self.lengths[rows] + counts).max()) if len(rows) else 0
        if need > self.capacity:
            grown = max(need, 2 * self.capacity, 64)
            self.keys = [F.pad(k, (0, 0, 0, grown - k.shape[2])) for k in self.keys]
            self.values = [F.pad(v, (0, 0, 0, grown - v.shape[2])) for v in self.values]
        m = keys[0].shape[2]
        new = torch.arange(m, device=counts.device) < counts[:, None]  # (n, M)
        row, column = new.nonzero(as_tuple=True)
        at = self.lengths[rows][row] + column
        for block in range(len(keys)):
            self.keys[block][rows[row], :, at] = keys[block].transpose(1, 2)[row, column]
            self.values[block][rows[row], :, at] = values[block].transpose(1, 2)[row, column]
        self.lengths[rows] += counts


def extend(
    trunk: Transformer, x: Tensor, cache: KeyValueCache, rows: Tensor, among: Tensor
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """States of new tokens behind what ``rows`` have read; the cache is not changed (``KeyValueCache.commit`` does that).

    x:     ``(n, M, D)`` embedded new tokens.
    among: ``(n or 1, M, M)`` bool, True = may be looked at: lower triangular for a text, ancestors for a tree of continuations.
    Returns states ``(n, M, D)``, and keys and values of the new tokens per block.
    """
    n, m, d = x.shape
    length = int(cache.lengths[rows].max()) if len(rows) else 0
    past = torch.arange(length, device=x.device) < cache.lengths[rows][:, None]  # (n, L)
    mask = torch.cat([past[:, None].expand(n, m, length), among.expand(n, m, m)], 2)[:, None]  # (n, 1, M, L + M)
    keys, values = [], []
    for index, module in enumerate(trunk.blocks):
        block: Block = module  # type: ignore[assignment]
        heads = block.attention.n_head
        normed = block.norm1(x) if block.pre else x
        q, k, v = block.attention.qkv(normed).view(n, m, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
        keys.append(k)
        values.append(v)
        k = torch.cat([cache.keys[index][rows, :, :length], k], 2)
        v = torch.cat([cache.values[index][rows, :, :length], v], 2)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = block.attention.out(y.transpose(1, 2).reshape(n, m, d))
        if block.pre:
            x = x + y
            x = x + block.mlp(block.norm2(x))
        else:
            x = block.norm1(x + y)
            x = block.norm2(x + block.mlp(x))
    return trunk.norm(x), keys, values
