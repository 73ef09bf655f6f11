"""What the trainer optimises for text: token sequences of whole episodes with a weight a token (TTM spec 6.1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import torch
from torch import Tensor, nn

from maskbench.masking.text import TextScheme, sequence
from maskbench.models.language import LanguageModel
from maskbench.text.encoding import Encoding
from maskbench.text.rollout import TextRollout
from maskbench.text.tokenizer import PAD


class TextSource(Protocol):
    """Episodes as a pure function of an index: stored ones in an order, or a stream without end."""

    def rollout(self, index: int) -> TextRollout: ...


@dataclass
class TextProblem:
    """Cross-entropy of the weighted tokens of whole episodes.

    schemes: what each sequence asks, one drawn per sequence with its weight.
    sources: training episodes and, for validation, fixed ones.
    """

    source: TextSource
    validation: Sequence[TextRollout]
    encoding: Encoding
    schemes: Sequence[tuple[float, TextScheme]]
    batch_size: int = 16
    seed: int = 0
    pool: int = 8
    data_seconds: float = 0.0
    _pool: tuple[int, list[tuple[list[int], list[float]]]] = field(default=(-1, []), repr=False)

    def losses(self, model: nn.Module, step: int, rank: int = 0) -> dict[str, Tensor]:
        started = time.perf_counter()
        tokens, weights = self.batch(step, rank)
        self.data_seconds += time.perf_counter() - started
        language = _language(model)
        device = language.tokens.weight.device
        return _loss(language, tokens.to(device), weights.to(device))

    def batch(self, step: int, rank: int = 0) -> tuple[Tensor, Tensor]:
        """``(B, N)`` ids padded on the right and ``(B, N)`` weights; batches of a pool share lengths, so little is padded."""
        pool, inside = divmod(step, self.pool)
        if self._pool[0] != pool:
            first = pool * self.pool * self.batch_size
            made = [self._sequence(first + i, rank) for i in range(self.pool * self.batch_size)]
            made.sort(key=lambda pair: len(pair[0]))
            batches = [made[i : i + self.batch_size] for i in range(0, len(made), self.batch_size)]
            Random(f"{self.seed}/{pool}").shuffle(batches)
            self._pool = (pool, [pair for batch in batches for pair in batch])
        return pad(
            self._pool[1][inside * self.batch_size : (inside + 1) * self.batch_size], self.encoding.tokenizer.specials[PAD]
        )

    def _sequence(self, index: int, rank: int) -> tuple[list[int], list[float]]:
        random = Random(f"{self.seed}/{rank}/{index}")
        (scheme,) = random.choices([s for _, s in self.schemes], [w for w, _ in self.schemes])
        return sequence(self.encoding, scheme, self.source.rollout(index * 1_000 + rank if rank else index), random)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Loss and probability per weighted token on the validation episodes, by the first scheme."""
        language = _language(model)
        device = language.tokens.weight.device
        made = [
            sequence(self.encoding, self.schemes[0][1], r, Random(f"validation/{i}")) for i, r in enumerate(self.validation)
        ]
        made.sort(key=lambda pair: len(pair[0]))
        totals = torch.zeros(3)
        for i in range(0, len(made), self.batch_size):
            tokens, weights = pad(made[i : i + self.batch_size], self.encoding.tokenizer.specials[PAD])
            found = _loss(language, tokens.to(device), (weights * (weights >= 1)).to(device))
            share = float((weights >= 1).sum())
            totals += torch.tensor([float(found["loss"]) * share, float(found["probability"]) * share, share])
        return {"loss": float(totals[0] / totals[2]), "probability": float(totals[1] / totals[2])}


def _language(model: nn.Module) -> LanguageModel:
    """The language model inside whatever the trainer wrapped around it."""
    return next(m for m in model.modules() if isinstance(m, LanguageModel))


def pad(made: Sequence[tuple[list[int], list[float]]], filler: int) -> tuple[Tensor, Tensor]:
    """Sequences as ``(B, N)`` ids and weights, padded on the right with ``filler`` of weight 0."""
    longest = max(len(ids) for ids, _ in made)
    tokens = torch.full((len(made), longest), filler)
    weights = torch.zeros(len(made), longest)
    for i, (ids, w) in enumerate(made):
        tokens[i, : len(ids)] = torch.tensor(ids)
        weights[i, : len(w)] = torch.tensor(w)
    return tokens, weights


def _loss(model: LanguageModel, tokens: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Weighted mean over the tokens that carry weight; only their logits are computed."""
    read, targets, weights = tokens[:, :-1], tokens[:, 1:], weights[:, 1:]
    states = model.states(read)
    most = int((weights > 0).sum(1).max())
    at = (weights > 0).float().argsort(dim=1, descending=True, stable=True)[:, :most]  # (B, A) positions that are asked
    asked, w = targets.gather(1, at), weights.gather(1, at)
    behind = states.gather(1, at[..., None].expand(-1, -1, states.shape[2]))
    visible = torch.arange(read.shape[1], device=read.device) <= at[..., None]
    logp = model.log_probs(behind, asked, model.remember(read, states), visible)
    heavy = (w >= 1).float()
    sure = (logp.exp() * heavy).sum() / heavy.sum().clamp(min=1.0)
    return {"loss": -(logp * w).sum() / w.sum().clamp(min=1e-9), "probability": sure.detach()}
