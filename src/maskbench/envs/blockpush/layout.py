"""Where blocks, zones and the effector begin (specification of BeT, section 2.2). Lengths in metres, angles in radians."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: The effector's first commanded position, and the box that commanded positions are cut to: ``(x, y)`` each.
START = (0.3, -0.4)
LOW, HIGH = (0.15, -0.5), (0.7, 0.5)

_CENTRE_X = 0.4
_BLOCK_Y, _BLOCK_SPREAD, _BLOCK_GAP = -0.2, (0.1, 0.15), 0.1
_ZONE_Y, _ZONE_APART, _ZONE_SPREAD, _ZONE_TURN = 0.2, 0.12, (0.005, 0.0075), math.pi / 30


@dataclass(frozen=True)
class Layout:
    """blocks, zones: ``(2, 3)`` float64 poses ``(x, y, yaw)``, red before green; yaw in (-pi, pi]."""

    blocks: np.ndarray
    zones: np.ndarray


def draw_layout(rng: np.random.Generator, min_yaw: float = 0.0) -> Layout:
    """A random start: blocks at y = -0.2 +- 0.15 whose x differ by more than 0.1, zones at y = 0.2 in either order.

    The second block's x is drawn from what the first one leaves of [0.3, 0.5]: the law of drawing until it fits, without
    the loop. Zones face pi +- pi/30, which wraps to both ends of (-pi, pi], as in the original.
    """
    wide, tall = _BLOCK_SPREAD
    low, high = _CENTRE_X - wide, _CENTRE_X + wide
    first = rng.uniform(low, high)
    second = rng.uniform(first + _BLOCK_GAP, high) if first < _CENTRE_X else rng.uniform(low, first - _BLOCK_GAP)
    blocks = np.empty((2, 3))
    blocks[:, 0] = first, second
    blocks[:, 1] = _BLOCK_Y + rng.uniform(-tall, tall, 2)
    blocks[:, 2] = rng.uniform(min_yaw, math.pi, 2)

    side = _ZONE_APART * rng.choice((-1.0, 1.0))
    wide, tall = _ZONE_SPREAD
    zones = np.empty((2, 3))
    zones[:, 0] = _CENTRE_X + np.array((side, -side)) + rng.uniform(-wide, wide, 2)
    zones[:, 1] = _ZONE_Y + rng.uniform(-tall, tall, 2)
    turned = math.pi + rng.uniform(-_ZONE_TURN, _ZONE_TURN, 2)
    zones[:, 2] = np.where(turned > math.pi, turned - 2 * math.pi, turned)
    return Layout(blocks, zones)
