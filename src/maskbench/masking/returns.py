"""Which returns-to-go are visible, whatever else a scheme does (uniMASK's RTG modes)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from maskbench.errors import ConfigError, did_you_mean
from maskbench.masking.scheme import MaskScheme, MaskSet, Returns, rand
from maskbench.tokens.layout import TokenLayout

Mode = Literal[Returns, "keep_half"]

#: What rows of a scheme show after half of them were wiped.
_HALVED: dict[Returns, Returns] = {"first": "first_half", "all": "all_half"}


def shown_returns(mode: Returns, generator: Generator, batch: int, length: int) -> Tensor:
    """``(B, T)`` bool: the visible returns-to-go."""
    shown = torch.zeros(batch, length, dtype=torch.bool, device=generator.device)
    if mode == "none":
        return shown
    rows: Tensor | bool = rand(generator, batch)[:, None] < 0.5 if mode.endswith("_half") else True
    shown[:, : 1 if mode.startswith("first") else length] = rows
    return shown


class WithReturns(MaskScheme):
    """Another scheme, but for its returns-to-go. What the mode shows is not asked for.

    ==============  ============================  ===========================================
    mode            visible returns-to-go         name in the original (uniMASK spec 2.2)
    ==============  ============================  ===========================================
    ``none``        none                          BC
    ``all``         every one                     RC_fixed
    ``first``       that of the first timestep    RC_fixed_first
    ``all_half``    every one in half the rows    BCRC_uniform_all
    ``first_half``  the first in half the rows    BCRC_uniform_first
    ``keep_half``   the scheme's in half the rows BCRC_uniform_only_zeros
    ==============  ============================  ===========================================
    """

    def __init__(self, scheme: MaskScheme, mode: Mode) -> None:
        valid = (*get_args(Returns), "keep_half")
        if mode not in valid:
            raise ConfigError(f"no way to show returns is called '{mode}'. {did_you_mean(mode, valid)}")
        self.scheme, self.mode = scheme, mode
        self.attend, self.hides = scheme.attend, scheme.hides
        self.returns = _HALVED.get(scheme.returns, scheme.returns) if mode == "keep_half" else mode

    def outputs(self, layout: TokenLayout) -> tuple[str, ...]:
        return self.scheme.outputs(layout)

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        masks = self.scheme.sample(generator, batch, layout, step)
        columns = list(layout.columns("return"))
        if not columns:
            return masks
        visible, predict = masks.visible.clone(), masks.predict.clone()
        if self.mode == "keep_half":
            visible[:, :, columns] &= rand(generator, batch)[:, None, None] < 0.5
        else:
            visible[:, :, columns] = shown_returns(self.mode, generator, batch, layout.length)[..., None]
        predict[:, :, columns] &= ~visible[:, :, columns]
        bound = masks.max_visible
        if bound is not None and self.mode not in ("none", "keep_half"):
            streams = {layout.owners[c] for c in columns} - {None}
            bound = min(layout.num_tokens, bound + layout.length * len(streams))
        return replace(masks, visible=visible, predict=predict, max_visible=bound, even=False)
