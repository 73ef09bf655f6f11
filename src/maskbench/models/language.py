"""The causal language model of text trajectories: learned positions, tied embeddings, the trunk of all models here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.models.cache import KeyValueCache, extend
from maskbench.models.dropout import Dropout
from maskbench.models.transformer import Transformer, initialise

#: n_layer, n_head, n_embd of TTM spec 6.2.
PRESETS = {"xs": (2, 4, 64), "s": (4, 4, 128), "m": (6, 8, 256)}


class LanguageModel(nn.Module):
    """Pre-norm decoder (TTM spec 6.2). ``context`` is the most tokens it can read."""

    def __init__(
        self, vocab_size: int, n_layer: int = 4, n_head: int = 4, n_embd: int = 128, context: int = 768, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.context, self.vocab_size = context, vocab_size
        self.tokens = nn.Embedding(vocab_size, n_embd)
        self.positions = nn.Embedding(context, n_embd)
        self.drop = Dropout(dropout)
        self.trunk = Transformer(n_layer, n_head, n_embd, dropout=dropout)
        initialise(self, "normal")
        nn.init.normal_(self.tokens.weight, 0.0, 0.02)
        nn.init.normal_(self.positions.weight, 0.0, 0.02)

    def states(self, tokens: Tensor) -> Tensor:
        """``(B, N)`` ids, padded on the right, to states ``(B, N, D)``. Raises ConfigError beyond the context."""
        if tokens.shape[1] > self.context:
            raise ConfigError(f"the model reads {self.context} tokens; found {tokens.shape[1]}: raise model.context")
        at = torch.arange(tokens.shape[1], device=tokens.device)
        return self.trunk(self.drop(self.tokens(tokens) + self.positions(at)), causal=True)

    def logits(self, states: Tensor) -> Tensor:
        """``(..., D)`` to ``(..., V)``: scores of the next token."""
        return F.linear(states, self.tokens.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits(self.states(tokens))

    def new_cache(self, rows: int) -> KeyValueCache:
        return KeyValueCache.for_trunk(self.trunk, rows)

    def read(self, cache: KeyValueCache, rows: Tensor, tokens: Tensor, counts: Tensor) -> Tensor:
        """Reads the first ``counts`` ``(n,)`` of ``tokens`` ``(n, M)`` into ``rows`` of the cache; states ``(n, M, D)``."""
        m = tokens.shape[1]
        at = (cache.lengths[rows][:, None] + torch.arange(m, device=tokens.device)).clamp(max=self.context - 1)
        causal = torch.ones(1, m, m, dtype=torch.bool, device=tokens.device).tril()
        states, keys, values = extend(self.trunk, self.tokens(tokens) + self.positions(at), cache, rows, causal)
        cache.commit(rows, keys, values, counts)
        return states

    def branches(self, cache: KeyValueCache, rows: Tensor, tokens: Tensor, depth: Tensor, ancestors: Tensor) -> Tensor:
        """States of trees of continuations behind ``rows``, which the cache does not keep.

        tokens, depth: ``(n, M)`` nodes and how deep they lie; ancestors: ``(n, M, M)`` bool, a node's own included.
        """
        at = (cache.lengths[rows][:, None] + depth).clamp(max=self.context - 1)
        return extend(self.trunk, self.tokens(tokens) + self.positions(at), cache, rows, ancestors)[0]
