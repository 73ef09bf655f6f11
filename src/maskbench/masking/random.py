"""Random masks: BERT and uniMASK (independent cells), MaskDP (a fixed count of tokens), MTM (per modality, frontier)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskScheme, MaskSet, Returns, cells, choose, rand
from maskbench.tokens.layout import Attend, TokenLayout
from maskbench.trajectory import MODEL_ROLES

Per = Literal["batch", "row"]
Predict = Literal["hidden", "all"]


def to_predict(visible: Tensor, predict: Predict) -> Tensor:
    """Cells to predict, given those that are visible."""
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
        asked = to_predict(visible, self.predict)
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
        visible = tokens_to_cells(tokens, layout)
        return MaskSet(visible, to_predict(visible, self.predict), max_visible=bound, even=even)


def tokens_to_cells(tokens: Tensor, layout: TokenLayout) -> Tensor:
    """``(B, N)`` bool over tokens to ``(B, T, F)`` over the cells they hold."""
    b, s = tokens.shape[0], len(layout.streams)
    grid = tokens.view(b, layout.length, s) if layout.order == "time" else tokens.view(b, s, layout.length).transpose(1, 2)
    absent = torch.zeros(b, layout.length, dtype=torch.bool, device=tokens.device)
    return torch.stack([absent if o is None else grid[:, :, o] for o in layout.owners], 2)


class ModalityMask(MaskScheme):
    """MTM's RANDOM: per modality independently, ``int(T * v)`` timesteps are visible, v drawn from ``visible``.

    A modality is a factor; the parts of a split factor are its tokens, hidden together.

    per: ``batch`` shares one mask between all rows, as MTM does; ``row`` (lower gradient variance) draws one each.
    """

    returns: Returns = "all"
    #: Whether the parts of a split factor are drawn apart.
    per_token = False

    def __init__(self, visible: Sequence[float], per: Per = "row", predict: Predict = "all") -> None:
        if not visible or not all(0 < v <= 1 for v in visible):
            raise ConfigError(f"visible fractions must lie inside (0, 1]; found {list(visible)}")
        self.visible, self.per, self.predict = tuple(visible), per, predict

    def shown(self, generator: Generator, batch: int, layout: TokenLayout) -> Tensor:
        """``(B, T, F)`` bool: per modality, cells of which ``int(n * v)`` are visible, uniformly over all ``n``."""
        t, device = layout.length, generator.device
        parents = [f.parent for f in layout.spec]
        modalities = list(dict.fromkeys(parents))
        rows, m = 1 if self.per == "batch" else batch, len(modalities)
        place = [parents[:i].count(p) if self.per_token else 0 for i, p in enumerate(parents)]  # token inside its modality
        sizes = [parents.count(p) if self.per_token else 1 for p in modalities]
        kept = torch.tensor([[int(t * n * v) for n in sizes] for v in self.visible], device=device)
        count = kept[choose(generator, len(kept), rows * m).view(rows, m), torch.arange(m, device=device)]
        noise = rand(generator, rows, t, max(sizes), m)
        beyond = torch.arange(max(sizes), device=device)[:, None] >= torch.tensor(sizes, device=device)
        rank = noise.masked_fill(beyond, 2.0).flatten(1, 2).argsort(1).argsort(1)  # tokens that are not there come last
        grid = (rank < count[:, None]).view(rows, t, max(sizes), m)
        return grid[:, :, place, [modalities.index(p) for p in parents]].expand(batch, -1, -1).clone()

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        visible = self.shown(generator, batch, layout)
        return MaskSet(visible, to_predict(visible, self.predict))


#: MTM's visible fractions of FULL_RANDOM: ``cos(pi * linspace(.15, .9, 30)) / 2 + .5``, from 0.95 down to 0.02.
COSINE_FRACTIONS = tuple(math.cos(math.pi * (0.15 + 0.75 * i / 29)) / 2 + 0.5 for i in range(30))


class TokenMask(ModalityMask):
    """MTM's FULL_RANDOM: per modality, ``int(n * v)`` of its ``n`` tokens are visible, wherever they lie.

    visible: fractions; the published cosine ratios by default. A factor is one token a timestep unless it is split.
    """

    per_token = True

    def __init__(self, visible: Sequence[float] | None = None, per: Per = "row", predict: Predict = "all") -> None:
        super().__init__(COSINE_FRACTIONS if visible is None else visible, per, predict)


class FrontierMask(ModalityMask):
    """MTM's AUTO_MASK: a random mask of each modality's tokens, then everything beyond a causal frontier is hidden.

    A frontier role is drawn from ``frontier`` and a time ``u`` from U{0..T-1}; in the order state, return, action, roles
    before the frontier role are hidden for ``t > u``, the frontier role and those after it for ``t >= u`` (MTM spec 6.2).
    """

    per_token = True
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
        return MaskSet(visible, to_predict(visible, self.predict))
