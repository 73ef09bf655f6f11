"""The learner that all collectors share: TD3's update on a task's reward, an intrinsic one, or a mixture of both."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from maskbench.collect.networks import Actor, Sizes, TwinCritic
from maskbench.collect.replay import Transitions
from maskbench.training import td3


@dataclass(frozen=True)
class Learner:
    """How an agent learns. The defaults suit two CPU cores (MaskDP study 7.3); those of ExoRL are ``learner=paper``.

    hidden:       width of all networks.
    batch_size:   transitions per update.
    lr:           Adam's learning rate.
    gamma, tau:   discount per decision, speed of the target critic.
    nstep:        decisions over which rewards are summed before the critic is asked.
    repeat:       environment steps per decision while learning.
    update_every: environment steps per update.
    warmup_steps: environment steps of uniformly random actions before the first update.
    noise:        deviation of the exploration noise; the target's smoothing noise has it too, clipped to ``noise_clip``.
    actor_every:  critic updates per update of the actor.
    critic_norm:  LayerNorm in the critic's heads.
    squash:       actor and critic see the symlog of states.
    capacity:     environment steps that the replay in memory holds; files of older episodes stay.
    precision:    bf16 for the wide matrix products of CPUs that have it.
    """

    hidden: int = 256
    batch_size: int = 256
    lr: float = 4e-4
    gamma: float = 0.99
    tau: float = 0.01
    nstep: int = 3
    repeat: int = 2
    update_every: int = 2
    warmup_steps: int = 4000
    noise: float = 0.2
    noise_clip: float = 0.3
    actor_every: int = 1
    critic_norm: bool = True
    squash: bool = True
    capacity: int = 1_000_000
    precision: Literal["fp32", "bf16"] = "fp32"


class Intrinsic(Protocol):
    """A reward that an agent gives itself. A module: it is saved, and trained, with the agent."""

    def learned(self) -> list[nn.Parameter]:
        """What ``loss`` trains."""

    def loss(self, batch: Transitions) -> Tensor:
        """What its own networks minimise on a batch."""

    def reward(self, batch: Transitions, generator: torch.Generator) -> Tensor:
        """``(B,)`` reward of each transition, without gradients."""


class Agent(nn.Module):
    """Actor, twin critic, its slow copy and, for explorers, an intrinsic reward with its networks.

    intrinsic: an ``Intrinsic`` module, or None to learn the task's reward.
    bonus:     share of the intrinsic reward; 1 - bonus is that of the task's (MaskDP study 1.8).
    """

    def __init__(self, sizes: Sizes, learner: Learner, intrinsic: nn.Module | None = None, bonus: float = 1.0) -> None:
        super().__init__()
        self.learner, self.bonus = learner, bonus
        self.actor = Actor(sizes, learner.squash, learner.precision)
        self.critic = TwinCritic(sizes, learner.critic_norm, learner.squash, learner.precision)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.intrinsic: Any
        self.intrinsic = intrinsic
        self._actor, self._critic, self._target = (list(m.parameters()) for m in (self.actor, self.critic, self.target))
        self._intrinsic = [] if self.intrinsic is None else self.intrinsic.learned()
        learned = [*self._actor, *self._critic, *self._intrinsic]
        self.optimizer = torch.optim.Adam(learned, lr=learner.lr, fused=True)

    @torch.no_grad()
    def act(self, states: np.ndarray) -> np.ndarray:
        """Mean actions ``(n, A)`` float32 in states ``(n, S)``."""
        return self.actor(torch.from_numpy(states)).numpy()

    def update(self, batch: Transitions, generator: torch.Generator, actor: bool = True) -> dict[str, Tensor]:
        """One step of everything that learns (of the actor where asked); returns detached losses and values."""
        p, reward, shown = self.learner, batch.reward, {}
        if self.intrinsic is not None:
            shown["intrinsic_loss"] = self._step(self.intrinsic.loss(batch), self._intrinsic)
            bonus = self.intrinsic.reward(batch, generator)
            shown["intrinsic_reward"] = bonus.mean()
            reward = self.bonus * bonus + (1.0 - self.bonus) * reward
        target = td3.td_target(
            reward,
            batch.discount,
            batch.next_state,
            self.actor,
            self.target,
            std=p.noise,
            clip=p.noise_clip,
            generator=generator,
        )
        values = self.critic(batch.state, batch.action)
        shown["critic_loss"] = self._step(td3.critic_loss(values, target), self._critic)
        shown["value"] = values.detach().mean()
        if actor:
            loss = td3.actor_loss(batch.state, self.actor, self.critic, std=p.noise, clip=p.noise_clip, generator=generator)
            self._step(loss, self._actor)
        td3.soft_update(self._target, self._critic, p.tau)
        return shown

    def _step(self, loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        """Moves ``parameters`` alone; nothing else is differentiated."""
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()
