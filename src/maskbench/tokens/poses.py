"""Pose actions as classes, one per axis (VIMA spec 2.4).

An action joins four parts: where to pick (x, y), the gripper's rotation there (quaternion x, y, z, w), where to place, and the
rotation there; CoGeLoT keeps heights as well. Every axis is normalised to [0, 1] and cut into bins:

| axis   | range        | bins |
| ------ | ------------ | ---- |
| x      | [.25, .75] m | 50   |
| y      | [-.5, .5] m  | 100  |
| z      | [0, .32] m   | 50   |
| q      | [-1, 1]      | 50   |
| yaw    | one turn     | 72   |
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from maskbench.errors import ConfigError

#: ``vima`` as published: the class is the first edge of ``linspace(0, 1, n)`` that is not below the value, and class ``k``
#: means ``k / n``. ``centred`` cuts [0, 1] into ``n`` equal bins, and a class means the centre of its own.
Rule = Literal["vima", "centred"]
#: ``quat``: the four numbers of a quaternion as recorded. ``yaw``: the turn about the vertical alone, one class of 5 degrees.
Rotation = Literal["quat", "yaw"]

X, Y, Z = (0.25, 0.75), (-0.5, 0.5), (0.0, 0.32)
#: Classes of an axis.
BINS = {"x": 50, "y": 100, "z": 50, "q": 50, "yaw": 72}


@dataclass(frozen=True)
class PoseCodec:
    """Values ``(..., A)`` of actions to classes ``(..., H)`` and back.

    z: actions hold heights: A = 14 instead of 12 (with quaternions H = A).
    canonical: turns quaternions so that w >= 0 before they are cut: q and -q are one rotation. Published data hold both.
    """

    rule: Rule = "centred"
    rotation: Rotation = "quat"
    z: bool = False
    canonical: bool = True

    @property
    def width(self) -> int:
        """Numbers of an action."""
        return 14 if self.z else 12

    @property
    def axes(self) -> tuple[tuple[str, ...], ...]:
        """The classes of each of the four parts, in order."""
        position = ("x", "y", "z") if self.z else ("x", "y")
        turned = ("yaw",) if self.rotation == "yaw" else ("q",) * 4
        return (position, turned, position, turned)

    @property
    def bins(self) -> tuple[int, ...]:
        """Classes of every axis."""
        return tuple(BINS[a] for part in self.axes for a in part)

    @property
    def parts(self) -> tuple[slice, ...]:
        """Where the axes of each part lie among the classes."""
        stops = [0]
        for part in self.axes:
            stops.append(stops[-1] + len(part))
        return tuple(slice(a, b) for a, b in itertools.pairwise(stops))

    def normalise(self, actions: Tensor) -> Tensor:
        """``(..., A)`` in metres and quaternions to ``(..., H)`` on [0, 1], clipped."""
        if actions.shape[-1] != self.width:
            raise ConfigError(f"this codec reads actions of {self.width} numbers (z={self.z}); found {actions.shape[-1]}")
        position = 3 if self.z else 2
        columns = []
        for first in (0, position + 4):
            low, high = self._bounds(actions)
            columns.append((actions[..., first : first + position] - low) / (high - low))
            q = actions[..., first + position : first + position + 4]
            if self.rotation == "yaw":
                columns.append(torch.remainder(2 * torch.atan2(q[..., 2:3], q[..., 3:4]) / (2 * math.pi), 1.0))
            else:
                columns.append(((torch.where(q[..., 3:] < 0, -q, q) if self.canonical else q) + 1) / 2)
        return torch.cat(columns, -1).clamp(0, 1)

    def encode(self, actions: Tensor) -> Tensor:
        """``(..., A)`` to ``(..., H)`` int64."""
        return self.classes(self.normalise(actions))

    def classes(self, unit: Tensor) -> Tensor:
        """``(..., H)`` on [0, 1] to classes."""
        counts = self._counts(unit)
        if self.rule == "centred":
            whole = (unit * counts).floor()
            turn = torch.tensor([a == "yaw" for part in self.axes for a in part], device=unit.device)
            whole = torch.where(turn, torch.remainder((unit * counts).round(), counts), whole)  # 0 degrees is a centre
            return torch.minimum(whole, counts - 1).long()
        edges = [torch.linspace(0, 1, n, device=unit.device) for n in self.bins]
        columns = [torch.bucketize(u.contiguous(), e) for u, e in zip(unit.unbind(-1), edges, strict=True)]
        return torch.stack(columns, -1)

    def values(self, classes: Tensor) -> Tensor:
        """``(..., H)`` on [0, 1] that classes mean; what models read of earlier actions."""
        counts = self._counts(classes)
        shift = torch.tensor(
            [0.5 if self.rule == "centred" and a != "yaw" else 0.0 for part in self.axes for a in part], device=classes.device
        )
        return (classes + shift) / counts

    def decode(self, classes: Tensor) -> Tensor:
        """``(..., H)`` to ``(..., A)`` float32 within bounds. Quaternions are of unit length under ``centred`` only."""
        unit = self.values(classes).float()
        low, high = self._bounds(unit)
        columns = []
        for place, turn in ((self.parts[0], self.parts[1]), (self.parts[2], self.parts[3])):
            columns.append(unit[..., place] * (high - low) + low)
            if self.rotation == "yaw":
                half = unit[..., turn] * math.pi
                zero = torch.zeros_like(half)
                columns.append(torch.cat([zero, zero, half.sin(), half.cos()], -1))
            else:
                q = unit[..., turn] * 2 - 1
                columns.append(q if self.rule == "vima" else q / q.norm(dim=-1, keepdim=True).clamp(min=1e-6))
        return torch.cat(columns, -1)

    def _bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        table = torch.tensor((X, Y, Z) if self.z else (X, Y), dtype=torch.float32, device=like.device)
        return table[:, 0], table[:, 1]

    def _counts(self, like: Tensor) -> Tensor:
        return torch.tensor(self.bins, dtype=torch.float32, device=like.device)
