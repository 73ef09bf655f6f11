"""TD3's target and losses as plain functions of callables (Fujimoto et al. 2018; MaskDP study 1.8 and 3.4).

An actor maps states to mean actions in [-1, 1]; a critic maps states and actions to both estimates, stacked first. What a
state is, (B, S) numbers or (B, T, S) of a window, is theirs to know: returns and losses keep whatever axes follow the first.
So the collector's small networks and a pretrained encoder with heads learn by the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

#: states -> mean actions ``(..., A)`` in [-1, 1].
Actor = Callable[[Any], Tensor]
#: states, actions -> both values ``(2, ...)``.
TwinCritic = Callable[[Any, Tensor], Tensor]

#: Sampled actions stay this far inside of [-1, 1].
MARGIN = 1e-6


def noisy(mean: Tensor, std: float, clip: float | None = None, generator: torch.Generator | None = None) -> Tensor:
    """Actions around ``mean``: Gaussian noise, itself clipped to ``clip``, the sum truncated to the action range.

    Gradients pass the truncation unchanged, so that an actor at its limits still learns to come back.
    """
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype).mul_(std)
    if clip is not None:
        noise.clamp_(-clip, clip)
    action = mean + noise
    return action + (action.detach().clamp(-1.0 + MARGIN, 1.0 - MARGIN) - action.detach())


@torch.no_grad()
def td_target(
    reward: Tensor,
    discount: Tensor | float,
    next_state: Any,
    actor: Actor,
    target_critic: TwinCritic,
    *,
    std: float = 0.2,
    clip: float = 0.3,
    generator: torch.Generator | None = None,
) -> Tensor:
    """``reward + discount * min(Q1', Q2')`` at a smoothed action of the next state; the shape of ``reward``.

    ``reward`` is the (n-step, discounted) sum up to ``next_state``; ``discount`` is gamma ** n, zero behind a terminal state.
    """
    action = noisy(actor(next_state), std, clip, generator)
    return reward + discount * target_critic(next_state, action).amin(0)


def critic_loss(values: Tensor, target: Tensor) -> Tensor:
    """Sum of both estimates' mean squared errors: ``values`` ``(2, ...)``, ``target`` ``(...)``."""
    return 2.0 * F.mse_loss(values, target.expand_as(values))


def actor_loss(
    state: Any,
    actor: Actor,
    critic: TwinCritic,
    *,
    std: float = 0.2,
    clip: float = 0.3,
    generator: torch.Generator | None = None,
) -> Tensor:
    """``-min(Q1, Q2)`` of a freshly sampled action. Differentiate it by the actor's parameters alone."""
    action = noisy(actor(state), std, clip, generator)
    return -critic(state, action).amin(0).mean()


@torch.no_grad()
def soft_update(target: Iterable[Tensor], online: Iterable[Tensor], tau: float) -> None:
    """Moves ``target`` by the fraction ``tau`` towards ``online``."""
    torch._foreach_lerp_(list(target), list(online), tau)
