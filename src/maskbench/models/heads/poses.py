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


@dataclass(frozen=True)
class PosesOptions:
    """How poses become classes (``tokens.poses.PoseCodec``), and how they are predicted.

    hidden:    width of the perceptrons (published: 512).
    reduction: ``parts`` adds up the mean cross-entropies of the four poses (VIMA); ``axes`` averages over all axes (CoGeLoT).
    smooth:    deviation in bins of the target around its class, so that near classes learn from each other; 0 as published.
               Losses are then compared with a prediction that is as wide: their least is zero.
    """

    rule: Rule = "centred"
    rotation: Rotation = "quat"
    canonical: bool = True
    hidden: int = 128
    reduction: Literal["parts", "axes"] = "parts"
    smooth: float = 0.0


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
        beyond = torch.arange(most) >= torch.tensor(codec.bins)[:, None]
        self.register_buffer("beyond", beyond, persistent=False)
        self.beyond: Tensor

    def forward(self, h: Tensor) -> Tensor:
        """``(..., D)`` to logits ``(..., axes * most)``; classes that an axis does not have are at minus infinity."""
        flat = h.reshape(-1, h.shape[-1])
        x = self._together(flat) if torch.is_grad_enabled() else self._one_by_one(flat)
        x = x.masked_fill(self.beyond, -torch.inf)
        return x.reshape(*h.shape[:-1], -1)

    def _together(self, h: Tensor) -> Tensor:
        """``(n, D)`` to ``(n, axes, most)``."""
        x = h.expand(len(self.beyond), -1, -1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias[:, None], x, weight.mT)  # (axes, n, width)
            x = F.relu(x) if i < 2 else x
        return x.transpose(0, 1)

    def _one_by_one(self, h: Tensor) -> Tensor:
        """The same by linear layers, which rollouts can make independent of the batch."""
        answers = []
        for layer in zip(*self.weights, *self.biases, strict=True):
            x = F.relu(F.linear(h, layer[0], layer[3]))
            answers.append(F.linear(F.relu(F.linear(x, layer[1], layer[4])), layer[2], layer[5]))
        return torch.stack(answers, 1)

    def logits(self, params: Tensor) -> Tensor:
        """``(..., axes, most)``."""
        return params.float().unflatten(-1, self.beyond.shape)

    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``pick`` and ``place``: the poses' shares of the loss."""
        logits = self.logits(params)
        index = self.codec.encode(target)
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
        return self.codec.decode(self.logits(params).argmax(-1))

    def choose(self, params: Tensor, uniform: Tensor, how: Sampling = PLAIN) -> Tensor:
        return draw_class(self.logits(params), uniform, how)

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
