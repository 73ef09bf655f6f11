"""The scripted expert of block push: brings one block to a zone, returns the way it came, then brings the other one."""

from __future__ import annotations

import cmath
import math
from enum import Enum, auto

import numpy as np

from maskbench.errors import ConfigError, did_you_mean

#: What an episode of the expert follows, as ``route:`` events spell it: (block, zone), then the others. Equally likely.
_ORDERS = {
    "red-red>green-green": ((0, 0), (1, 1)),
    "red-green>green-red": ((0, 1), (1, 0)),
    "green-red>red-green": ((1, 0), (0, 1)),
    "green-green>red-red": ((1, 1), (0, 0)),
}
MODES = tuple(_ORDERS)

#: Control steps a second; speeds below are metres a second.
_RATE = 10.0
_TRAVEL, _PUSH, _TURN = 0.3, 0.35, 0.15
#: Positions count as reached within this (m); the first block is left where it is this close to its zone's centre.
_REACHED, _DELIVERED = 1e-3, 0.04
#: Angles (rad): a block this far off its heading is turned until this close to it; the rod leads by so much on its circle.
_ASKEW, _STRAIGHT, _LEAD = 0.2, 0.03, 0.2


class _Phase(Enum):
    PRE = auto()
    RETURN = auto()
    HOME = auto()
    APPROACH = auto()
    PUSH = auto()
    LEFT = auto()
    RIGHT = auto()


class Oracle:
    """One episode of the expert (IBC's oriented push oracle with BeT's orders; specification of BeT, section 2.2).

    mode:  one of ``MODES``.
    noise: standard deviation (m) of Gaussian noise on each displacement, before it is cut to the phase's speed. Positions
           then count as reached within twice as much: the original keeps to 1 mm and, from 4 mm of noise on, seldom ends.

    Points are complex numbers ``x + iy``. Raises ConfigError for an unknown mode.
    """

    def __init__(self, mode: str, noise: float = 0.0, rng: np.random.Generator | None = None) -> None:
        if mode not in _ORDERS:
            raise ConfigError(f"block push has no mode '{mode}'. {did_you_mean(mode, MODES)}")
        if noise and rng is None:
            raise ConfigError("a noisy oracle draws from a generator: pass rng=")
        (self._block, self._zone), self._others = _ORDERS[mode]
        self._noise, self._rng = noise, rng
        self._near = max(_REACHED, 2 * noise)
        self._phase = _Phase.PRE
        self._switched = False
        self._origin: complex | None = None
        self._first_pre: complex | None = None

    def act(self, state: np.ndarray) -> np.ndarray:
        """Displacement ``(2,)`` float32 of the commanded effector position, from the observation ``(16,)``."""
        at = state.tolist()
        rod = complex(at[8], at[9])
        block, zone, yaw = self._pair(at)
        if not self._switched and abs(zone - block) < _DELIVERED:
            self._block, self._zone = self._others
            self._switched, self._phase = True, _Phase.RETURN
            block, zone, yaw = self._pair(at)
        if self._origin is None:
            self._origin = rod

        delta, speed = self._move(rod, block, _unit(zone - block), yaw)
        if self._noise and self._rng is not None:
            delta += complex(*(self._noise * self._rng.standard_normal(2)))
        longest = speed / _RATE
        if abs(delta) > longest:
            delta *= longest / abs(delta)
        return np.array((delta.real, delta.imag), np.float32)

    def _pair(self, at: list[float]) -> tuple[complex, complex, float]:
        """The block in hand, its zone, and the block's yaw."""
        block, zone = 3 * self._block, 10 + 3 * self._zone
        return complex(at[block], at[block + 1]), complex(at[zone], at[zone + 1]), at[block + 2]

    def _move(self, rod: complex, block: complex, ahead: complex, yaw: float) -> tuple[complex, float]:
        """Displacement and speed limit. Phases are tried in this order; one that ends hands over within the same step."""
        error = math.remainder(cmath.phase(ahead) - yaw, math.pi / 2)  # a square looks the same four times a turn
        delta, speed = 0j, _PUSH
        if self._phase is _Phase.PRE:
            delta, speed = block - 0.05 * ahead - rod, _TRAVEL
            if abs(delta) < self._near:
                self._phase = _Phase.APPROACH
                self._first_pre = self._first_pre or block - 0.05 * ahead
        if self._phase is _Phase.RETURN:
            delta, speed = (self._first_pre or self._origin or rod) - rod, _TRAVEL
            if abs(delta) < self._near:
                self._phase = _Phase.HOME
        if self._phase is _Phase.HOME:
            delta, speed = (self._origin or rod) - rod, _TRAVEL
            if abs(delta) < self._near:
                self._phase = _Phase.PRE
        if self._phase is _Phase.APPROACH:
            delta, speed = block - 0.03 * ahead - rod, _PUSH
            if abs(delta) < self._near:
                self._phase = _Phase.PUSH
            if abs(error) > _ASKEW:
                self._phase = _Phase.LEFT if error > 0 else _Phase.RIGHT
        if self._phase is _Phase.PUSH:
            delta, speed = block - 0.01 * ahead - rod, _PUSH
            if abs(error) > _ASKEW:
                self._phase = _Phase.PRE
        if self._phase in (_Phase.LEFT, _Phase.RIGHT):
            turn = 1.0 if self._phase is _Phase.LEFT else -1.0
            delta, speed = block + 0.025 * _unit(rod - block) * cmath.exp(1j * turn * _LEAD) - rod, _TURN
            if turn * error < _STRAIGHT:
                self._phase = _Phase.PRE
        return delta, speed


def _unit(z: complex) -> complex:
    return z / abs(z) if z else 1 + 0j
