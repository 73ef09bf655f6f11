"""Several schemes in one batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Generator

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskScheme, MaskSet
from maskbench.tokens.layout import TokenLayout


class Mixture(MaskScheme):
    """Draws a scheme and lets it draw the mask.

    schemes: by name.
    weights: by name, relative; None = equal.
    per:     ``row`` draws a scheme for every row of the batch, ``batch`` one for the whole batch, ``cycle`` takes them in
             turn by optimiser step (the original's multi-task training; weights do not apply).
    """

    def __init__(
        self,
        schemes: Mapping[str, MaskScheme],
        weights: Mapping[str, float] | None = None,
        per: Literal["row", "batch", "cycle"] = "row",
    ) -> None:
        if not schemes:
            raise ConfigError("a mixture needs at least one scheme")
        rules = {s.attend for s in schemes.values()}
        if len(rules) > 1:
            raise ConfigError(f"all schemes of a mixture must share one attention rule; found {sorted(rules)}")
        if weights is not None and (set(weights) != set(schemes) or min(weights.values()) < 0):
            raise ConfigError(f"weights must name every scheme of {sorted(schemes)} with a number >= 0; found {dict(weights)}")
        self.schemes, self.per = dict(schemes), per
        self.attend = rules.pop()
        self.returns = next((s.returns for s in schemes.values() if s.returns != "none"), "none")
        self.hides = any(s.hides for s in schemes.values())
        self.weights = torch.tensor([1.0 if weights is None else float(weights[n]) for n in schemes])

    def outputs(self, layout: TokenLayout) -> tuple[str, ...]:
        asked = {n for s in self.schemes.values() for n in s.outputs(layout)}
        return tuple(n for n in layout.spec.names if n in asked)

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        schemes = list(self.schemes.values())
        if self.per == "cycle":
            return schemes[step % len(schemes)].sample(generator, batch, layout, step)
        rows = batch if self.per == "row" else 1
        pick = torch.multinomial(self.weights.to(generator.device), rows, replacement=True, generator=generator)
        if self.per == "batch":
            return schemes[int(pick)].sample(generator, batch, layout, step)
        drawn = [s.sample(generator, batch, layout, step) for s in schemes]
        every = torch.arange(batch, device=generator.device)
        visible = torch.stack([m.visible for m in drawn])[pick, every]
        predict = torch.stack([m.predict for m in drawn])[pick, every]
        bounds = [m.max_visible for m in drawn]
        bound = max(b for b in bounds if b is not None) if all(b is not None for b in bounds) else None
        return MaskSet(visible, predict, self.attend, bound)
