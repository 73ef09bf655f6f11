"""ProtoRL's prototypes (Yarats et al. 2021), the explorer of MaskDP's ``unsup`` and ``semi`` data (study 1.4, 1.8)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskbench.collect.networks import Sizes, orthogonal
from maskbench.collect.replay import Transitions
from maskbench.collect.rewards.neighbours import nearest
from maskbench.training.td3 import soft_update


class Proto(nn.Module):
    """Entropy of embeddings: distance to the nearest neighbour of rank ``neighbours`` in a queue of earlier ones.

    A state's projected embedding learns to fall on the prototype that the slow network assigns to the next state;
    assignments are balanced over the batch. Each update queues one embedding per prototype, drawn by its scores.
    """

    queue: Tensor
    head: Tensor

    def __init__(
        self,
        sizes: Sizes,
        features: int = 128,
        prototypes: int = 512,
        queue: int = 2048,
        neighbours: int = 3,
        temperature: float = 0.1,
        sinkhorn: int = 3,
        tau: float = 0.05,
    ) -> None:
        super().__init__()
        self.neighbours, self.temperature, self.rounds, self.tau = neighbours, temperature, sinkhorn, tau
        self.predictor = nn.Linear(sizes.state, features)
        self.projector = nn.Sequential(nn.Linear(features, sizes.hidden), nn.ReLU(), nn.Linear(sizes.hidden, features))
        self.prototypes = nn.Linear(features, prototypes, bias=False)
        orthogonal(self.predictor)
        orthogonal(self.projector)
        nn.init.orthogonal_(self.prototypes.weight)
        self.slow = copy.deepcopy(self.predictor).requires_grad_(False)
        self.register_buffer("queue", torch.zeros(queue, features))
        self.register_buffer("head", torch.zeros((), dtype=torch.int64))

    def learned(self) -> list[nn.Parameter]:
        return [*self.predictor.parameters(), *self.projector.parameters(), *self.prototypes.parameters()]

    def loss(self, batch: Transitions) -> Tensor:
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight))
            assigned = sinkhorn(self.prototypes(F.normalize(self.slow(batch.next_state))) / self.temperature, self.rounds)
        projected = F.normalize(self.projector(self.predictor(batch.state)))
        scores = F.log_softmax(self.prototypes(projected) / self.temperature, -1)
        return -(assigned * scores).sum(-1).mean()

    @torch.no_grad()
    def reward(self, batch: Transitions, generator: torch.Generator) -> Tensor:
        soft_update(self.slow.parameters(), self.predictor.parameters(), self.tau)
        embedded = F.normalize(self.predictor(batch.next_state))
        distance = nearest(embedded, self.queue, self.neighbours)[:, -1]  # before the batch itself is queued
        chances = F.softmax(self.prototypes(embedded).T, -1)  # (prototypes, B): the batch as each prototype's candidates
        chosen = torch.multinomial(chances, 1, generator=generator)[:, 0]
        slots = (self.head + torch.arange(len(chosen))) % len(self.queue)
        self.queue[slots] = embedded[chosen]
        self.head.copy_((self.head + len(chosen)) % len(self.queue))
        return distance


@torch.no_grad()
def sinkhorn(logits: Tensor, rounds: int) -> Tensor:
    """Assignments ``(B, K)`` whose rows sum to one and whose columns share the batch evenly (Cuturi 2013)."""
    assigned = torch.exp(logits - logits.amax())
    for _ in range(rounds):
        assigned = assigned / assigned.sum(0, keepdim=True).clamp_min(1e-12) / assigned.shape[1]
        assigned = assigned / assigned.sum(1, keepdim=True).clamp_min(1e-12)
    return assigned
