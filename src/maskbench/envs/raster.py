"""Anti-aliased shapes on a small numpy picture: enough to draw the toy worlds without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Colour = tuple[int, int, int]


class Canvas:
    """A picture of ``size`` x ``size`` pixels that shows the square of world side ``view`` from ``origin``.

    x grows to the right, y downwards, or upwards with ``flip``. Lengths are in world units throughout.
    """

    def __init__(self, size: int, origin: tuple[float, float], view: float, background: Colour, flip: bool = False) -> None:
        self.view = view
        self.scale = size / view
        centres = (np.arange(size, dtype=np.float32) + 0.5) / self.scale
        rows = centres[::-1] if flip else centres
        self._x = (origin[0] + centres)[None, :].astype(np.float32)
        self._y = (origin[1] + rows)[:, None].astype(np.float32)
        self._pixels = np.broadcast_to(np.asarray(background, np.float32), (size, size, 3)).copy()

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self._blend(np.hypot(self._x - x, self._y - y) - radius, colour)

    def ring(self, x: float, y: float, radius: float, width: float, colour: Colour) -> None:
        self._blend(np.abs(np.hypot(self._x - x, self._y - y) - radius) - width / 2, colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, opacity: float = 1.0) -> None:
        self._blend(np.maximum(np.maximum(x0 - self._x, self._x - x1), np.maximum(y0 - self._y, self._y - y1)), colour, opacity)

    def square(self, x: float, y: float, side: float, angle: float, colour: Colour) -> None:
        """A square whose sides are turned by ``angle`` (rad) against the axes."""
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dx, dy = self._x - x, self._y - y
        self._blend(np.maximum(np.abs(cos * dx + sin * dy), np.abs(cos * dy - sin * dx)) - side / 2, colour)

    def line(self, points: Sequence[Sequence[float]] | np.ndarray, width: float, colour: Colour) -> None:
        """Round-ended strokes through ``points`` (at least two)."""
        distance = np.full(self._pixels.shape[:2], np.inf, np.float32)
        for (x0, y0), (x1, y1) in pairwise(points):
            dx, dy = x1 - x0, y1 - y0
            along = ((self._x - x0) * dx + (self._y - y0) * dy) / max(dx * dx + dy * dy, 1e-12)
            along = np.clip(along, 0, 1)
            distance = np.minimum(distance, np.hypot(self._x - x0 - along * dx, self._y - y0 - along * dy))
        self._blend(distance - width / 2, colour)

    def image(self) -> np.ndarray:
        """The picture so far, ``(size, size, 3)`` uint8."""
        return np.asarray(np.rint(self._pixels), np.uint8)

    def _blend(self, distance: np.ndarray, colour: Colour, opacity: float = 1.0) -> None:
        """Paints where the signed ``distance`` to the shape's edge is negative; the edge itself fades over one pixel."""
        alpha = opacity * np.clip(0.5 - distance * self.scale, 0, 1)[..., None]
        self._pixels += alpha * (np.asarray(colour, np.float32) - self._pixels)
