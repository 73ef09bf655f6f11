"""Blocks: runs of neighbouring tokens are hidden together (CurrMask; MaskDP spec 5.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator

from maskbench.errors import ConfigError
from maskbench.masking.random import Per, Predict, to_predict, tokens_to_cells
from maskbench.masking.scheme import MaskScheme, MaskSet, choose, rand
from maskbench.tokens.layout import TokenLayout


class BlockMask(MaskScheme):
    """Hides ``N - int(N * (1 - r))`` of the N tokens in runs of ``b`` tokens that begin at multiples of ``b``, the whole grid
    shifted at random; the last run may be cut so that the count is exact.

    blocks: run lengths, one drawn per gradient step (``per='batch'``) or per row, like a ratio of ``ratios``. A length of 1 is
            ``RatioMask``.
    predict: ``all`` = the total loss, ``hidden`` = masked tokens only.
    """

    def __init__(self, blocks: Sequence[int], ratios: Sequence[float], per: Per = "batch", predict: Predict = "all") -> None:
        if not blocks or min(blocks) < 1:
            raise ConfigError(f"blocks must be a list of lengths of at least 1; found {list(blocks)}")
        if not ratios or not all(0 < r < 1 for r in ratios):
            raise ConfigError(f"mask ratios must be a list of numbers inside (0, 1); found {list(ratios)}")
        self.blocks, self.ratios, self.per, self.predict = tuple(blocks), tuple(ratios), per, predict

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        n, device = layout.num_tokens, generator.device
        rows = 1 if self.per == "batch" else batch
        kept = torch.tensor([int(n * (1 - r)) for r in self.ratios], device=device)
        keep = kept[choose(generator, len(self.ratios), rows)].expand(batch)[:, None]
        size = torch.tensor(self.blocks, device=device)[choose(generator, len(self.blocks), rows)].expand(batch)[:, None]
        place = torch.arange(n, device=device)
        shift = (rand(generator, batch, 1) * size).long()
        block = (place + shift) // size  # (B, N): the run that holds each token
        turn = rand(generator, batch, n + 1).double().gather(1, block)  # runs come in random order, their tokens together
        rank = (turn + place * 1e-12).argsort(1).argsort(1)
        visible = tokens_to_cells(rank < keep, layout)
        return MaskSet(visible, to_predict(visible, self.predict), max_visible=int(kept.max()))
