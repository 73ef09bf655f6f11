"""Spans: hide a contiguous piece and predict it (uniMASK's SpanPred, of which past and future are special cases)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskScheme, MaskSet, cells
from maskbench.tokens.layout import Attend, TokenLayout


class SpanMask(MaskScheme):
    """Hides states in ``[lo, hi)`` and actions in ``[max(lo - 1, 0), hi)``; predicts what it hides; returns stay hidden.

    limits: a fixed ``(lo, hi)``; None spreads all spans ``0 <= lo <= hi <= K`` evenly over the batch.
    attend: ``causal`` predicts each hidden cell from the visible ones before it.
    """

    def __init__(self, limits: Sequence[int] | None = None, attend: Attend = "bidirectional") -> None:
        if limits is not None and not (len(limits) == 2 and 0 <= limits[0] <= limits[1]):
            raise ConfigError(f"span limits must be [lo, hi] with 0 <= lo <= hi; found {list(limits)}")
        self.attend = attend
        self.limits = None if limits is None else (int(limits[0]), int(limits[1]))

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        k, device = layout.length, generator.device
        spans = [(lo, hi) for lo in range(k + 1) for hi in range(lo, k + 1)] if self.limits is None else [self.limits]
        if spans[-1][1] > k:
            raise ConfigError(f"span {spans[-1]} ends beyond the window of {k} timesteps")
        pick = torch.randperm(batch, generator=generator, device=device) % len(spans)
        lo, hi = torch.tensor(spans, device=device)[pick].T[:, :, None]
        t = torch.arange(k, device=device)[None]
        hidden = {"state": (t >= lo) & (t < hi), "action": (t >= (lo - 1).clamp(min=0)) & (t < hi)}
        shown = {role: ~h for role, h in hidden.items()}
        return MaskSet(cells(layout, shown, batch, device), cells(layout, hidden, batch, device), self.attend)
