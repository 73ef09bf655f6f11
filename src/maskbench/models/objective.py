"""From the loss of each predicted cell to one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from maskbench.masking.scheme import MaskSet
from maskbench.models.sequence import SequenceModel, unwrap
from maskbench.trajectory import Window


class Objective:
    """Loss over the cells that a mask asks for.

    weights:   per factor name or role, 1 where not named; 0 leaves a factor out (uniMASK's return-to-go).
    reduction: ``factor`` averages over the predicted cells of each factor, then sums over factors (uniMASK 2.4; MaskDP's
               total loss); parts of a split factor count as one factor, weighted by width. ``pooled`` averages over all
               predicted cells of all factors at once (MaskDP's masked loss).
    """

    def __init__(self, weights: Mapping[str, float] | None = None, reduction: Literal["factor", "pooled"] = "factor") -> None:
        self.weights, self.reduction = dict(weights or {}), reduction

    def weight(self, model: SequenceModel, name: str) -> float:
        """Weight of a factor: by its name, that of the factor it was split from, or its role."""
        f = model.layout.spec[name]
        return next((self.weights[k] for k in (f.name, f.parent, f.role) if k in self.weights), 1.0)

    def cells(self, wrapped: nn.Module, window: Window, masks: MaskSet) -> tuple[dict[str, dict[str, Tensor]], Tensor]:
        """Loss terms ``(B, T)`` per factor and term, and the cells ``(B, T, F)`` bool that they count for. Where no row asks
        for more than one timestep, as most named tasks do, T = 1: that timestep alone is computed.

        wrapped: a sequence model, bare or inside the wrappers of Fabric, DDP or compile, through which it is called.
        """
        model = unwrap(wrapped)
        layout = model.layout.with_length(window.length)
        masks = masks.within(window)
        asked = masks.predict & model.readable(layout, masks.attend).to(masks.predict.device)
        names = [n for n in model.outputs if self.weight(model, n) != 0]
        at = _only_timestep(asked)
        params = wrapped(window, masks, only=names, at=at)
        values = window.values if at is None else {n: _take(window.values[n], at) for n in names}
        terms = {n: model.head(n).losses(params[n], values[n]) for n in names}
        return terms, asked if at is None else _take(asked, at)

    def __call__(self, wrapped: nn.Module, window: Window, masks: MaskSet) -> dict[str, Tensor]:
        """``loss`` (differentiable), and per factor the detached value of every term under ``<factor>/<term>``."""
        return self.reduce(unwrap(wrapped), *self.cells(wrapped, window, masks))

    def reduce(self, model: SequenceModel, terms: Mapping[str, Mapping[str, Tensor]], asked: Tensor) -> dict[str, Tensor]:
        """What ``__call__`` returns, from the result of ``cells``. Dimensions before ``B`` stay: batches that are apart."""
        total: dict[str, Tensor] = {}  # parent factor -> summed loss
        count: dict[str, Tensor] = {}
        weight: dict[str, float] = {}
        logs: dict[str, Tensor] = {}
        for name, parts in terms.items():
            factor = model.layout.spec[name]
            cells = asked[..., model.layout.column(name)]
            width = factor.width if factor.parent != factor.name else 1
            summed = torch.stack([torch.where(cells, v, 0.0).sum((-2, -1)) for v in parts.values()])
            number = cells.sum((-2, -1))
            for term, value in zip(parts, summed.detach(), strict=True):
                logs[f"{name}/{term}"] = value / number.clamp(min=1)
            total[factor.parent] = total.get(factor.parent, 0.0) + width * summed.sum(0)
            count[factor.parent] = count.get(factor.parent, 0) + width * number
            weight[factor.parent] = self.weight(model, name)
        if self.reduction == "pooled":
            pooled = torch.stack([weight[k] * total[k] for k in total]).sum(0)
            loss = pooled / torch.stack([count[k] for k in count]).sum(0).clamp(min=1)
        else:
            loss = torch.stack([weight[k] * total[k] / count[k].clamp(min=1) for k in total]).sum(0)
        return {"loss": loss, **logs}


def _only_timestep(asked: Tensor) -> Tensor | None:
    """The timestep ``(B,)`` of cells ``(B, T, F)``, 0 where a row has none; None where some row has several, and on devices
    that would have to be waited for."""
    if asked.device.type != "cpu" or asked.dim() != 3:
        return None
    timesteps = asked.any(-1)
    return timesteps.int().argmax(-1) if int(timesteps.sum(-1).max()) <= 1 else None


def _take(x: Tensor, at: Tensor) -> Tensor:
    """``(B, T, ...)`` at ``(B,)`` -> ``(B, 1, ...)``."""
    return x[torch.arange(len(at)), at][:, None]
