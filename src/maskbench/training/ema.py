"""Exponential moving average of the weights (Polyak averaging with warm-up)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError, DataError


class Ema:
    """Averages of a model's floating-point parameters; buffers are not averaged.

    The decay of update ``n`` (from 1) is ``min(decay, (1 + n) / (10 + n))``, so that the random start is soon forgotten.
    Weights are swapped by copying values: addresses, which CUDA graphs and fused optimisers hold, stay what they were.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ConfigError(f"ema_decay must lie between 0 and 1; found {decay}")
        self.decay = decay
        self.updates = 0
        self._live: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
        self._average = {name: p.detach().clone() for name, p in self._live.items()}

    def current_decay(self) -> float:
        """Decay that the latest update used."""
        return min(self.decay, (1 + self.updates) / (10 + self.updates))

    @torch.no_grad()
    def update(self) -> None:
        """average <- decay * average + (1 - decay) * weights."""
        self.updates += 1
        torch._foreach_lerp_(list(self._average.values()), list(self._live.values()), 1.0 - self.current_decay())

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The model holds the averages inside the ``with`` block and its own weights after it, also after an exception."""
        live, average = list(self._live.values()), list(self._average.values())
        with torch.no_grad():
            own = [p.detach().clone() for p in live]
            torch._foreach_copy_(live, average)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(live, own)

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self._average)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Raises DataError unless ``state`` has exactly this model's parameters."""
        if set(state) != set(self._average):
            differing = sorted(set(state) ^ set(self._average))
            raise DataError(f"the saved EMA weights do not fit the model; they differ in {differing}")
        for name, average in self._average.items():
            average.copy_(state[name])
        self.updates = updates
