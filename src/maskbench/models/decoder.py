"""The causal decoder of GPT, Decision Transformer and Behavior Transformer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from maskbench.masking.scheme import MaskSet
from maskbench.models.embedding import CellEmbedding, Hidden
from maskbench.models.encoder import padding_keys
from maskbench.models.heads import Head
from maskbench.models.positions import build_positions
from maskbench.models.sequence import SequenceModel
from maskbench.models.transformer import Transformer, initialise
from maskbench.tokens.layout import TokenLayout
from maskbench.trajectory import Window


class Decoder(SequenceModel):
    """minGPT's trunk (BeT spec 1.3): pre-norm blocks, exact GELU, learned positions, a final norm; which cells become tokens
    is the layout's choice.

    positions:  ``learned`` (GPT, BeT) or ``sincos`` (MaskDP's GPT baseline).
    final_norm: False for MaskDP's GPT baseline, whose heads normalise.
    init:       ``normal`` N(0, 0.02) (GPT) or ``xavier`` (MaskDP).
    """

    attends = ("causal",)

    def __init__(
        self,
        layout: TokenLayout,
        heads: Mapping[str, Head],
        n_layer: int = 4,
        n_head: int = 4,
        n_embd: int = 72,
        n_inner: int | None = None,
        dropout: float = 0.1,
        positions: str = "learned",
        final_norm: bool = True,
        init: str = "normal",
        hidden: Hidden = "zero",
    ) -> None:
        super().__init__(layout, heads)
        self.embed = CellEmbedding(layout, n_embd, hidden, self.codecs)
        self.positions = build_positions(positions, layout.num_tokens, n_embd)
        self.drop = nn.Dropout(dropout)
        self.trunk = Transformer(n_layer, n_head, n_embd, n_inner, dropout, "gelu", "pre", final_norm)
        initialise(self, "normal" if init == "normal" else "xavier")

    def states(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor | None = None) -> Tensor:
        x = layout.to_sequence(self.embed(window.values, masks.visible))  # (B, N, D)
        x = self.drop(x + self.positions(x.shape[1]))
        return self.trunk(x, causal=True, keys=padding_keys(window, layout), at=at)
