"""From the cells of a window to token embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.tokens.layout import TokenLayout

Hidden = Literal["zero", "token", "indicator"]


class CellEmbedding(nn.Module):
    """One Linear per stream over the concatenated cells of a token; hidden cells are zeroed inside it.

    hidden: ``zero`` is uniMASK's rule. Zero is ambiguous for continuous values, so ``indicator`` adds one visibility bit
            per factor and ``token`` a learned vector per hidden factor.
    """

    def __init__(self, layout: TokenLayout, n_embd: int, hidden: Hidden = "zero") -> None:
        super().__init__()
        self.layout, self.hidden = layout, hidden
        factors = layout.spec.factors
        widths = [sum(factors[c].width + (hidden == "indicator") for c in s.columns) for s in layout.streams]
        self.streams = nn.ModuleList(nn.Linear(w, n_embd) for w in widths)
        if hidden == "token":
            self.absent = nn.Parameter(torch.randn(len(factors), n_embd) * 0.02)
        for f in factors:
            if f.classes is not None:
                self.register_buffer(f"eye_{f.name}", torch.eye(f.classes), persistent=False)

    def cell(self, name: str, value: Tensor) -> Tensor:
        """``(B, T, width)`` float: one-hot for discrete factors, flattened values otherwise. Discrete cells may also come as
        class weights ``(B, T, classes)``, through which gradients flow."""
        if self.layout.spec[name].kind == "discrete" and not value.is_floating_point():
            return F.embedding(value, self.get_buffer(f"eye_{name}"))
        return value.flatten(2)

    def forward(self, values: Mapping[str, Tensor], visible: Tensor) -> Tensor:
        """values per factor ``(B, T, ...)``, visible ``(B, T, F)`` bool -> ``(B, T, S, D)``."""
        tokens = []
        for stream, linear in zip(self.layout.streams, self.streams, strict=True):
            columns = []
            for c in stream.columns:
                name = self.layout.spec.factors[c].name
                shown = visible[:, :, c, None]
                # where, not a product: a NaN that is hidden must stay hidden
                cell = self.cell(name, values[name])
                columns.append(torch.where(shown, cell, torch.zeros((), dtype=cell.dtype, device=cell.device)))
                if self.hidden == "indicator":
                    columns.append(shown.to(cell.dtype))
            x = linear(torch.cat(columns, -1))  # (B, T, D)
            if self.hidden == "token":
                index = list(stream.columns)
                x = x + (~visible[:, :, index]).to(x.dtype) @ self.absent[index]
            tokens.append(x)
        return torch.stack(tokens, 2)
