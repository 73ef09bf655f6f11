"""Random masks: BERT and uniMASK (independent cells), MaskDP (a fixed count of tokens), MTM (per modality, frontier)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskScheme, MaskSet, cells, choose, rand
from maskbench.tokens.layout import Attend, TokenLayout
from maskbench.trajectory import MODEL_ROLES

Per = Literal["batch", "row"]
Predict = Literal["hidden", "all"]


def _asked(visible: Tensor, predict: Predict) -> Tensor:
    return torch.ones_like(visible) if predict == "all" else ~visible


class BernoulliMask(MaskScheme):
    """Every state and action cell is hidden independently with probability ``p``; what is hidden is predicted.

    p: None draws it per row from U(0, 1) (uniMASK's random masking); a number is BERT's fixed rate.
    first_return: probability that the first return-to-go is visible; all other returns stay hidden and unasked.
    independent_parts: False masks the factors of a role together (uniMASK: one state mask for all state factors).
    attend: ``causal`` is GPT under random masks (the paper's open question): a hidden cell is predicted one token earlier,
            from the visible cells before it.
    """

    def __init__(
        self,
        p: float | None = None,
        first_return: float = 0.5,
        predict: Predict = "hidden",
        independent_parts: bool = False,
        attend: Attend = "bidirectional",
    ) -> None:
        if p is not None and not 0 < p < 1:
            raise ConfigError(f"mask probability p must lie inside (0, 1) or be null for U(0, 1); found {p}")
        self.p, self.first_return, self.predict, self.independent_parts = p, first_return, predict, independent_parts
        self.attend = attend
        self.returns = "none" if first_return == 0 else "first" if first_return == 1 else "first_half"

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        t = layout.length
        rate = rand(generator, batch, 1) if self.p is None else torch.full((batch, 1), self.p, device=generator.device)
        names = layout.spec.names if self.independent_parts else ("state", "action")
        shown = {name: rand(generator, batch, t) >= rate for name in names}
        first = torch.zeros(batch, t, dtype=torch.bool, device=generator.device)
        first[:, 0] = rand(generator, batch) < self.first_return
        for f in layout.spec.with_role("return"):
            shown[f.name] = first
        visible = cells(layout, shown, batch, generator.device)
        asked = _asked(visible, self.predict)
        for i in layout.columns("return"):
            asked[:, :, i] = False
        return MaskSet(visible, asked, self.attend)


class RatioMask(MaskScheme):
    """MaskDP: keep ``int(N * (1 - r))`` of the N tokens, uniformly over all positions, independently per row.

    ratios: masked fractions, one drawn per gradient step (``per='batch'``) or per row.
    predict: ``all`` = the paper's total loss, ``hidden`` = masked tokens only. Tokens are hidden whole.
    """

    def __init__(self, ratios: Sequence[float], per: Per = "batch", predict: Predict = "all") -> None:
        if not ratios or not all(0 < r < 1 for r in ratios):
            raise ConfigError(f"mask ratios must be a list of numbers inside (0, 1); found {list(ratios)}")
        self.ratios, self.per, self.predict = tuple(ratios), per, predict

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        n, device = layout.num_tokens, generator.device
        kept = [int(n * (1 - r)) for r in self.ratios]
        pick = choose(generator, len(kept), 1 if self.per == "batch" else batch)
        noise = rand(generator, batch, n)
        even = device.type == "cpu" and self.per == "batch"
        if even:  # reading the count costs nothing here, and saves a sort
            bound = kept[int(pick)]
            first = noise.topk(bound, dim=1, largest=False, sorted=False).indices
            tokens = torch.zeros(batch, n, dtype=torch.bool).scatter_(1, first, True)
        else:
            bound, order = max(kept), noise.argsort(1)
            rank = torch.empty_like(order).scatter_(1, order, torch.arange(n, device=device).expand(batch, n))
            tokens = rank < torch.tensor(kept, device=device)[pick].expand(batch)[:, None]
        visible = _tokens_to_cells(tokens, layout)
        return MaskSet(visible, _asked(visible, self.predict), max_visible=bound, even=even)


def _tokens_to_cells(tokens: Tensor, layout: TokenLayout) -> Tensor:
    """``(B, N)`` bool over tokens to ``(B, T, F)`` over the cells they hold."""
    b, s = tokens.shape[0], len(layout.streams)
    grid = tokens.view(b, layout.length, s) if layout.order == "time" else tokens.view(b, s, layout.length).transpose(1, 2)
    absent = torch.zeros(b, layout.length, dtype=torch.bool, device=tokens.device)
    return torch.stack([absent if o is None else grid[:, :, o] for o in layout.owners], 2)


class ModalityMask(MaskScheme):
    """MTM's RANDOM: per modality independently, ``int(T * v)`` timesteps are visible, v drawn from ``visible``.

    per: ``batch`` shares one mask between all rows, as MTM does; ``row`` (lower gradient variance) draws one each.
    """

    def __init__(self, visible: Sequence[float], per: Per = "row", predict: Predict = "all") -> None:
        if not visible or not all(0 < v <= 1 for v in visible):
            raise ConfigError(f"visible fractions must lie inside (0, 1]; found {list(visible)}")
        self.visible, self.per, self.predict = tuple(visible), per, predict

    def shown(self, generator: Generator, batch: int, layout: TokenLayout) -> Tensor:
        """``(B, T, F)`` bool, every factor a modality of its own."""
        t, f = layout.length, len(layout.spec)
        rows = 1 if self.per == "batch" else batch
        kept = torch.tensor([int(t * v) for v in self.visible], device=generator.device)
        count = kept[choose(generator, len(kept), rows * f)].view(rows, 1, f)
        rank = rand(generator, rows, t, f).argsort(1).argsort(1)
        return (rank < count).expand(batch, t, f).clone()

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        visible = self.shown(generator, batch, layout)
        return MaskSet(visible, _asked(visible, self.predict))


class FrontierMask(ModalityMask):
    """MTM's AUTO_MASK: a random modality mask, then everything beyond a causal frontier is hidden.

    A frontier role is drawn from ``frontier`` and a time ``u`` from U{0..T-1}; in the order state, return, action, roles
    before the frontier role are hidden for ``t > u``, the frontier role and those after it for ``t >= u`` (MTM spec 6.2).
    """

    order: tuple[str, ...] = ("state", "return", "action")

    def __init__(
        self, visible: Sequence[float], frontier: Mapping[str, float], per: Per = "row", predict: Predict = "all"
    ) -> None:
        super().__init__(visible, per, predict)
        unknown = set(frontier) - set(MODEL_ROLES)
        if unknown or not frontier or sum(frontier.values()) <= 0:
            raise ConfigError(f"frontier needs positive weights for roles among {list(self.order)}; found {dict(frontier)}")
        self.frontier = dict(frontier)

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        shown = self.shown(generator, batch, layout)
        rows, device = 1 if self.per == "batch" else batch, generator.device
        present = [r for r in self.order if r in self.frontier and layout.columns(r)]
        weights = torch.tensor([self.frontier[r] for r in present], device=device)
        pick = torch.multinomial(weights, rows, replacement=True, generator=generator)
        place = torch.tensor([self.order.index(r) for r in present], device=device)[pick][:, None]
        u = choose(generator, layout.length, rows)[:, None]
        t = torch.arange(layout.length, device=device)[None]
        before = {r: torch.where(place > i, t <= u, t < u) for i, r in enumerate(self.order)}
        visible = shown & cells(layout, before, batch, device)
        return MaskSet(visible, _asked(visible, self.predict))
