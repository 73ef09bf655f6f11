"""Actor and twin critic of ExoRL's agents (MaskDP study 1.8): Linear-LayerNorm-Tanh, then Linear-ReLU-Linear."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Sizes:
    """Numbers in a state and in an action, and the width of the hidden layers."""

    state: int
    action: int
    hidden: int


def symlog(state: Tensor) -> Tensor:
    """Numbers of any size on the scale of ones: joint velocities in the tens no longer drown the posture."""
    return state.sign() * state.abs().log1p()


def orthogonal(module: nn.Module) -> None:
    """Orthogonal weights and zero biases for every Linear."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.orthogonal_(part.weight)
            nn.init.zeros_(part.bias)


class Actor(nn.Module):
    """States ``(B, S)`` to mean actions ``(B, A)`` in (-1, 1), float32.

    squash:    sees the ``symlog`` of states instead of raw ones.
    precision: bf16 multiplies the wide matrices in bfloat16; the last layer stays exact.
    """

    def __init__(self, sizes: Sizes, squash: bool = False, precision: str = "fp32") -> None:
        super().__init__()
        hidden, self._squash, self._bf16 = sizes.hidden, squash, precision == "bf16"
        self.body = nn.Sequential(
            nn.Linear(sizes.state, hidden), nn.LayerNorm(hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.last = nn.Linear(hidden, sizes.action)
        orthogonal(self)

    def forward(self, state: Tensor) -> Tensor:
        state = symlog(state) if self._squash else state
        with torch.autocast(state.device.type, torch.bfloat16, enabled=self._bf16):
            hidden = self.body(state)
        return torch.tanh(self.last(hidden.float()))


class TwinCritic(nn.Module):
    """States ``(B, S)`` and actions ``(B, A)`` to two values ``(2, B)``, float32: one trunk, two heads as one wide layer.

    norm:      LayerNorm inside of the heads too, before their ReLU, which keeps values from growing.
    squash:    sees the ``symlog`` of states instead of raw ones.
    precision: bf16 multiplies the wide matrices in bfloat16; the sum that makes a value, in the hundreds, stays exact.
    """

    def __init__(self, sizes: Sizes, norm: bool = False, squash: bool = False, precision: str = "fp32") -> None:
        super().__init__()
        hidden, self._squash, self._bf16 = sizes.hidden, squash, precision == "bf16"
        wide = nn.Linear(hidden, 2 * hidden)
        self.body = nn.Sequential(nn.Linear(sizes.state + sizes.action, hidden), nn.LayerNorm(hidden), nn.Tanh(), wide)
        self.norm = nn.LayerNorm(hidden) if norm else nn.Identity()
        self.last = nn.Parameter(torch.empty(2, hidden))
        self.bias = nn.Parameter(torch.zeros(2))
        orthogonal(self)
        with torch.no_grad():  # each head is initialised on its own, as two separate networks would be
            for i in range(2):
                nn.init.orthogonal_(wide.weight[i * hidden : (i + 1) * hidden])
                nn.init.orthogonal_(self.last[i : i + 1])

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        state = symlog(state) if self._squash else state
        with torch.autocast(state.device.type, torch.bfloat16, enabled=self._bf16):
            hidden = self.body(torch.cat((state, action), -1))
            hidden = torch.relu(self.norm(hidden.unflatten(-1, (2, -1))))
        return (hidden.float() * self.last).sum(-1).transpose(0, 1) + self.bias[:, None]  # (B, 2, H) -> (2, B)
