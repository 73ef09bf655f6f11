"""How values are drawn from distributions over cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskbench.errors import ConfigError


@dataclass(frozen=True)
class Sampling:
    """Settings of a draw.

    temperature: divides the logits of classes, bins, mixture components and codes; multiplies a plain Gaussian's deviation.
    greedy:      the likeliest instead of a draw.
    top_k:       only the ``k`` likeliest classes; None = all.
    top_p:       only the likeliest classes that together have at least this probability; None = all.
    spread:      multiplies the deviation of Gaussians; 0 takes the mean of the drawn component, which is how mixtures imitate
                 best (the ``low noise`` evaluation of LSTM-GMM, BeT spec 5.3).
    offsets:     False leaves out what is added to a bin's centre (``enable_offsets`` of the BeT study).
    """

    temperature: float = 1.0
    greedy: bool = False
    top_k: int | None = None
    top_p: float | None = None
    spread: float = 1.0
    offsets: bool = True

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ConfigError(
                f"query.temperature must be positive; found {self.temperature}. For the mode use query.greedy=true"
            )
        if self.spread < 0:
            raise ConfigError(f"query.spread must not be negative; found {self.spread}")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"query.top_k keeps at least one class; found {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"query.top_p is a probability above 0; found {self.top_p}")


PLAIN = Sampling()


def draw_class(logits: Tensor, uniform: Tensor, how: Sampling = PLAIN) -> Tensor:
    """Class indices ``(...)`` by inverting the cumulative distribution at ``uniform`` ``(...)``; float64 throughout."""
    if how.greedy:
        return logits.argmax(-1)
    if logits.device.type == "mps":  # has no float64
        return draw_class(logits.cpu(), uniform.cpu(), how).to(logits.device)
    cumulative = _probabilities(logits.double() / how.temperature, how).cumsum(-1)
    return (cumulative < uniform[..., None] * cumulative[..., -1:]).sum(-1)


def _probabilities(logits: Tensor, how: Sampling) -> Tensor:
    """``(..., K)``, zero for classes that are left out; not normalised again."""
    p = logits.softmax(-1)
    if how.top_k is None and how.top_p is None:
        return p
    ranked, order = torch.sort(p, dim=-1, descending=True, stable=True)
    kept = torch.ones_like(ranked, dtype=torch.bool)
    if how.top_k is not None:
        kept[..., how.top_k :] = False
    if how.top_p is not None:
        kept &= ranked.cumsum(-1) - ranked < how.top_p
    return torch.zeros_like(p).scatter(-1, order, ranked * kept)
