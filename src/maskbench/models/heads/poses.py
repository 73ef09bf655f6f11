"""Poses as one class an axis (VIMA spec 2.4, 2.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.models.heads.base import Head
from maskbench.models.heads.sampling import PLAIN, Sampling, draw_class
from maskbench.tokens.poses import PoseCodec, Rotation, Rule
from maskbench.trajectory import Factor

_GREEDY = Sampling(greedy=True)


@dataclass(frozen=True)
class PosesOptions:
    """How poses become classes (``tokens.poses.PoseCodec``), and how they are predicted.

    hidden:    width of the perceptrons (published: 512).
    reduction: ``parts`` adds up the mean cross-entropies of the four poses (VIMA); ``axes`` averages over all axes (CoGeLoT).
    smooth:    deviation in bins of the target around its class, so that near classes learn from each other; 0 as published.
               Losses are then compared with a prediction that is as wide: their least is zero.
    axes:      ``independent`` given the state, as published: the likeliest x may belong to another object than the likeliest
               y. ``chained``: every axis is told the classes of those before it, in training and when drawn, which is what
               CoGeLoT's ``token_per_axis`` decodes.
    """

    rule: Rule = "centred"
    rotation: Rotation = "quat"
    canonical: bool = True
    hidden: int = 128
    reduction: Literal["parts", "axes"] = "parts"
    smooth: float = 0.0
    axes: Literal["independent", "chained"] = "independent"


class PosesHead(Head):
    """A perceptron of two hidden layers for each axis; all of them run as one batch of products. Actions of 14 numbers have
    heights."""

    def __init__(self, factor: Factor, n_embd: int, options: PosesOptions | None = None) -> None:
        nn.Module.__init__(self)
        options = options or PosesOptions()
        codec = PoseCodec(options.rule, options.rotation, factor.width == 14, options.canonical)
        if factor.width != codec.width:
            raise ConfigError(f"head.action.kind=poses predicts 12 or 14 numbers; '{factor.name}' has {factor.width}")
        self.factor, self.codec, self.reduction, hidden = factor, codec, options.reduction, options.hidden
        self.smooth = options.smooth
        axes, most = len(codec.bins), max(codec.bins)
        self.num_uniforms = axes
        self.weights = nn.ParameterList(
            nn.Parameter(torch.stack([nn.init.orthogonal_(torch.empty(b, a), gain) for _ in range(axes)]))
            for a, b, gain in ((n_embd, hidden, 2**0.5), (hidden, hidden, 2**0.5), (hidden, most, 0.01))
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(axes, n)) for n in (hidden, hidden, most))
        chained = options.axes == "chained"
        self.said = nn.Parameter(torch.randn(axes - 1, most, n_embd) * 0.02) if chained else None  # the classes of earlier axes
        beyond = torch.arange(most) >= torch.tensor(codec.bins)[:, None]
        self.register_buffer("beyond", beyond, persistent=False)
        self.beyond: Tensor

    def forward(self, h: Tensor) -> Tensor:
        """``(..., D)`` to logits ``(..., axes * most)``; classes that an axis does not have are at minus infinity. Of chained
        axes, whose logits depend on each other's classes, to the state itself."""
        return h if self.said is not None else self._scores(h).flatten(-2)

    def logits(self, params: Tensor, classes: Tensor | None = None) -> Tensor:
        """``(..., axes, most)``; chained axes need ``classes`` ``(..., axes)``, of which each is told those before it."""
        if self.said is None:
            return params.float().unflatten(-1, self.beyond.shape)
        assert classes is not None, "chained axes are told what the others say"
        return self._scores(torch.stack([self._told(params, classes, i) for i in range(len(self.beyond))], -2)).float()

    def _told(self, h: Tensor, classes: Tensor, axis: int) -> Tensor:
        """The state ``(..., D)`` with the classes of the axes before ``axis``."""
        assert self.said is not None
        for i in range(axis):
            h = h + F.embedding(classes[..., i], self.said[i])
        return h

    def _scores(self, h: Tensor) -> Tensor:
        """States ``(..., D)``, or one for each axis ``(..., axes, D)``, to ``(..., axes, most)``."""
        each = self.said is not None
        lead, flat = h.shape[: -2 if each else -1], h.reshape(-1, *h.shape[-2 if each else -1 :])
        x = self._together(flat) if torch.is_grad_enabled() else self._one_by_one(flat)
        return x.masked_fill(self.beyond, -torch.inf).reshape(*lead, *self.beyond.shape)

    def _together(self, h: Tensor) -> Tensor:
        """``(n, D)`` or ``(n, axes, D)`` to ``(n, axes, most)``."""
        x = h.expand(len(self.beyond), -1, -1) if h.dim() == 2 else h.transpose(0, 1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias[:, None], x, weight.mT)  # (axes, n, width)
            x = F.relu(x) if i < 2 else x
        return x.transpose(0, 1)

    def _one_by_one(self, h: Tensor) -> Tensor:
        """The same by linear layers, which rollouts can make independent of the batch."""
        states = h.expand(len(self.beyond), -1, -1) if h.dim() == 2 else h.unbind(1)
        return torch.stack([self._axis(i, state) for i, state in enumerate(states)], 1)

    def _axis(self, i: int, h: Tensor) -> Tensor:
        """``(n, D)`` to the scores ``(n, most)`` of one axis."""
        for layer in (0, 1):
            h = F.relu(F.linear(h, self.weights[layer][i], self.biases[layer][i]))
        return F.linear(h, self.weights[2][i], self.biases[2][i])

    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``pick`` and ``place``: the poses' shares of the loss."""
        index = self.codec.encode(target)
        logits = self.logits(params, index)
        loss = self._smoothed(logits, index) if self.smooth else self._exact(logits, index)
        parts = self.codec.parts
        if self.reduction == "axes":
            half = parts[2].start
            return {"pick": loss[..., :half].sum(-1) / loss.shape[-1], "place": loss[..., half:].sum(-1) / loss.shape[-1]}
        means = [loss[..., p].mean(-1) for p in parts]
        return {"pick": means[0] + means[1], "place": means[2] + means[3]}

    @staticmethod
    def _exact(logits: Tensor, index: Tensor) -> Tensor:
        """Cross-entropy ``(..., axes)``."""
        return F.cross_entropy(logits.flatten(0, -2), index.flatten(), reduction="none").view(index.shape)

    def _smoothed(self, logits: Tensor, index: Tensor) -> Tensor:
        """Divergence ``(..., axes)`` from a bell around the class; a whole turn is a circle."""
        counts = (~self.beyond).sum(1)[:, None]  # (axes, 1)
        gap = (torch.arange(self.beyond.shape[1], device=index.device) - index[..., None]).abs()  # (..., axes, most)
        turns = torch.tensor([a == "yaw" for part in self.codec.axes for a in part], device=index.device)[:, None]
        gap = torch.where(turns, torch.minimum(gap, counts - gap), gap)
        bell = (-(gap / self.smooth).square() / 2).masked_fill(self.beyond, -torch.inf).log_softmax(-1)
        said = logits.log_softmax(-1).masked_fill(self.beyond, 0.0)
        return (bell.exp() * (bell.masked_fill(self.beyond, 0.0) - said)).sum(-1)

    def mode(self, params: Tensor) -> Tensor:
        """The likeliest class of every axis; of chained ones, given the likeliest of those before it."""
        return self.codec.decode(self.choose(params, torch.zeros(0, device=params.device), _GREEDY))

    def choose(self, params: Tensor, uniform: Tensor, how: Sampling = PLAIN) -> Tensor:
        if self.said is None:
            return draw_class(self.logits(params), uniform, how)
        classes = torch.zeros(*params.shape[:-1], len(self.beyond), dtype=torch.long, device=params.device)
        for i, beyond in enumerate(self.beyond):
            state = self._told(params, classes, i)
            scores = self._axis(i, state.reshape(-1, state.shape[-1])).masked_fill(beyond, -torch.inf)
            drawn = uniform if how.greedy else uniform[..., i]
            classes[..., i] = draw_class(scores.reshape(*state.shape[:-1], -1).float(), drawn, how)
        return classes

    def realise(
        self,
        params: Tensor,
        choice: Tensor | None,
        uniform: Tensor,
        how: Sampling = PLAIN,
        offset_of: Tensor | None = None,
    ) -> Tensor:
        assert choice is not None
        return self.codec.decode(choice)


class BoxesHead(Head):
    """Where objects will be seen: the boxes of every slot, squared error over those that are there (a mean over them)."""

    def __init__(self, factor: Factor, n_embd: int) -> None:
        super().__init__(factor, n_embd, factor.shape[0] * factor.shape[1] * 4)
        self.register_buffer("extent", torch.tensor([256.0, 128.0, 128.0, 256.0]), persistent=False)
        self.extent: Tensor

    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        boxes, seen = target[..., -5:-1].float() / self.extent, target[..., -1].float()
        error = (params.unflatten(-1, (*self.factor.shape[:2], 4)) - boxes).square().mean(-1) * seen
        return {"boxes": error.sum((-2, -1)) / seen.sum((-2, -1)).clamp(min=1)}

    def mode(self, params: Tensor) -> Tensor:
        """Cells ``(..., V, n, OBJECT_BYTES)`` uint8 with boxes alone: crops are not predicted, and nothing is seen."""
        boxes = (params.unflatten(-1, (*self.factor.shape[:2], 4)) * self.extent).round().clamp(0, 255)
        cells = params.new_zeros((*params.shape[:-1], *self.factor.shape), dtype=torch.uint8)
        cells[..., -5:-1] = boxes.to(torch.uint8)
        return cells
