"""Behavior Transformer's head: a k-means bin and a residual offset (Shafiullah et al. 2022; BeT spec 1.2 - 1.6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskbench.errors import DataError
from maskbench.models.heads.base import Head, Net, take
from maskbench.models.heads.categorical import focal
from maskbench.models.heads.sampling import PLAIN, Sampling, draw_class
from maskbench.tokens.kmeans import fit_kmeans
from maskbench.tokens.rvq import Watch
from maskbench.trajectory import Factor


class BinsHead(Head):
    """``K`` bin logits, then ``K x A`` offsets, row-major: ``value = centre[bin] + offset[bin]``.

    num_bins:     ``K``; with K = 1 the class term vanishes and the head is a regression around the mean.
    focal_gamma:  2 in the paper, 0 = cross-entropy.
    offset_scale: weight of the offset loss (1e5 blockpush, 1e3 kitchen, 10 point mass, in raw action units).
    predict_offsets: False keeps only the bins (the paper's ablation).
    standardise: bins are found, and actions assigned to them, with every dimension divided by its standard deviation, so that
                 dimensions of a large range do not decide alone.
    """

    num_uniforms = 1

    def __init__(
        self,
        factor: Factor,
        n_embd: int,
        net: Net = "linear",
        num_bins: int = 24,
        focal_gamma: float = 2.0,
        offset_scale: float = 10.0,
        predict_offsets: bool = True,
        bias: bool = False,
        standardise: bool = False,
    ) -> None:
        a = factor.width
        super().__init__(factor, n_embd, num_bins * (1 + a if predict_offsets else 1), net, bias)
        self.num_bins, self.focal_gamma, self.offset_scale, self.predict_offsets = (
            num_bins,
            focal_gamma,
            offset_scale,
            predict_offsets,
        )
        self.register_buffer("centres", torch.full((num_bins, a), float("nan")))
        self.centres: Tensor
        self.register_buffer("scale", torch.ones(a) if standardise else None)
        self.scale: Tensor | None

    def fit(self, values: Tensor, watch: Watch | None = None) -> None:
        """k-means over the training values ``(N, *shape)``."""
        flat = values.flatten(1)
        if self.scale is None:
            self.centres.copy_(fit_kmeans(flat, self.num_bins))
        else:
            self.scale.copy_(flat.std(0, correction=0).clamp(min=1e-6))
            self.centres.copy_(fit_kmeans(flat / self.scale, self.num_bins) * self.scale)

    def encode(self, value: Tensor) -> Tensor:
        """Nearest bin ``(...)`` of values ``(..., A)``; ties go to the lowest index."""
        if torch.isnan(self.centres).any():
            raise DataError("the bins were never fitted: call fit(actions) or load a trained checkpoint first")
        scale = 1.0 if self.scale is None else self.scale
        return torch.cdist(value.float() / scale, self.centres / scale).argmin(-1)

    def split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(..., K)`` and offsets ``(..., K, A)``."""
        k = self.num_bins
        logits = params[..., :k].float()
        if not self.predict_offsets:
            return logits, torch.zeros(*logits.shape, self.factor.width, device=logits.device)
        return logits, params[..., k:].float().unflatten(-1, (k, self.factor.width))

    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        value = target.flatten(params.dim() - 1).float()
        logits, offsets = self.split(params)
        index = self.encode(value)
        terms = {"class": focal(logits, index, self.focal_gamma)}
        if self.predict_offsets:
            chosen = take(offsets, index)
            gap = value - F.embedding(index, self.centres)
            terms["offset"] = self.offset_scale * (chosen - gap).square().mean(-1)
        return terms

    def decode(self, params: Tensor, index: Tensor) -> Tensor:
        """Values ``(..., *shape)`` of given bins ``(...)``."""
        value = F.embedding(index, self.centres) + take(self.split(params)[1], index)
        return value.unflatten(-1, self.factor.shape)

    def mode(self, params: Tensor) -> Tensor:
        return self.decode(params, self.split(params)[0].argmax(-1))

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
        value = F.embedding(choice[..., 0], self.centres)
        if how.offsets:
            value = value + take(self.split(params)[1], (choice if offset_of is None else offset_of)[..., 0])
        return value.unflatten(-1, self.factor.shape)
