"""Random network distillation (Burda et al. 2018, as ExoRL runs it; MaskDP study 1.8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskbench.collect.networks import Sizes, orthogonal
from maskbench.collect.replay import Transitions
from maskbench.collect.rewards.running import RunningScale


class RND(nn.Module):
    """Novelty of the state arrived in: how badly a predictor imitates a frozen random network there.

    States are normalised by the batch and clipped to +-5; the error is divided by its running deviation.
    """

    def __init__(self, sizes: Sizes, features: int = 512) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm1d(sizes.state, affine=False)
        self.predictor, self.frozen = (
            nn.Sequential(
                nn.Linear(sizes.state, sizes.hidden),
                nn.ReLU(),
                nn.Linear(sizes.hidden, sizes.hidden),
                nn.ReLU(),
                nn.Linear(sizes.hidden, features),
            )
            for _ in range(2)
        )
        orthogonal(self)
        self.frozen.requires_grad_(False)
        self.scale = RunningScale()

    def learned(self) -> list[nn.Parameter]:
        return list(self.predictor.parameters())

    def loss(self, batch: Transitions) -> Tensor:
        return self._error(batch.next_state).mean()

    @torch.no_grad()
    def reward(self, batch: Transitions, generator: torch.Generator) -> Tensor:
        error = self._error(batch.next_state)
        return error / (self.scale(error) + 1e-8)

    def _error(self, state: Tensor) -> Tensor:
        state = self.normalise(state).clamp(-5.0, 5.0)
        return (self.predictor(state) - self.frozen(state)).square().mean(-1)
