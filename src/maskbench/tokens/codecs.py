"""Numbers as classes: the binned tokenisers of MTM (unimask.md section 6.1).

A codec gives every scalar dimension of a factor ``num_bins`` classes. The factor's head predicts them by cross-entropy and
its token shows them one-hot, so that both sides of the model speak the same bins.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError, DataError


class BinCodec(nn.Module):
    """``(..., d)`` float values to ``(..., d)`` int64 classes and back."""

    num_bins: int

    def fit(self, values: Tensor) -> None:
        """Sets the bins from training values ``(N, d)``."""

    @abstractmethod
    def encode(self, value: Tensor) -> Tensor:
        """Classes ``0 .. num_bins - 1`` of values."""

    @abstractmethod
    def decode(self, index: Tensor) -> Tensor:
        """The value that each class stands for."""


class UniformBins(BinCodec):
    """MTM's ``uniform_bins``: floor binning between the least and the greatest training value of each dimension.

    What lies beyond them takes the outermost bin. A class decodes to the centre of its bin, so that a value inside the
    training range comes back within half a bin. A constant dimension keeps its value.
    """

    def __init__(self, dims: int, num_bins: int) -> None:
        super().__init__()
        self.num_bins = num_bins
        self.register_buffer("low", torch.full((dims,), float("nan")))
        self.register_buffer("high", torch.full((dims,), float("nan")))
        self.low: Tensor
        self.high: Tensor

    def fit(self, values: Tensor) -> None:
        self.low.copy_(values.amin(0))
        self.high.copy_(values.amax(0))

    def encode(self, value: Tensor) -> Tensor:
        if torch.isnan(self.low).any():
            raise DataError("the bins were never fitted: call fit(values) or load a trained checkpoint first")
        span = torch.where(self.high > self.low, self.high - self.low, 1.0)
        place = (value.float() - self.low) / span * self.num_bins
        return place.clamp(0, self.num_bins - 1).long()  # both ends are positive: long() is floor

    def decode(self, index: Tensor) -> Tensor:
        return self.low + (index + 0.5) / self.num_bins * (self.high - self.low)


class GivenBins(BinCodec):
    """MTM's ``continuous_binned``: the nearest of given values, in the model's units, the same for every dimension."""

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        if len(values) < 2 or list(values) != sorted(set(values)):
            raise ConfigError(f"bins need at least two different values in rising order; found {list(values)}")
        self.num_bins = len(values)
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32))
        self.values: Tensor

    def encode(self, value: Tensor) -> Tensor:
        middles = (self.values[1:] + self.values[:-1]) / 2
        return torch.bucketize(value.float().contiguous(), middles)

    def decode(self, index: Tensor) -> Tensor:
        return self.values[index]
