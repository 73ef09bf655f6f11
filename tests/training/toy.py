"""A learning problem of a few units, with dropout, for tests of the trainer."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from maskbench.training.optim import build_optimizer, build_scheduler
from maskbench.training.seeding import seed_everything, step_generator


class Mlp(nn.Module):
    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Regression:
    """Targets are a fixed function of seeded inputs; ``bad_step`` makes its loss infinite there."""

    def __init__(self, batch_size: int = 8, delay: float = 0.0, bad_step: int | None = None) -> None:
        self.batch_size = batch_size
        self.delay = delay
        self.bad_step = bad_step
        self.data_seconds = 0.0
        self.on_step = lambda step: None

    def batch(self, step: int, rank: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(self.batch_size, 4, generator=step_generator(7, step, rank))
        return x, x.sum(-1, keepdim=True).sin()

    def losses(self, model: nn.Module, step: int, rank: int = 0) -> dict[str, Tensor]:
        self.on_step(step)
        time.sleep(self.delay)
        x, y = self.batch(step, rank)
        squared = (model(x) - y).square().mean()
        state = squared * (float("inf") if step == self.bad_step else 1.0)
        return {"loss": state, "state": state.detach(), "action": squared.detach()}

    def validate(self, model: nn.Module) -> dict[str, float]:
        torch.rand(3)
        x, y = self.batch(10**6, 0)
        return {"loss": (model(x) - y).square().mean().item()}


def parts(dropout: float = 0.2):
    """Model, optimiser factory and scheduler factory, freshly seeded."""
    seed_everything(0)
    return (
        Mlp(dropout),
        lambda m: build_optimizer(m, lr=1e-2, weight_decay=0.1),
        lambda o: build_scheduler(o, "cosine", warmup_steps=4, num_steps=40),
    )
