"""APT on curiosity features (Liu and Abbeel 2021; Pathak et al. 2017; as ExoRL runs it, MaskDP study 1.8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskbench.collect.networks import Sizes, orthogonal
from maskbench.collect.replay import Transitions
from maskbench.collect.rewards.neighbours import nearest


class ICMAPT(nn.Module):
    """Entropy of features: log(1 + mean distance to the nearest neighbours in the batch).

    Features learn to tell the action between two states and to foresee the next features from state and action.
    """

    def __init__(self, sizes: Sizes, features: int = 512, neighbours: int = 12) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.features = nn.Sequential(nn.Linear(sizes.state, features), nn.LayerNorm(features), nn.Tanh())
        self.forward_model = nn.Sequential(
            nn.Linear(features + sizes.action, sizes.hidden), nn.ReLU(), nn.Linear(sizes.hidden, features)
        )
        self.inverse_model = nn.Sequential(
            nn.Linear(2 * features, sizes.hidden), nn.ReLU(), nn.Linear(sizes.hidden, sizes.action), nn.Tanh()
        )
        orthogonal(self)

    def learned(self) -> list[nn.Parameter]:
        return list(self.parameters())

    def loss(self, batch: Transitions) -> Tensor:
        now, then = self.features(batch.state), self.features(batch.next_state)
        foreseen = self.forward_model(torch.cat((now, batch.action), -1))
        action = self.inverse_model(torch.cat((now, then), -1))
        return (then - foreseen).norm(dim=-1).mean() + (batch.action - action).norm(dim=-1).mean()

    @torch.no_grad()
    def reward(self, batch: Transitions, generator: torch.Generator) -> Tensor:
        rows = self.features(batch.next_state)
        return torch.log1p(nearest(rows, rows, self.neighbours).mean(-1))
