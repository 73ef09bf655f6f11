"""Everything visible, each cell predicted from what precedes it: GPT, Decision Transformer, BeT."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator

from maskbench.masking.returns import shown_returns
from maskbench.masking.scheme import MaskScheme, MaskSet, Returns, cells
from maskbench.tokens.layout import TokenLayout


class CausalMask(MaskScheme):
    """All cells of all timesteps, causal attention.

    predict: roles or factors that enter the loss.
    returns: ``none`` hides every return-to-go, ``all`` shows every one (Decision Transformer), ``first`` only that of the
             window's first row (Decision-GPT); ``all_half`` and ``first_half`` do so with probability 1/2 per row, so that
             the model answers both ``bc`` and ``return``.
    """

    attend = "causal"
    hides = False

    def __init__(self, predict: Sequence[str] = ("action",), returns: Returns = "first_half") -> None:
        self.predict, self.returns = tuple(predict), returns

    def outputs(self, layout: TokenLayout) -> tuple[str, ...]:
        asked = {c for p in self.predict for c in layout.columns(p)}
        return tuple(n for i, n in enumerate(layout.spec.names) if i in asked)

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        device = generator.device
        always = torch.ones(batch, layout.length, dtype=torch.bool, device=device)
        shown = shown_returns(self.returns, generator, batch, layout.length)
        visible = cells(layout, {"state": always, "goal": always, "action": always, "return": shown}, batch, device)
        return MaskSet(visible, cells(layout, {p: always for p in self.predict}, batch, device), attend="causal")
