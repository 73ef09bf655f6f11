"""Behavior Transformer's head: a k-means bin and a residual offset (Shafiullah et al. 2022; BeT spec 1.2 - 1.6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskbench.errors import DataError
from maskbench.models.heads.base import Head, Net, draw_class
from maskbench.models.heads.categorical import focal
from maskbench.tokens.kmeans import fit_kmeans
from maskbench.trajectory import Factor


class BinsHead(Head):
    """``K`` bin logits, then ``K x A`` offsets, row-major: ``value = centre[bin] + offset[bin]``.

    num_bins:     ``K``; with K = 1 the class term vanishes and the head is a regression around the mean.
    focal_gamma:  2 in the paper, 0 = cross-entropy.
    offset_scale: weight of the offset loss (1e5 blockpush, 1e3 kitchen, 10 point mass, in raw action units).
    predict_offsets: False keeps only the bins (the paper's ablation).
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

    def fit(self, values: Tensor) -> None:
        """k-means over the training values ``(N, *shape)``."""
        self.centres.copy_(fit_kmeans(values.flatten(1), self.num_bins))

    def encode(self, value: Tensor) -> Tensor:
        """Nearest bin ``(...)`` of values ``(..., A)``; ties go to the lowest index."""
        if torch.isnan(self.centres).any():
            raise DataError("the bins were never fitted: call fit(actions) or load a trained checkpoint first")
        return torch.cdist(value.float(), self.centres).argmin(-1)

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
            chosen = _take(offsets, index)
            gap = value - F.embedding(index, self.centres)
            terms["offset"] = self.offset_scale * (chosen - gap).square().mean(-1)
        return terms

    def decode(self, params: Tensor, index: Tensor) -> Tensor:
        """Values ``(..., *shape)`` of given bins ``(...)``."""
        value = F.embedding(index, self.centres) + _take(self.split(params)[1], index)
        return value.unflatten(-1, self.factor.shape)

    def mode(self, params: Tensor) -> Tensor:
        return self.decode(params, self.split(params)[0].argmax(-1))

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        return self.decode(params, draw_class(self.split(params)[0], uniform[..., 0], temperature))


def _take(offsets: Tensor, index: Tensor) -> Tensor:
    """``(..., K, A)`` at ``(...)`` -> ``(..., A)``."""
    at = index[..., None, None].expand(*index.shape, 1, offsets.shape[-1])
    return offsets.gather(-2, at)[..., 0, :]
