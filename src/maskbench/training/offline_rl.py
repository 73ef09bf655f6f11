"""Offline TD3 on windows of recorded transitions (MaskDP spec 3.4), as a problem of the ordinary trainer.

One step is one loss: that of the critic, plus that of the actor under the critic's weights of the moment, held fixed. Both own
different parameters, so one Adam steps both as two would. The slow copies follow at the beginning of the next step, and are
weights like others: runs resume exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError, DataError
from maskbench.models.actor_critic import ActorCritic
from maskbench.training.seeding import step_generator
from maskbench.training.td3 import critic_loss, td_target

#: Plays whole episodes with the actor: ``return`` and whatever else is to be logged.
Evaluate = Callable[[ActorCritic], Mapping[str, float]]


@dataclass(frozen=True)
class TD3:
    """Settings of the algorithm.

    discount, rate: of rewards, and of the slow copies. noise, clip: deviation of the noise on target actions, and its limit.
    timesteps: transitions of a window (``attn_length``). cloning: weight of squared error to the recorded actions beside
    ``-Q / mean |Q|`` in the actor's loss (TD3+BC's 1 / alpha); 0 is plain TD3, for diverse data (ExoRL).
    """

    discount: float = 0.99
    rate: float = 0.01
    noise: float = 0.2
    clip: float = 0.3
    timesteps: int = 1
    cloning: float = 0.0

    def __post_init__(self) -> None:
        if self.timesteps < 1 or not 0 <= self.discount <= 1 or not 0 < self.rate <= 1:
            found = f"{self.timesteps}, {self.discount}, {self.rate}"
            raise ConfigError(f"agents need timesteps >= 1, discount in [0, 1] and rate in (0, 1]; found {found}")


class Transitions:
    """All windows of ``timesteps`` transitions of some episodes, resident on the device; a batch is a function of the step.

    states:  per episode ``(n + 1, S)`` in model units, the state after the last action included. actions ``(n, A)``, rewards
    ``(n,)``. Raises DataError where no episode is long enough.
    """

    def __init__(
        self,
        states: list[Tensor],
        actions: list[Tensor],
        rewards: list[Tensor],
        timesteps: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        lengths = np.array([len(a) for a in actions])
        count = np.maximum(lengths - timesteps + 1, 0)
        if not count.sum():
            raise DataError(f"no episode has {timesteps} transitions; the longest has {lengths.max(initial=0)}")
        begins = np.cumsum(lengths + 1) - (lengths + 1)
        first = np.concatenate([b + np.arange(c) for b, c in zip(begins, count, strict=True)])
        self.first = torch.from_numpy(first).to(device)
        self.state = torch.cat(states).float().to(device)  # (rows, S): one row more than actions an episode
        self.action = torch.cat([nn.functional.pad(a, (0, 0, 0, 1)) for a in actions]).float().to(device)
        self.reward = torch.cat([nn.functional.pad(r, (0, 1)) for r in rewards]).float().to(device)
        self.steps = torch.arange(timesteps, device=device)
        self.seed = seed

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """State, action, reward and next state, ``(B, T, ...)``."""
        generator = step_generator(self.seed, step, device=self.first.device)
        pick = torch.randint(len(self.first), (size,), generator=generator, device=self.first.device)
        rows = self.first[pick][:, None] + self.steps
        return self.state[rows], self.action[rows], self.reward[rows], self.state[rows + 1]


class TD3Problem:
    """Trains an ``ActorCritic``; validates it by playing."""

    def __init__(self, data: Transitions, settings: TD3, batch_size: int, evaluate: Evaluate) -> None:
        self.data, self.settings, self.batch_size, self.evaluate = data, settings, batch_size, evaluate

    def losses(self, model: nn.Module, step: int, rank: int = 0) -> dict[str, Tensor]:
        """``loss`` and, detached, those of actor and critic and the mean value."""
        agent, s = _unwrap(model), self.settings
        if step:
            agent.critic.follow(s.rate)
        state, action, reward, after = self.data.batch(step, self.batch_size)
        target = td_target(reward, s.discount, after, agent.actor, agent.critic.target, std=s.noise, clip=s.clip)
        values = agent.critic(state, action)
        error = critic_loss(values, target)
        chosen = agent.actor(state)
        fixed = {name: p.detach() for name, p in agent.critic.named_parameters()}
        worth = torch.func.functional_call(agent.critic, fixed, (state, chosen)).amin(0)
        if s.cloning:
            actor_loss = -worth.mean() / worth.detach().abs().mean() + s.cloning * (chosen - action).square().mean()
        else:
            actor_loss = -worth.mean()
        terms = {"critic": error, "actor": actor_loss, "value": values.mean(), "reward": reward.mean()}
        return {"loss": error + actor_loss, **{k: v.detach() for k, v in terms.items()}}

    def validate(self, model: nn.Module) -> dict[str, float]:
        """``loss`` is the mean return, negated: the best checkpoint is that of the best actor."""
        found = dict(self.evaluate(_unwrap(model)))
        return {"loss": -found["return"], **found}


def _unwrap(model: nn.Module) -> ActorCritic:
    while not isinstance(model, ActorCritic):
        model = next(getattr(model, n) for n in ("_forward_module", "_orig_mod", "module") if hasattr(model, n))
    return model
