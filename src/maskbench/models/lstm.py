"""The recurrent trunk: LSTM-GMM's and the one of the BeT study's ablation (BeT spec 1.7)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from maskbench.masking.scheme import MaskSet
from maskbench.models.dropout import Dropout
from maskbench.models.embedding import CellEmbedding
from maskbench.models.heads import Head
from maskbench.models.sequence import SequenceModel
from maskbench.models.transformer import take_tokens
from maskbench.tokens.layout import TokenLayout
from maskbench.trajectory import Window


class LSTM(SequenceModel):
    """Tokens in order through ``Linear, ReLU`` and ``n_layer`` LSTM layers; causal by nature.

    Every window starts from a zero state, in training as at rollout, where a full window is read anew at every step: the
    state at position ``j`` has always seen exactly ``j`` predecessors, and the beginning of an episode looks like the
    beginning of any training window. (The study pads short histories with zero observations on the left, which training never
    showed, and trains the LSTM without the layers around it; here all of them learn.)

    dropout: between layers.
    """

    attends = ("causal",)

    def __init__(
        self, layout: TokenLayout, heads: Mapping[str, Head], n_layer: int = 2, n_embd: int = 256, dropout: float = 0.0
    ) -> None:
        super().__init__(layout, heads)
        self.embed = CellEmbedding(layout, n_embd, "zero", self.codecs)
        self.layers = nn.ModuleList(nn.LSTM(n_embd, n_embd, batch_first=True) for _ in range(n_layer))
        self.drop = Dropout(dropout)

    def states(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor | None = None) -> Tensor:
        h = layout.to_sequence(self.embed(window.values, masks.visible)).relu()  # (B, N, D)
        for i, layer in enumerate(self.layers):
            h = layer(h if i == 0 else self.drop(h))[0]
        return h if at is None else take_tokens(h, at)
