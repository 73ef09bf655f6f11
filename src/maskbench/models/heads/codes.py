"""VQ-BeT's head: the codes of a residual autoencoder and a residual offset (Lee et al. 2024; BeT spec 5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from maskbench.models.heads.base import Head, take
from maskbench.models.heads.categorical import focal
from maskbench.models.heads.sampling import PLAIN, Sampling, draw_class
from maskbench.tokens.rvq import ResidualVQ, Watch, perceptron
from maskbench.trajectory import Factor

GREEDY = Sampling(greedy=True)


@dataclass(frozen=True)
class CodesOptions:
    """Settings of ``CodesHead``.

    num_groups .. lr: of the autoencoder (``tokens.rvq.ResidualVQ``).
    chunk:      consecutive actions that codes stand for; acting averages what successive chunks say about a step.
    n_head_hidden: width of the two hidden layers of each head.
    primary, secondary: weights of the first code's loss and of each later one's.
    sequential: predicts each code given the one before it; else all at once, independently.
    offset_of:  the codes whose offset the offset loss trains: those ``sampled`` from the prediction (published), or the
                ``true`` ones, as BeT does; sampled ones also pull the offset of a code towards actions of another mode.
    offsets_only_after: share of the training after which nothing but the offset head learns (published: 0.5).
    """

    chunk: int = 1
    num_groups: int = 2
    num_codes: int = 16
    n_embd: int = 64
    n_hidden: int = 128
    steps: int = 1000
    batch_size: int = 256
    lr: float = 1e-3
    n_head_hidden: int = 256
    primary: float = 5.0
    secondary: float = 0.5
    sequential: bool = False
    offset_of: Literal["sampled", "true"] = "sampled"
    offsets_only_after: float | None = None


class CodesHead(Head):
    """Logits of ``G`` codes of ``C`` classes and an offset for each class: ``value = decode(codes) + sum of their offsets``.

    Parameters are the logits of the first code ``(C)``, those of each further one ``(C)``, or ``(C, C)`` by the code before
    where they are sequential, and the offsets ``(G, C, chunk * A)``. ``fit`` trains the autoencoder, which is frozen afterwards
    and travels in the checkpoint.
    """

    def __init__(
        self,
        factor: Factor,
        n_embd: int,
        options: CodesOptions,
        focal_gamma: float = 2.0,
        offset_scale: float = 10.0,
        predict_offsets: bool = True,
    ) -> None:
        a, g, c = options.chunk * factor.width, options.num_groups, options.num_codes
        super().__init__(factor, n_embd, 1)
        self.options, self.focal_gamma, self.offset_scale = options, focal_gamma, offset_scale
        self.num_uniforms, self.offsets_only, self.chunk = g, False, options.chunk
        self.codec = ResidualVQ(a, g, c, options.n_embd, options.n_hidden, options.steps, options.batch_size, options.lr)
        self.num_logits = c + (g - 1) * c * (c if options.sequential else 1)
        self.net = perceptron(n_embd, options.n_head_hidden, self.num_logits)
        self.offset_net = perceptron(n_embd, options.n_head_hidden, g * c * a) if predict_offsets else None

    def fit(self, values: Tensor, watch: Watch | None = None) -> None:
        """Stage 1: the autoencoder of the training values ``(N, *shape)``, or chunks of them ``(N, chunk, *shape)``."""
        self.codec.fit(values.flatten(1), watch)

    def progress(self, share: float) -> None:
        after = self.options.offsets_only_after
        self.offsets_only = after is not None and share >= after

    def forward(self, h: Tensor) -> Tensor:
        if self.offsets_only and self.training:
            h = h.detach()
            logits = self.net(h).detach()
        else:
            logits = self.net(h)
        return logits if self.offset_net is None else torch.cat([logits, self.offset_net(h)], -1)

    def logits(self, params: Tensor, group: int, before: Tensor | None) -> Tensor:
        """``(..., C)`` of one code, given the code before it ``(...)``."""
        c = self.options.num_codes
        if group == 0 or not self.options.sequential:
            return params[..., group * c : (group + 1) * c].float()
        assert before is not None
        start = c + (group - 1) * c * c
        return take(params[..., start : start + c * c].float().unflatten(-1, (c, c)), before)

    def offset(self, params: Tensor, codes: Tensor) -> Tensor:
        """``(..., chunk * A)`` of codes ``(..., G)``."""
        if self.offset_net is None:
            return torch.zeros(*codes.shape[:-1], self.chunk * self.factor.width, device=params.device)
        g, c = self.options.num_groups, self.options.num_codes
        table = params[..., self.num_logits :].float().unflatten(-1, (g, c, self.chunk * self.factor.width))
        return torch.stack([take(table[..., i, :, :], codes[..., i]) for i in range(g)]).sum(0)

    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        value = target.flatten(params.dim() - 1).float()
        if self.chunk > 1:
            value = following(value, self.chunk).flatten(-2)
        true, o = self.codec.encode(value), self.options
        terms: dict[str, Tensor] = {}
        for i in range(o.num_groups):
            loss = focal(self.logits(params, i, true[..., i - 1] if i else None), true[..., i], self.focal_gamma)
            key, weight = ("primary", o.primary) if i == 0 else ("secondary", o.secondary)
            terms[key] = terms.get(key, 0.0) + weight * loss
        if self.offset_net is not None:
            codes = true if o.offset_of == "true" else self._sampled(params.detach())
            answer = self.codec.decode(codes) + self.offset(params, codes)
            terms["offset"] = self.offset_scale * (answer - value).abs().mean(-1)
        return terms

    def _sampled(self, params: Tensor) -> Tensor:
        """Codes by torch's global generator in training, the likeliest in validation, so that losses compare."""
        uniform = torch.rand(*params.shape[:-1], self.num_uniforms, device=params.device)
        return self.choose(params, uniform, PLAIN if self.training else GREEDY)

    def mode(self, params: Tensor) -> Tensor:
        uniform = torch.zeros(*params.shape[:-1], self.num_uniforms, device=params.device)
        return self.realise(params, self.choose(params, uniform, GREEDY), uniform)

    def choose(self, params: Tensor, uniform: Tensor, how: Sampling = PLAIN) -> Tensor:
        codes: list[Tensor] = []
        for i in range(self.options.num_groups):
            codes.append(draw_class(self.logits(params, i, codes[-1] if codes else None), uniform[..., i], how))
        return torch.stack(codes, -1)

    def realise(
        self,
        params: Tensor,
        choice: Tensor | None,
        uniform: Tensor,
        how: Sampling = PLAIN,
        offset_of: Tensor | None = None,
    ) -> Tensor:
        assert choice is not None
        return self.realise_chunk(params, choice, how, offset_of)[..., 0, :].unflatten(-1, self.factor.shape)

    def realise_chunk(self, params: Tensor, choice: Tensor, how: Sampling = PLAIN, offset_of: Tensor | None = None) -> Tensor:
        """The actions ``(..., chunk, A)`` that codes stand for, from this step on."""
        value = self.codec.decode(choice)
        if how.offsets:
            value = value + self.offset(params, choice if offset_of is None else offset_of)
        return value.unflatten(-1, (self.chunk, self.factor.width))


def following(values: Tensor, chunk: int) -> Tensor:
    """``(..., T, A)`` -> ``(..., T, chunk, A)``: each row and those after it, zeros beyond the end."""
    padded = torch.nn.functional.pad(values, (0, 0, 0, chunk - 1))
    return padded.unfold(-2, chunk, 1).transpose(-1, -2)
