"""From the cells of a window to token embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.tokens.codecs import BinCodec
from maskbench.tokens.layout import Stream, TokenLayout

Hidden = Literal["zero", "token", "indicator"]


class MaskedCells(nn.Module):
    """Cells as dense columns, zeros where hidden.

    indicator: one more column a factor, its visibility.
    codecs:    bins of the continuous factors that enter as classes, one-hot per dimension; their heads own them.
    """

    def __init__(self, layout: TokenLayout, indicator: bool = False, codecs: Mapping[str, BinCodec] | None = None) -> None:
        super().__init__()
        self.layout, self.indicator = layout, indicator
        self.codecs = dict(codecs or {})  # a plain dict: the parameters and buffers stay their heads'
        for f in layout.spec:
            if f.classes is not None:
                self.register_buffer(f"eye_{f.name}", torch.eye(f.classes), persistent=False)

    def width(self, stream: Stream) -> int:
        """Columns of one stream's token."""
        factors = [self.layout.spec.factors[c] for c in stream.columns]
        bins = {name: codec.num_bins for name, codec in self.codecs.items()}
        return sum(f.width * bins.get(f.name, 1) + self.indicator for f in factors)

    def cell(self, name: str, value: Tensor) -> Tensor:
        """``(B, T, width)`` float: one-hot for classes, flattened values otherwise. Classes may also come as weights, through
        which gradients flow: ``(B, T, classes)`` of a discrete factor, ``(B, T, *shape, bins)`` of a binned one."""
        codec = self.codecs.get(name)
        if codec is not None and value.dim() == 2 + len(self.layout.spec[name].shape):
            return F.one_hot(codec.encode(value), codec.num_bins).flatten(2).to(value.dtype)
        if self.layout.spec[name].kind == "discrete" and not value.is_floating_point():
            return F.embedding(value, self.get_buffer(f"eye_{name}"))
        return value.flatten(2)

    def of(self, stream: Stream, values: Mapping[str, Tensor], visible: Tensor) -> Tensor:
        """The cells of a stream: values per factor ``(B, T, ...)``, visible ``(B, T, F)`` bool -> ``(B, T, width)``."""
        columns = []
        for c in stream.columns:
            name = self.layout.spec.factors[c].name
            shown = visible[:, :, c, None]
            # where, not a product: a NaN that is hidden must stay hidden
            cell = self.cell(name, values[name])
            columns.append(torch.where(shown, cell, torch.zeros((), dtype=cell.dtype, device=cell.device)))
            if self.indicator:
                columns.append(shown.to(cell.dtype))
        return torch.cat(columns, -1)


class CellEmbedding(MaskedCells):
    """One Linear per stream over the concatenated cells of a token; hidden cells are zeroed inside it.

    hidden: ``zero`` is uniMASK's rule. Zero is ambiguous for continuous values, so ``indicator`` adds one visibility bit
            per factor and ``token`` a learned vector per hidden factor.
    """

    def __init__(
        self, layout: TokenLayout, n_embd: int, hidden: Hidden = "zero", codecs: Mapping[str, BinCodec] | None = None
    ) -> None:
        super().__init__(layout, hidden == "indicator", codecs)
        self.hidden = hidden
        self.streams = nn.ModuleList(nn.Linear(self.width(s), n_embd) for s in layout.streams)
        if hidden == "token":
            self.absent = nn.Parameter(torch.randn(len(layout.spec), n_embd) * 0.02)

    def forward(self, values: Mapping[str, Tensor], visible: Tensor) -> Tensor:
        """values per factor ``(B, T, ...)``, visible ``(B, T, F)`` bool -> ``(B, T, S, D)``."""
        tokens = []
        for stream, linear in zip(self.layout.streams, self.streams, strict=True):
            x = linear(self.of(stream, values, visible))  # (B, T, D)
            if self.hidden == "token":
                index = list(stream.columns)
                x = x + (~visible[:, :, index]).to(x.dtype) @ self.absent[index]
            tokens.append(x)
        return torch.stack(tokens, 2)
