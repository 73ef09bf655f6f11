"""Actions as the benchmark has them: two positions and two quaternions, 12 numbers (VIMA specification 1.2, 2.4)."""

from __future__ import annotations

import numpy as np

from maskbench.envs.tabletop.kinematics import Action
from maskbench.envs.tabletop.scene import HIGH, LOW, Pose
from maskbench.errors import EnvError

#: Columns of a flat action, each between -1 and 1: positions from the lower to the upper bound, quaternions (x, y, z, w) as they are.
PARTS = (("pose0_position", 0, 2), ("pose0_rotation", 2, 6), ("pose1_position", 6, 8), ("pose1_rotation", 8, 12))
WIDTH = 12


def decode(action: np.ndarray) -> Action:
    """A flat action ``(12,)`` with positions cut to the workspace. A quaternion need not have unit length; that of a pose which is
    not turned about the vertical, or zero, means no yaw. Raises EnvError for other shapes and for numbers that are not finite."""
    flat = np.asarray(action, np.float64)
    if flat.shape != (WIDTH,) or not np.isfinite(flat).all():
        raise EnvError(f"'tabletop' takes {WIDTH} finite numbers; found {action!r}")
    poses = []
    for start in (0, 6):
        x, y = LOW + (np.clip(flat[start : start + 2], -1, 1) + 1) / 2 * (HIGH - LOW)
        z, w = flat[start + 4 : start + 6]
        poses.append(Pose(float(x), float(y), 2 * float(np.arctan2(z, w)) if z or w else 0.0))
    return Action(*poses)


def encode(action: Action) -> np.ndarray:
    """``(12,)`` float32 with ``w >= 0``; the inverse of ``decode``."""
    columns: list[float] = []
    for pose in (action.pose0, action.pose1):
        position = (np.array(pose[:2]) - LOW) / (HIGH - LOW) * 2 - 1
        yaw = (pose.yaw + np.pi) % (2 * np.pi) - np.pi
        columns += [*np.clip(position, -1, 1), 0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2))]
    return np.array(columns, np.float32)


def from_poses(parts: dict[str, np.ndarray]) -> np.ndarray:
    """``(12,)`` from the benchmark's four arrays; positions in metres, of which a third number (z) is dropped."""
    columns = []
    for name, _, _ in PARTS:
        value = np.asarray(parts[name], np.float64)
        columns.append((value[:2] - LOW) / (HIGH - LOW) * 2 - 1 if name.endswith("position") else value)
    return np.concatenate(columns).astype(np.float32)


def to_poses(action: np.ndarray) -> dict[str, np.ndarray]:
    """The benchmark's four float32 arrays from ``(12,)``; positions in metres."""
    found = {}
    for name, a, b in PARTS:
        value = np.asarray(action[a:b], np.float64)
        found[name] = (LOW + (value + 1) / 2 * (HIGH - LOW) if name.endswith("position") else value).astype(np.float32)
    return found
