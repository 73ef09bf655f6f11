"""Acting with an actor-critic's actor: the mean action for the latest states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from maskbench.models.actor_critic import Actor
from maskbench.policies.model import Scaling
from maskbench.trajectory import TrajectorySpec

if TYPE_CHECKING:
    from maskbench.rollout.plan import PlanRow


class ActorPolicy:
    """Plays ``actor`` in many slots at once, on the latest ``timesteps`` states of each; the first state of an episode stands
    for those before it."""

    def __init__(self, actor: Actor, spec: TrajectorySpec, scaling: Scaling, num_slots: int, timesteps: int = 1) -> None:
        self.actor, self.scaling = actor, scaling
        self.state, self.action = spec.with_role("state")[0], spec.with_role("action")[0]
        self.device = next(actor.parameters()).device
        self.history = torch.zeros(num_slots, timesteps, *self.state.shape, device=self.device)
        self.fresh = np.ones(num_slots, bool)

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        self.fresh[slots] = True

    def act(self, observations: Mapping[str, np.ndarray], slots: np.ndarray) -> np.ndarray:
        """Actions ``(n, *shape)`` in the environment's units."""
        at = torch.as_tensor(slots, device=self.device)
        now = torch.as_tensor(np.asarray(observations[self.state.name]), dtype=torch.float32).to(self.device)
        now = self.scaling.apply(self.state.name, now)
        begun = torch.as_tensor(self.fresh[slots], device=self.device)
        self.history[at] = torch.cat([self.history[at, 1:], now[:, None]], 1)
        self.history[at[begun]] = now[begun][:, None].expand(-1, self.history.shape[1], *now.shape[1:])
        self.fresh[slots] = False
        with torch.no_grad():
            action = self.actor(self.history[at])[:, -1]
        return self.scaling.invert(self.action.name, action).float().cpu().numpy()

    def record(self, slots: np.ndarray, rewards: np.ndarray) -> None:
        return None
