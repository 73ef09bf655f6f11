"""The baseline without attention: one multilayer perceptron over the flattened window (uniMASK's NN)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskSet
from maskbench.models.dropout import Dropout
from maskbench.models.embedding import MaskedCells
from maskbench.models.heads import Head
from maskbench.models.sequence import SequenceModel
from maskbench.models.transformer import take_tokens
from maskbench.tokens.layout import TokenLayout
from maskbench.trajectory import Window


class MLP(SequenceModel):
    """uniMASK's NN (spec 3.2) on windows of ``K`` timesteps, whose input cells have ``W`` columns each::

        K * W -> Linear(n_hidden) -> [ReLU, Dropout, Linear(n_hidden)] x (n_layer - 1) -> ReLU, Dropout, Linear(K * n_embd)

    The published network ends in ``Linear(K * W)``, its predictions. Here the last Linear gives each timestep a state of
    width ``n_embd`` (which all tokens of the timestep share), and the ordinary heads read it. Linear heads make that a
    factorised form of the published layer: with ``n_embd`` no less than the columns predicted at a timestep, the same
    functions can be represented; other heads work as with every model. Weights start as PyTorch's Linear does.

    A window's length is built into the weights: no other can be asked. Padding and hidden cells are zeros; ``indicator``
    adds one visibility bit per cell.
    """

    def __init__(
        self,
        layout: TokenLayout,
        heads: Mapping[str, Head],
        n_layer: int = 3,
        n_hidden: int = 128,
        n_embd: int = 64,
        dropout: float = 0.1,
        hidden: Literal["zero", "indicator"] = "zero",
    ) -> None:
        super().__init__(layout, heads)
        if n_layer < 1:
            raise ConfigError(f"a multilayer perceptron needs at least one hidden layer; found {n_layer}")
        self.cells = MaskedCells(layout, hidden == "indicator", self.codecs)
        width = layout.length * sum(self.cells.width(s) for s in layout.streams)
        layers: list[nn.Module] = [nn.Linear(width, n_hidden)]
        for _ in range(n_layer - 1):
            layers += [nn.ReLU(), Dropout(dropout), nn.Linear(n_hidden, n_hidden)]
        layers += [nn.ReLU(), Dropout(dropout), nn.Linear(n_hidden, layout.length * n_embd)]
        self.body = nn.Sequential(*layers)

    def states(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor | None = None) -> Tensor:
        if layout.length != self.layout.length:
            raise ConfigError(
                f"this MLP was built for windows of {self.layout.length} timesteps and cannot be asked about {layout.length}. "
                "Use windows of its own length, or a transformer."
            )
        b, t, s = masks.visible.shape[0], layout.length, len(layout.streams)
        cells = [self.cells.of(stream, window.values, masks.visible) for stream in layout.streams]
        h = self.body(torch.cat(cells, -1).flatten(1)).view(b, t, 1, -1)  # (B, T, 1, D)
        h = layout.to_sequence(h.expand(b, t, s, h.shape[-1]))  # (B, N, D)
        return h if at is None else take_tokens(h, at)
