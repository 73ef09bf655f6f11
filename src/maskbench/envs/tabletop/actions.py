"""Actions as the benchmark has them: two positions and two quaternions, 12 numbers (VIMA specification 1.2, 2.4)."""

from __future__ import annotations

import numpy as np

from maskbench.envs.tabletop.kinematics import Action
from maskbench.envs.tabletop.scene import HIGH, LOW, Pose
from maskbench.errors import EnvError

#: Columns of a flat action: positions (x, y) in metres, quaternions (x, y, z, w), as in released trajectories without heights.
PARTS = (("pose0_position", 0, 2), ("pose0_rotation", 2, 6), ("pose1_position", 6, 8), ("pose1_rotation", 8, 12))
WIDTH = 12
LOWEST = np.array([*LOW, -1, -1, -1, -1] * 2, np.float32)
HIGHEST = np.array([*HIGH, 1, 1, 1, 1] * 2, np.float32)

#: Moves nothing: what is picked is put back where it was, and a push of no length is none.
NOTHING = np.array([*LOW, 0, 0, 0, 1] * 2, np.float32)


def decode(action: np.ndarray) -> Action:
    """A flat action ``(12,)`` with positions cut to the workspace.

    A quaternion need not have unit length, since published bins do not keep it; only its turn about the vertical counts, and
    a zero one turns nothing. Raises EnvError for other shapes and for numbers that are not finite.
    """
    flat = np.asarray(action, np.float64)
    if flat.shape != (WIDTH,) or not np.isfinite(flat).all():
        raise EnvError(f"'tabletop' takes {WIDTH} finite numbers; found {action!r}")
    poses = []
    for start in (0, 6):
        x, y = np.clip(flat[start : start + 2], LOW, HIGH)
        z, w = flat[start + 4 : start + 6]
        poses.append(Pose(float(x), float(y), 2 * float(np.arctan2(z, w)) if z or w else 0.0))
    return Action(*poses)


def encode(action: Action) -> np.ndarray:
    """``(12,)`` float32 inside of the bounds, with ``w >= 0``; the inverse of ``decode``."""
    columns: list[float] = []
    for pose in (action.pose0, action.pose1):
        half = ((pose.yaw + np.pi) % (2 * np.pi) - np.pi) / 2
        columns += [*np.clip(pose[:2], LOW, HIGH), 0.0, 0.0, float(np.sin(half)), float(np.cos(half))]
    return np.clip(np.array(columns, np.float32), LOWEST, HIGHEST)
