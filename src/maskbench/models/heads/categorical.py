"""Classes: cross-entropy, with focal weighting by choice."""

from __future__ import annotations

from torch import Tensor

from maskbench.models.heads.base import Head, Net
from maskbench.models.heads.sampling import PLAIN, Sampling, draw_class
from maskbench.trajectory import Factor


def focal(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """``-(1 - p)^gamma log p`` of the true class (Lin et al. 2017); gamma 0 is cross-entropy. ``(..., K), (...) -> (...)``."""
    logp = logits.log_softmax(-1).gather(-1, target[..., None])[..., 0]
    return -logp if gamma == 0 else -((1 - logp.exp()) ** gamma) * logp


class CategoricalHead(Head):
    """Logits over the classes of a discrete factor."""

    num_uniforms = 1

    def __init__(self, factor: Factor, n_embd: int, net: Net = "linear", focal_gamma: float = 0.0, bias: bool = True) -> None:
        super().__init__(factor, n_embd, factor.width, net, bias)
        self.focal_gamma = focal_gamma

    def losses(self, params: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"class": focal(params.float(), target, self.focal_gamma)}

    def mode(self, params: Tensor) -> Tensor:
        return params.argmax(-1)

    def choose(self, params: Tensor, uniform: Tensor, how: Sampling = PLAIN) -> Tensor:
        return draw_class(params, uniform[..., 0], how)[..., None]

    def realise(
        self,
        params: Tensor,
        choice: Tensor | None,
        uniform: Tensor,
        how: Sampling = PLAIN,
        offset_of: Tensor | None = None,
    ) -> Tensor:
        assert choice is not None
        return choice[..., 0]
