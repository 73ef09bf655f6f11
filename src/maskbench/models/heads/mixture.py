"""A mixture of Gaussians per cell (MDN, Bishop 1994; the GMM head of robomimic's LSTM-GMM, BeT spec 5.3)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from maskbench.models.heads.base import Head, Net, take
from maskbench.models.heads.regression import gaussian_noise
from maskbench.models.heads.sampling import PLAIN, Sampling, draw_class
from maskbench.tokens.kmeans import fit_kmeans
from maskbench.tokens.rvq import Watch
from maskbench.trajectory import Factor


class MixtureHead(Head):
    """``K`` logits, ``K x A`` means around k-means centres, ``K x A`` deviations; diagonal components.

    The loss is the negative log-likelihood divided by ``A``, so that it compares with ``GaussianHead``.

    num_components: ``K``. Means start at the centres of as many clusters of the training values, so that components differ
               from the first step on; where there are fewer distinct values, centres repeat.
    std_floor: least deviation. Without one the likelihood of repeated values has no bound.
    """

    def __init__(
        self,
        factor: Factor,
        n_embd: int,
        net: Net = "linear",
        num_components: int = 5,
        std_floor: float = 0.01,
        bias: bool = True,
    ) -> None:
        a = factor.width
        super().__init__(factor, n_embd, num_components * (1 + 2 * a), net, bias)
        self.num_components, self.std_floor, self.num_uniforms = num_components, std_floor, 1 + a
        self.register_buffer("centres", torch.zeros(num_components, a))
        self.centres: Tensor

    def fit(self, values: Tensor, watch: Watch | None = None) -> None:
        """Centres over the training values ``(N, *shape)``."""
        flat = values.flatten(1)
        distinct = len(torch.unique(flat, dim=0))
        found = fit_kmeans(flat, min(self.num_components, distinct))
        self.centres.copy_(found[torch.arange(self.num_components) % len(found)])

    def split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits ``(..., K)``, means and deviations ``(..., K, A)``."""
        k, a = self.num_components, self.factor.width
        logits, means, raw = params.float().split([k, k * a, k * a], -1)
        return logits, self.centres + means.unflatten(-1, (k, a)), self.std_floor + F.softplus(raw.unflatten(-1, (k, a)))

    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        logits, means, std = self.split(params)
        z = (target.flatten(params.dim() - 1).float()[..., None, :] - means) / std
        density = -(0.5 * z.square() + std.log() + 0.5 * math.log(2 * math.pi)).sum(-1)
        return {"nll": -(logits.log_softmax(-1) + density).logsumexp(-1) / self.factor.width}

    def mode(self, params: Tensor) -> Tensor:
        """The mean of the likeliest component."""
        logits, means, _ = self.split(params)
        return take(means, logits.argmax(-1)).unflatten(-1, self.factor.shape)

    def choose(self, params: Tensor, uniform: Tensor, how: Sampling = PLAIN) -> Tensor:
        return draw_class(self.split(params)[0], uniform[..., 0], how)[..., None]

    def realise(
        self,
        params: Tensor,
        choice: Tensor | None,
        uniform: Tensor,
        how: Sampling = PLAIN,
        offset_of: Tensor | None = None,
    ) -> Tensor:
        assert choice is not None
        _, means, std = self.split(params)
        value = take(means, choice[..., 0])
        if not how.greedy and how.spread:
            value = value + how.spread * take(std, choice[..., 0]) * gaussian_noise(uniform[..., 1:]).to(value)
        return value.unflatten(-1, self.factor.shape)
