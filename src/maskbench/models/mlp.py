"""The baseline without attention: one multilayer perceptron over the flattened window (uniMASK's NN, BeT's MLP trunk)."""

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

Norm = Literal["none", "batch", "layer"]
Init = Literal["default", "orthogonal"]


class MLP(SequenceModel):
    """uniMASK's NN (spec 3.2) on windows of ``K`` timesteps, whose input cells have ``W`` columns each::

        K * W -> Linear(n_hidden) -> [ReLU, Dropout, Linear(n_hidden)] x (n_layer - 1) -> ReLU, Dropout, Linear(K * n_embd)

    The published network ends in ``Linear(K * W)``, its predictions. Here the last Linear gives each timestep a state of
    width ``n_embd`` (which all tokens of the timestep share), and the ordinary heads read it. Linear heads make that a
    factorised form of the published layer: with ``n_embd`` no less than the columns predicted at a timestep, the same
    functions can be represented; other heads work as with every model.

    Bidirectional masks are answered by one pass over the window. Under causal masks each asked token gets a pass of its own
    over the cells up to it, the later ones zero: histories of every length are trained, and a rollout's first steps look like
    training. (BeT's MLP sees the whole window at every position, and at rollout short histories padded with zeros that it was
    never shown, BeT spec 1.7; with ``masking=bc`` it is trained on one history length a window instead.)

    A window's length is built into the weights: no other can be asked. Padding and hidden cells are zeros; ``indicator``
    adds one visibility bit per cell.

    norm: ``batch`` normalises each hidden layer before its ReLU, as BeT's trunk does. ``layer`` makes the first layer
          LayerNorm and tanh, and rectifies the states too: the trunk of ExoRL's agents and MaskDP's Goal-MLP (maskdp.md 2.8).
    init: ``orthogonal`` weights and zero biases (BeT), or PyTorch's own.
    """

    attends = ("bidirectional", "causal")

    def __init__(
        self,
        layout: TokenLayout,
        heads: Mapping[str, Head],
        n_layer: int = 3,
        n_hidden: int = 128,
        n_embd: int = 64,
        dropout: float = 0.1,
        hidden: Literal["zero", "indicator"] = "zero",
        norm: Norm = "none",
        init: Init = "default",
    ) -> None:
        super().__init__(layout, heads)
        if n_layer < 1:
            raise ConfigError(f"a multilayer perceptron needs at least one hidden layer; found {n_layer}")
        self.cells = MaskedCells(layout, hidden == "indicator", self.codecs)
        width = layout.length * sum(self.cells.width(s) for s in layout.streams)
        layers: list[nn.Module] = []
        for i in range(n_layer):
            layers.append(nn.Linear(width if i == 0 else n_hidden, n_hidden))
            if norm == "layer" and i == 0:
                layers += [nn.LayerNorm(n_hidden), nn.Tanh(), Dropout(dropout)]
                continue
            layers += [nn.BatchNorm1d(n_hidden)] if norm == "batch" else []
            layers += [nn.ReLU(), Dropout(dropout)]
        last = [nn.ReLU()] if norm == "layer" else []
        self.body = nn.Sequential(*layers, nn.Linear(n_hidden, layout.length * n_embd), *last)
        for linear in (m for m in self.body if isinstance(m, nn.Linear) and init == "orthogonal"):
            nn.init.orthogonal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def states(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor | None = None) -> Tensor:
        if layout.length != self.layout.length:
            raise ConfigError(
                f"this MLP was built for windows of {self.layout.length} timesteps and cannot be asked about {layout.length}. "
                "Use windows of its own length, or a transformer."
            )
        if masks.attend == "causal":
            return self._causal_states(window, masks, layout, at)
        s = len(layout.streams)
        h = self._answer(window.values, masks.visible)[:, :, None]  # (B, T, 1, D)
        h = layout.to_sequence(h.expand(-1, -1, s, -1))  # (B, N, D)
        return h if at is None else take_tokens(h, at)

    def _answer(self, values: Mapping[str, Tensor], visible: Tensor) -> Tensor:
        """``(B, T, D)``: a state for each timestep."""
        cells = [self.cells.of(stream, values, visible) for stream in self.layout.streams]
        return self.body(torch.cat(cells, -1).flatten(1)).unflatten(-1, (self.layout.length, -1))

    def _causal_states(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor | None) -> Tensor:
        """``(B, M, D)`` for the tokens ``at`` ``(B, M)``, all where it is None: a row of the batch for each of them."""
        b, device = masks.visible.shape[0], masks.visible.device
        if at is None:
            at = torch.arange(layout.num_tokens, device=device).expand(b, -1)
        asked = at.shape[1]
        place = _cell_tokens(layout).to(device)  # (T, F)
        seen = masks.visible[:, None] & (place <= at[..., None, None])  # (B, M, T, F)
        values = {n: v.repeat_interleave(asked, 0) for n, v in window.values.items()}
        h = self._answer(values, seen.flatten(0, 1))  # (B * M, T, D)
        timestep = layout.token_timesteps.to(device)[at].flatten()
        return h[torch.arange(len(h), device=device), timestep].unflatten(0, (b, asked))


def _cell_tokens(layout: TokenLayout) -> Tensor:
    """``(T, F)`` int64: the token that holds each cell; that of the first stream for cells in none (nothing reads them)."""
    rows = [[layout.token(t, o or 0) for o in layout.owners] for t in range(layout.length)]
    return torch.tensor(rows, dtype=torch.long)
