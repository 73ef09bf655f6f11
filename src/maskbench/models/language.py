"""The causal language model of text trajectories: learned positions, tied embeddings, the trunk of all models here.

Two parts beyond GPT's serve copying, which games with new names in every episode ask for: each token also sees the few before
it (so one attention step finds "what the recipe asks to be done with this food", whose line reads ``roast the @12``), and a
pointer mixes the vocabulary's distribution with one over the tokens read so far (pointer-generator, arXiv:1704.04368).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.models.cache import KeyValueCache, extend
from maskbench.models.dropout import Dropout
from maskbench.models.products import linear
from maskbench.models.transformer import Activation, Transformer, initialise

#: n_layer, n_head, n_embd of TTM spec 6.2.
PRESETS = {"xs": (2, 4, 64), "s": (4, 4, 128), "m": (6, 8, 256)}


class LanguageModel(nn.Module):
    """Pre-norm decoder (TTM spec 6.2).

    context: most tokens that it can read.
    copying: adds the two parts above; False is plain GPT, of the parameter counts of the specification.
    lookback: how many tokens before it each token sees, with ``copying``.
    activation: of the MLPs; ``gelu_tanh`` is GPT-2's.
    path:    folder of GPT-2 weights to start from (``maskbench.models.gpt2``); None = random ones.
    """

    def __init__(
        self,
        vocab_size: int,
        n_layer: int = 4,
        n_head: int = 4,
        n_embd: int = 128,
        context: int = 768,
        dropout: float = 0.1,
        copying: bool = True,
        lookback: int = 1,
        activation: Activation = "gelu",
        path: str | None = None,
    ) -> None:
        super().__init__()
        if lookback < 1:
            raise ConfigError(f"a token sees at least the one before it; found lookback={lookback}: use copying=false for none")
        self.context, self.vocab_size, self.copying, self.lookback = context, vocab_size, copying, lookback
        self.tokens = nn.Embedding(vocab_size, n_embd)
        self.positions = nn.Embedding(context, n_embd)
        self.drop = Dropout(dropout)
        self.trunk = Transformer(n_layer, n_head, n_embd, dropout=dropout, activation=activation)
        self.previous = nn.Linear(lookback * n_embd, n_embd, bias=False) if copying else None
        self.pointer = nn.Linear(n_embd, 2 * n_embd + 1) if copying else None  # query, key, gate
        initialise(self, "normal")
        nn.init.normal_(self.tokens.weight, 0.0, 0.02)
        nn.init.normal_(self.positions.weight, 0.0, 0.02)
        if self.previous is not None:
            for lag in self.previous.weight.split(n_embd, 1):
                nn.init.orthogonal_(lag)
        if path is not None:
            from maskbench.models.gpt2 import load_gpt2

            load_gpt2(self, Path(path))

    def embed(self, tokens: Tensor, before: Tensor, at: Tensor) -> Tensor:
        """``(n, M)`` ids, the ``(n, M, lookback)`` ids before them (nearest first, -1 = none) and their positions, to
        ``(n, M, D)``."""
        x = self.tokens(tokens) + self.positions(at)
        if self.previous is not None:
            seen = self.tokens(before.clamp(min=0)) * (before >= 0)[..., None]  # (n, M, lookback, D)
            x = x + linear(self.previous, seen.flatten(2))
        return x

    def before(self, tokens: Tensor, earlier: Tensor) -> Tensor:
        """The ``(n, M, lookback)`` ids before each of ``tokens`` ``(n, M)``, nearest first; ``earlier`` ``(n, lookback)`` are
        those before the first, nearest first."""
        line = torch.cat([earlier.flip(1), tokens[:, :-1]], 1)
        return line.unfold(1, self.lookback, 1).flip(2)

    def states(self, tokens: Tensor) -> Tensor:
        """``(B, N)`` ids, padded on the right, to states ``(B, N, D)``. Raises ConfigError beyond the context."""
        if tokens.shape[1] > self.context:
            raise ConfigError(f"the model reads {self.context} tokens; found {tokens.shape[1]}: raise model.context")
        at = torch.arange(tokens.shape[1], device=tokens.device)
        before = self.before(tokens, tokens.new_full((len(tokens), self.lookback), -1))
        return self.trunk(self.drop(self.embed(tokens, before, at)), causal=True)

    def log_probs(self, states: Tensor, asked: Tensor, memory: Memory, visible: Tensor) -> Tensor:
        """Log-probabilities of tokens ``asked`` ``(n, M)`` behind ``states`` ``(n, M, D)``; ``(n, M)``.

        memory: tokens that may be copied; visible: ``(n or 1, M, L)`` bool, which of them at each state.
        """
        wanted = F.linear(states, self.tokens.weight).float().log_softmax(-1).gather(-1, asked[..., None])[..., 0]
        if self.pointer is None:
            return wanted
        share, gate = self._point(states, memory, visible)
        copied = (share * (memory.ids[:, None] == asked[..., None])).sum(-1)
        return torch.logaddexp(wanted + F.logsigmoid(-gate), copied.clamp(min=1e-9).log() + F.logsigmoid(gate))

    def next_log_probs(self, states: Tensor, memory: Memory, visible: Tensor) -> Tensor:
        """Log-probabilities of every token behind ``states`` ``(n, D)``; ``(n, V)``. ``visible`` ``(n, L)``."""
        whole = F.linear(states, self.tokens.weight).float().log_softmax(-1)
        if self.pointer is None:
            return whole
        share, gate = self._point(states[:, None], memory, visible[:, None])
        copied = torch.zeros_like(whole).scatter_add_(1, memory.ids, share[:, 0])
        return torch.logaddexp(whole + F.logsigmoid(-gate), copied.clamp(min=1e-9).log() + F.logsigmoid(gate))

    def _point(self, states: Tensor, memory: Memory, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Where to copy from ``(n, M, L)``, and the logit of copying at all ``(n, M)``."""
        d = states.shape[-1]
        assert self.pointer is not None
        query = F.linear(states, self.pointer.weight[:d], self.pointer.bias[:d])
        gate = F.linear(states, self.pointer.weight[2 * d :], self.pointer.bias[2 * d :])[..., 0].float()
        scores = (query @ memory.keys.mT).float() * d**-0.5
        return scores.masked_fill(~visible, -1e9).softmax(-1), gate

    def remember(self, tokens: Tensor, states: Tensor) -> Memory:
        """Tokens ``(n, L)`` as the pointer finds them."""
        if self.pointer is None:
            return Memory(tokens, states[..., :0])
        d = states.shape[-1]
        return Memory(tokens, F.linear(states, self.pointer.weight[d : 2 * d], self.pointer.bias[d : 2 * d]))


class Memory:
    """Tokens that may be copied: ``ids`` ``(n, L)`` and ``keys`` ``(n, L, D)``."""

    def __init__(self, ids: Tensor, keys: Tensor) -> None:
        self.ids, self.keys = ids, keys

    def joined(self, other: Memory) -> Memory:
        return Memory(torch.cat([self.ids, other.ids], 1), torch.cat([self.keys, other.keys], 1))


class Reading:
    """What a model has read in each of any number of rows, so that only new tokens are computed."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model.eval()
        self.cache = KeyValueCache.for_trunk(model.trunk, 0)
        weight = model.tokens.weight
        width = weight.shape[1]
        self.memory = Memory(
            torch.zeros(0, 0, dtype=torch.int64, device=weight.device),
            torch.zeros(0, 0, width if model.copying else 0, device=weight.device),
        )
        self.last = torch.zeros(0, width, device=weight.device)

    @property
    def lengths(self) -> Tensor:
        """``(B,)`` tokens read."""
        return self.cache.lengths

    def grow(self, rows: int) -> None:
        """Room for ``rows`` more sequences."""
        self.cache.grow(rows)
        self.memory = Memory(F.pad(self.memory.ids, (0, 0, 0, rows)), F.pad(self.memory.keys, (0, 0, 0, 0, 0, rows)))
        self.last = F.pad(self.last, (0, 0, 0, rows))

    def clear(self, row: int) -> None:
        self.cache.lengths[row] = 0

    def rewind(self, lengths: Tensor, last: Tensor) -> None:
        """Forgets what came after ``lengths`` ``(B,)``; ``last`` ``(B, D)`` are the states of the newest tokens then."""
        self.cache.lengths, self.last = lengths.clone(), last.clone()

    @torch.no_grad()
    def read(self, rows: Tensor, tokens: Tensor, counts: Tensor) -> Tensor:
        """Reads the first ``counts`` ``(n,)`` of ``tokens`` ``(n, M)``; log-probability that each had, ``(n, M)``; the first
        token of a text has none (0)."""
        n, m = tokens.shape
        starts = self.lengths[rows]
        column = torch.arange(m, device=tokens.device)
        at = (starts[:, None] + column).clamp(max=self.model.context - 1)
        before = self.model.before(tokens, self._newest(rows))
        causal = torch.ones(1, m, m, dtype=torch.bool, device=tokens.device).tril()
        states, keys, values = extend(self.model.trunk, self.model.embed(tokens, before, at), self.cache, rows, causal)
        new = self.model.remember(tokens, states)
        shifted = torch.cat([self.last[rows][:, None], states[:, :-1]], 1)
        seen = self._past(rows, m)
        visible = torch.cat([seen, (causal & ~torch.eye(m, dtype=torch.bool, device=tokens.device)).expand(n, m, m)], 2)
        logp = self.model.log_probs(shifted, tokens, self._known(rows).joined(new), visible)
        logp[:, 0] = torch.where(starts > 0, logp[:, 0], torch.zeros_like(logp[:, 0]))
        self.cache.commit(rows, keys, values, counts)
        self._store(rows, new, starts, counts)
        self.last[rows] = states.gather(1, (counts - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
        return logp

    @torch.no_grad()
    def next(self, rows: Tensor) -> Tensor:
        """Log-probabilities of the next token, ``(n, V)``."""
        return self.model.next_log_probs(self.last[rows], self._known(rows), self._past(rows, 1)[:, 0])

    @torch.no_grad()
    def branches(self, rows: Tensor, tokens: Tensor, parents: Tensor, depth: Tensor, ancestors: Tensor) -> Tensor:
        """Log-probabilities ``(n, M)`` of the nodes of trees of continuations, which are not kept.

        tokens, parents, depth: ``(n, M)``; a parent of -1 is the text itself. ancestors: ``(n, M, M)`` bool, own included.
        """
        m = tokens.shape[1]
        at = (self.lengths[rows][:, None] + depth).clamp(max=self.model.context - 1)
        index = parents.clamp(min=0)
        before = self._before(rows, tokens, parents, depth)
        states, _, _ = extend(self.model.trunk, self.model.embed(tokens, before, at), self.cache, rows, ancestors)
        known = self._known(rows).joined(self.model.remember(tokens, states))
        wide = index[..., None].expand(-1, -1, states.shape[2])
        behind = torch.where((parents >= 0)[..., None], states.gather(1, wide), self.last[rows][:, None])
        strict = ancestors & ~torch.eye(m, dtype=torch.bool, device=tokens.device)
        return self.model.log_probs(behind, tokens, known, torch.cat([self._past(rows, m), strict], 2))

    def _newest(self, rows: Tensor) -> Tensor:
        """Ids of the newest tokens, ``(n, lookback)``, the last one first; -1 where nothing was read."""
        at = self.lengths[rows][:, None] - 1 - torch.arange(self.model.lookback, device=self.last.device)
        if self.memory.ids.shape[1] == 0:
            return torch.full_like(at, -1)
        return torch.where(at >= 0, self.memory.ids[rows].gather(1, at.clamp(min=0)), torch.full_like(at, -1))

    def _before(self, rows: Tensor, tokens: Tensor, parents: Tensor, depth: Tensor) -> Tensor:
        """``(n, M, lookback)`` ids before each node of a tree: its ancestors, nearest first, then the newest of the text."""
        newest, above, found = self._newest(rows), parents, []
        for lag in range(self.model.lookback):
            in_text = newest.gather(1, (lag - depth).clamp(min=0))
            found.append(torch.where(above >= 0, tokens.gather(1, above.clamp(min=0)), in_text))
            above = torch.where(above >= 0, parents.gather(1, above.clamp(min=0)), above)
        return torch.stack(found, 2)

    def _longest(self, rows: Tensor) -> int:
        return int(self.lengths[rows].max()) if len(rows) else 0

    def _known(self, rows: Tensor) -> Memory:
        longest = self._longest(rows)
        return Memory(self.memory.ids[rows, :longest], self.memory.keys[rows, :longest])

    def _past(self, rows: Tensor, m: int) -> Tensor:
        """``(n, m, L)``: what was read before is visible."""
        longest = self._longest(rows)
        past = torch.arange(longest, device=self.last.device) < self.lengths[rows][:, None]
        return past[:, None].expand(-1, m, -1)

    def _store(self, rows: Tensor, new: Memory, starts: Tensor, counts: Tensor) -> None:
        need = int((starts + counts).max())
        held = self.memory.ids.shape[1]
        if need > held:
            more = max(need, 2 * held, 64) - held
            self.memory = Memory(F.pad(self.memory.ids, (0, more)), F.pad(self.memory.keys, (0, 0, 0, more)))
        row, column = (torch.arange(new.ids.shape[1], device=counts.device) < counts[:, None]).nonzero(as_tuple=True)
        self.memory.ids[rows[row], starts[row] + column] = new.ids[row, column]
        self.memory.keys[rows[row], starts[row] + column] = new.keys[row, column]
