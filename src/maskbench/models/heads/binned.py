"""Continuous values as classes, dimension by dimension (MTM's binned tokenisers; unimask.md section 6.1)."""

from __future__ import annotations

from torch import Tensor

from maskbench.models.heads.base import Head, Net
from maskbench.models.heads.categorical import focal
from maskbench.models.heads.sampling import PLAIN, Sampling, draw_class
from maskbench.tokens.codecs import BinCodec
from maskbench.tokens.rvq import Watch
from maskbench.trajectory import Factor


class BinnedHead(Head):
    """``K`` logits per dimension of a cell, cross-entropy averaged over dimensions; predictions are bin centres.

    codec: the bins, which also make the factor's input one-hot (``CellEmbedding``).
    """

    def __init__(
        self,
        factor: Factor,
        n_embd: int,
        codec: BinCodec,
        net: Net = "linear",
        focal_gamma: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__(factor, n_embd, factor.width * codec.num_bins, net, bias)
        self.codec, self.focal_gamma, self.num_uniforms = codec, focal_gamma, factor.width

    def fit(self, values: Tensor, watch: Watch | None = None) -> None:
        """Sets the bins from training values ``(N, *shape)``."""
        self.codec.fit(values.flatten(1))

    def logits(self, params: Tensor) -> Tensor:
        """``(..., width, K)``."""
        return params.float().unflatten(-1, (self.factor.width, self.codec.num_bins))

    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        index = self.codec.encode(target.flatten(params.dim() - 1))
        return {"class": focal(self.logits(params), index, self.focal_gamma).mean(-1)}

    def mode(self, params: Tensor) -> Tensor:
        return self.codec.decode(self.logits(params).argmax(-1)).unflatten(-1, self.factor.shape)

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
        return self.codec.decode(choice).unflatten(-1, self.factor.shape)
