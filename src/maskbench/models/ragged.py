"""A transformer for acting: rows of different lengths, most tokens of which may be the same in all rows.

The tokens of all rows lie one after the other, rows of equal length together, so that norms, products and activations take one
call for all rows; attention takes one per length. A row's result depends on that row alone. Blocks are pre-norm; there are no
gradients and no dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.models.products import linear, linear_by
from maskbench.models.transformer import Attention, Block, Transformer


@dataclass(frozen=True)
class Rows:
    """Where the ``M`` tokens of ``B`` rows lie.

    order:  ``(B,)`` int64, the rows by length.
    groups: per length, ascending, ``(rows, tokens in each)``.
    first:  ``(B,)`` int64, where the tokens of each row begin.
    row, place: ``(M,)`` int64, the row that each token belongs to, and its place inside it.
    """

    order: Tensor
    groups: tuple[tuple[int, int], ...]
    first: Tensor
    row: Tensor
    place: Tensor


def rows_of(lengths: Tensor) -> Rows:
    """Rows of ``lengths`` ``(B,)`` tokens."""
    lengths, order = lengths.sort(stable=True)
    sizes, counts = (found.tolist() for found in lengths.unique_consecutive(return_counts=True))
    first = lengths.cumsum(0) - lengths
    row = order.repeat_interleave(lengths)
    place = torch.arange(len(row), device=row.device) - first.repeat_interleave(lengths)
    return Rows(order, tuple(zip(counts, sizes, strict=True)), torch.empty_like(first).index_copy_(0, order, first), row, place)


def spread(trunk: Transformer, shared: Tensor, own: Tensor, at: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
    """Tokens ``(M, D)``, and the first block's queries, keys and values of them ``(M, 3 D)``.

    All rows hold the ``shared`` tokens ``(N, D)``, which are projected once, but for their ``own`` ``(K, D)`` at ``at``
    ``(K,)``.
    """
    block = cast(Block, trunk.blocks[0])
    x, qkv = (
        everywhere.index_select(0, rows.place).index_copy_(0, at, here)
        for everywhere, here in ((shared, own), (_project(block, shared), _project(block, own)))
    )
    return x, qkv


def transform(trunk: Transformer, x: Tensor, rows: Rows, at: Tensor | None = None, qkv: Tensor | None = None) -> Tensor:
    """``trunk`` on tokens ``(M, D)``: ``(M, D)``, or ``(B, Q, D)`` for the tokens ``at`` ``(B, Q)`` of each row alone.

    qkv: what the first block's projection gives, where it is known.
    """
    asked = None if at is None else (rows.first[:, None] + at)[rows.order].flatten()
    each = None if at is None else at.shape[1]
    blocks = cast(Sequence[Block], trunk.blocks)
    for block in blocks:
        alone = asked if block is blocks[-1] else None
        if alone is not None and each is not None and qkv is None and each * block.attention.n_head < x.shape[-1]:
            x = x[alone] + _look(block.attention, block.norm1(x), alone, rows, each)
        else:
            q, kv = (_project(block, x) if qkv is None else qkv).tensor_split([x.shape[-1]], -1)
            q = q if alone is None else q[alone]
            x = (x if alone is None else x[alone]) + _attend(block.attention, q, kv, rows, None if alone is None else each)
        x = x + block.mlp(block.norm2(x))
        qkv = None
    x = cast(nn.Module, trunk.norm)(x)
    if at is None:
        return x
    found = x.unflatten(0, at.shape)
    return torch.empty_like(found).index_copy_(0, rows.order, found)


def _project(block: Block, x: Tensor) -> Tensor:
    return linear(block.attention.qkv, block.norm1(x))


def _attend(attention: Attention, q: Tensor, kv: Tensor, rows: Rows, asked: int | None) -> Tensor:
    """Attention of queries, ``asked`` of every row or all, over the keys and values ``(M, 2 D)`` of their row."""
    found = []
    for count, length in rows.groups:
        ask = length if asked is None else asked
        (mine, q), (theirs, kv) = q.tensor_split([count * ask]), kv.tensor_split([count * length])
        if length:
            heads = attention.n_head, mine.shape[-1] // attention.n_head
            queries = mine.view(count, ask, *heads).transpose(1, 2)
            keys, values = theirs.view(count, length, 2, *heads).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(queries, keys, values)
            found.append(y.transpose(1, 2).reshape(count * ask, -1))
    return linear(attention.out, torch.cat(found) if found else q)


def _look(attention: Attention, x: Tensor, alone: Tensor, rows: Rows, asked: int) -> Tensor:
    """Attention of the tokens ``alone``, ``asked`` of every row, to the tokens ``x`` ``(M, D)`` of their row.

    For few questions: no token gets a key or a value of its own, since ``q . (W y) = (W' q) . y`` and the weighted sum of
    values is the value of the weighted sum. A key's bias adds the same to every score of a query and falls out of the softmax.
    """
    width, heads = x.shape[-1], attention.n_head
    wq, wk, wv = attention.qkv.weight.split(width)
    bq, _, bv = attention.qkv.bias.split(width)
    q = linear_by(x[alone], wq, bq) * (width // heads) ** -0.5
    keys = (linear_by(part, w.mT.contiguous(), None) for part, w in zip(q.chunk(heads, -1), wk.chunk(heads), strict=True))
    looking, found = torch.stack(list(keys), 1), []  # (B Q, H, D)
    for count, length in rows.groups:
        (mine, looking), (theirs, x) = looking.tensor_split([count * asked]), x.tensor_split([count * length])
        seen = theirs.view(count, length, width)
        weights = torch.bmm(mine.reshape(count, asked * heads, width), seen.mT).softmax(-1)
        found.append(torch.bmm(weights, seen).view(count * asked, heads, width))
    sums = torch.cat(found).unbind(1)
    values = [linear_by(y, w, b) for y, w, b in zip(sums, wv.chunk(heads), bv.chunk(heads), strict=True)]
    return linear(attention.out, torch.cat(values, -1))
