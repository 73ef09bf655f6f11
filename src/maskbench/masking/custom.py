"""A mask written out by hand: the way to ask one exact question (uniMASK's CustomPred)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskScheme, MaskSet, cells
from maskbench.tokens.layout import TokenLayout


class CustomMask(MaskScheme):
    """The same 0/1 vectors of length K for every row.

    visible: per role, factor or part, which timesteps are shown; what is not named is hidden.
    predict: likewise; None asks for the complement of ``visible`` (returns excepted).
    """

    def __init__(self, visible: Mapping[str, Sequence[int]], predict: Mapping[str, Sequence[int]] | None = None) -> None:
        self.visible, self.predict = dict(visible), None if predict is None else dict(predict)

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        shown = cells(layout, self._rules(self.visible, layout), batch, generator.device)
        if self.predict is not None:
            return MaskSet(shown, cells(layout, self._rules(self.predict, layout), batch, generator.device))
        asked = ~shown
        for i in layout.columns("return"):
            asked[:, :, i] = False
        return MaskSet(shown, asked)

    @staticmethod
    def _rules(rows: Mapping[str, Sequence[int]], layout: TokenLayout) -> dict[str, Tensor]:
        for name, row in rows.items():
            if len(row) != layout.length or not set(row) <= {0, 1}:
                raise ConfigError(f"custom mask '{name}' must hold {layout.length} zeros and ones; found {list(row)}")
            if not layout.columns(name):
                raise ConfigError(f"custom mask names '{name}', which is no role or factor of {list(layout.spec.names)}")
        return {name: torch.tensor(row, dtype=torch.bool) for name, row in rows.items()}
