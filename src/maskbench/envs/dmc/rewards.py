"""Task rewards of walker, cheetah and quadruped, as functions of a few features of the simulator state.

The same function serves one state (floats) and many (arrays), so a stored episode is relabelled for another task by one
vectorised call. Formulas: MaskDP study 4.2; the flip, stand, jump and roll tasks are those of the ExoRL collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

#: Maps features (floats, or arrays of one shape) to a reward in [0, 1] of that shape.
Reward = Callable[..., Any]


def ramp(x: Any, target: float, margin: float, at_margin: float) -> Any:
    """1 from ``target`` on, falling linearly to ``at_margin`` one ``margin`` below it and on to 0."""
    return np.minimum(1.0, np.maximum(0.0, 1.0 - (1.0 - at_margin) * (target - x) / margin))


def bell(x: Any, target: float, margin: float, at_margin: float = 0.1) -> Any:
    """1 from ``target`` on, falling as a Gaussian that is ``at_margin`` one ``margin`` below it."""
    return at_margin ** np.square(np.maximum(0.0, target - x) / margin)


def _walker_stand(height: Any, upright: Any, speed: Any, spin: Any) -> Any:
    return (3.0 * bell(height, 1.2, 0.6) + (1.0 + upright) / 2.0) / 4.0


def _walker_move(target: float) -> Reward:
    def reward(height: Any, upright: Any, speed: Any, spin: Any) -> Any:
        return _walker_stand(height, upright, speed, spin) * (5.0 * ramp(speed, target, target / 2.0, 0.5) + 1.0) / 6.0

    return reward


def _walker_flip(height: Any, upright: Any, speed: Any, spin: Any) -> Any:
    return _walker_stand(height, upright, speed, spin) * (5.0 * ramp(spin, 5.0, 5.0, 0.0) + 1.0) / 6.0


def _level(upright: Any) -> Any:
    return ramp(upright, 1.0, 2.0, 0.0)


def _quadruped_move(target: float) -> Reward:
    return lambda upright, vx, vy, vz, height: _level(upright) * ramp(vx, target, target, 0.5)


def _quadruped_roll(target: float) -> Reward:
    return lambda upright, vx, vy, vz, height: _level(upright) * ramp(np.sqrt(vx * vx + vy * vy + vz * vz), target, target, 0.5)


#: Features: torso height (m), torso zz, torso subtree's x velocity (m/s) and y angular momentum.
WALKER: Mapping[str, Reward] = {
    "stand": _walker_stand,
    "walk": _walker_move(1.0),
    "run": _walker_move(8.0),
    "flip": _walker_flip,
}

#: Features: torso subtree's x velocity (m/s) and y angular momentum.
CHEETAH: Mapping[str, Reward] = {
    "run": lambda speed, spin: ramp(speed, 10.0, 10.0, 0.0),
    "run_backward": lambda speed, spin: ramp(-speed, 10.0, 10.0, 0.0),
    "flip": lambda speed, spin: ramp(spin, 5.0, 5.0, 0.0),
    "flip_backward": lambda speed, spin: ramp(-spin, 5.0, 5.0, 0.0),
}

#: Features: torso zz, torso velocity in its own frame (3, m/s), height of the centre of mass (m).
QUADRUPED: Mapping[str, Reward] = {
    "stand": lambda upright, vx, vy, vz, height: _level(upright),
    "walk": _quadruped_move(0.5),
    "run": _quadruped_move(5.0),
    "jump": lambda upright, vx, vy, vz, height: _level(upright) * ramp(height, 1.0, 1.0, 0.5),
    "roll": _quadruped_roll(0.5),
    "roll_fast": _quadruped_roll(5.0),
}
