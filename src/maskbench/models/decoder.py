"""The causal decoder of GPT, Decision Transformer and Behavior Transformer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from maskbench.masking.scheme import MaskSet
from maskbench.models.dropout import Dropout
from maskbench.models.embedding import CellEmbedding, Hidden
from maskbench.models.encoder import padding_keys
from maskbench.models.heads import Head
from maskbench.models.positions import Timesteps, build_positions, build_timesteps
from maskbench.models.sequence import SequenceModel
from maskbench.models.transformer import Activation, Transformer, initialise
from maskbench.tokens.layout import TokenLayout
from maskbench.trajectory import Window


class Decoder(SequenceModel):
    """minGPT's trunk (BeT spec 1.3): pre-norm blocks, exact GELU, learned positions, a final norm; which cells become tokens
    is the layout's choice.

    positions:  ``learned`` (GPT, BeT) or ``sincos`` (MaskDP's GPT baseline).
    final_norm: False for MaskDP's GPT baseline, whose heads normalise.
    init:       ``normal`` N(0, 0.02) (GPT) or ``xavier`` (MaskDP).
    activation: ``relu`` in Decision Transformer and Decision-GPT (uniMASK spec 3.3).
    embed_norm: LayerNorm over the embedded tokens, before positions (likewise).
    timesteps:  ``learned`` adds a trained embedding of the timestep inside the episode to each token before that norm,
                besides the positions (Decision Transformer); episodes may last ``max_timesteps``.
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
        activation: Activation = "gelu",
        embed_norm: bool = False,
        timesteps: Timesteps = "none",
        max_timesteps: int = 1000,
    ) -> None:
        super().__init__(layout, heads)
        self.embed = CellEmbedding(layout, n_embd, hidden, self.codecs)
        self.timesteps = build_timesteps(timesteps, max_timesteps, n_embd)
        self.max_timesteps = max_timesteps if self.timesteps is not None else None
        self.embed_norm = nn.LayerNorm(n_embd) if embed_norm else nn.Identity()
        self.positions = build_positions(positions, layout.num_tokens, n_embd)
        self.stretches = positions != "learned" and self.timesteps is None
        self.drop = Dropout(dropout)
        self.trunk = Transformer(n_layer, n_head, n_embd, n_inner, dropout, activation, "pre", final_norm)
        initialise(self, "normal" if init == "normal" else "xavier")

    def states(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor | None = None) -> Tensor:
        x = layout.to_sequence(self.embed(window.values, masks.visible))  # (B, N, D)
        if self.timesteps is not None:
            x = x + self.timesteps(window, layout)
        x = self.drop(self.positions.add_to(self.embed_norm(x)))
        return self.trunk(x, causal=True, keys=padding_keys(window, layout), at=at)
