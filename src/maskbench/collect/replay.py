"""Finished episodes of a learning agent, sampled as n-step transitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maskbench.trajectory import Episode


@dataclass(frozen=True)
class Transitions:
    """``B`` transitions over ``n`` decisions.

    state, next_state: ``(B, S)``; action: ``(B, A)``; reward: ``(B,)``, the discounted sum; discount: gamma ** n.
    """

    state: Tensor
    action: Tensor
    reward: Tensor
    next_state: Tensor
    discount: float


class Replay:
    """The newest ``capacity`` episodes of ``steps`` environment steps each, in arrays allocated once.

    repeat: environment steps per decision. Only every ``repeat``-th state is one in which the agent decided; its reward is
            the sum of those earned until the next.
    nstep, gamma: of the sampled transitions, both in decisions.
    Nothing terminates these tasks: the end of an episode is a cut, so transitions end inside of it.
    """

    def __init__(
        self,
        capacity: int,
        steps: int,
        state_size: int,
        action_size: int,
        *,
        repeat: int = 1,
        nstep: int = 3,
        gamma: float = 0.99,
    ) -> None:
        decisions = steps // repeat
        self.repeat, self.nstep, self.discount = repeat, nstep, gamma**nstep
        self.states = torch.zeros(capacity, decisions + 1, state_size)
        self.actions = torch.zeros(capacity, decisions + 1, action_size)
        self.rewards = torch.zeros(capacity, decisions + 1)
        self._steps = torch.arange(nstep)
        self._gammas = gamma ** self._steps.float()
        self.added = 0

    def __len__(self) -> int:
        """Episodes held."""
        return min(self.added, len(self.states))

    def add(self, episode: Episode) -> None:
        """Keeps a finished episode in place of the oldest; values ``state``, ``action``, ``reward`` and the final state."""
        slot, k = self.added % len(self.states), self.repeat
        values = episode.values
        decisions = self.states.shape[1] - 1
        self.states[slot, :decisions] = torch.from_numpy(values["state"][::k])
        self.states[slot, decisions] = torch.from_numpy(episode.final["state"])
        self.actions[slot, :decisions] = torch.from_numpy(values["action"][::k])
        earned = np.asarray(values["reward"], np.float32).reshape(decisions, k).sum(1)
        self.rewards[slot, :decisions] = torch.from_numpy(earned)
        self.added += 1

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Transitions:
        """``batch`` transitions, episodes and times uniform with replacement."""
        rows = self.states.shape[1]
        times = rows - self.nstep  # first decisions from which nstep of them remain
        drawn = torch.randint(len(self) * times, (batch,), generator=generator)
        first = drawn // times * rows + drawn % times
        rewards = self.rewards.view(-1)[first[:, None] + self._steps]  # (B, n)
        return Transitions(
            state=self.states.view(-1, self.states.shape[2]).index_select(0, first),
            action=self.actions.view(-1, self.actions.shape[2]).index_select(0, first),
            reward=rewards @ self._gammas,
            next_state=self.states.view(-1, self.states.shape[2]).index_select(0, first + self.nstep),
            discount=self.discount,
        )
