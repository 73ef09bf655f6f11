"""The bidirectional encoder of BERT and uniMASK: every cell is a position, hidden ones are blanked inside their token."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from maskbench.masking.scheme import MaskSet
from maskbench.models.dropout import Dropout
from maskbench.models.embedding import CellEmbedding, Hidden
from maskbench.models.heads import Head
from maskbench.models.positions import Timesteps, build_positions, build_timesteps
from maskbench.models.sequence import SequenceModel
from maskbench.models.transformer import Activation, Norm, Transformer
from maskbench.tokens.layout import TokenLayout
from maskbench.trajectory import Window


class Encoder(SequenceModel):
    """uniMASK's network (spec 3.1): ``ReLU(Linear(x)) * sqrt(d)`` plus positions, dropout, encoder blocks, linear heads.

    scale_embedding: the ReLU and the factor sqrt(d) after the embedding.
    timesteps:       ``learned`` adds a trained embedding of the timestep inside the episode in place of the positions and
                     their dropout (uniMASK's ``-te``); episodes may last ``max_timesteps``.
    """

    def __init__(
        self,
        layout: TokenLayout,
        heads: Mapping[str, Head],
        n_layer: int = 2,
        n_head: int = 8,
        n_embd: int = 128,
        n_inner: int | None = 128,
        dropout: float = 0.1,
        activation: Activation = "relu",
        norm: Norm = "post",
        positions: str = "sinusoidal",
        scale_embedding: bool = True,
        hidden: Hidden = "zero",
        timesteps: Timesteps = "none",
        max_timesteps: int = 1000,
    ) -> None:
        super().__init__(layout, heads)
        self.embed = CellEmbedding(layout, n_embd, hidden, self.codecs)
        self.timesteps = build_timesteps(timesteps, max_timesteps, n_embd)
        self.max_timesteps = max_timesteps if self.timesteps is not None else None
        self.positions = build_positions(positions, layout.num_tokens, n_embd) if self.timesteps is None else None
        self.drop = Dropout(dropout)
        self.trunk = Transformer(n_layer, n_head, n_embd, n_inner, dropout, activation, norm, final_norm=norm == "pre")
        self.scale = math.sqrt(n_embd) if scale_embedding else None
        for linear in (*self.embed.streams, *(m for m in self.heads.modules() if isinstance(m, nn.Linear))):
            nn.init.uniform_(linear.weight, -0.1, 0.1)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def states(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor | None = None) -> Tensor:
        x = layout.to_sequence(self.embed(window.values, masks.visible))  # (B, N, D)
        if self.scale is not None:
            x = x.relu() * self.scale
        if self.timesteps is not None:
            x = x + self.timesteps(window, layout)
        elif self.positions is not None:
            x = self.drop(self.positions.add_to(x))
        return self.trunk(x, keys=padding_keys(window, layout), at=at)


def padding_keys(window: Window, layout: TokenLayout) -> Tensor | None:
    """``(B, N)`` bool: tokens of recorded timesteps; None where nothing is padded. A row's first timestep always counts."""
    if window.valid is None:
        return None
    return window.valid[:, layout.token_timesteps.to(window.valid.device)]
