"""Block push from above, without OpenGL."""

from __future__ import annotations

import numpy as np

from maskbench.envs.blockpush.layout import HIGH, LOW
from maskbench.envs.blockpush.rules import TOLERANCE
from maskbench.envs.blockpush.world import BLOCK_SIDE
from maskbench.envs.raster import Canvas, Colour

TABLE: Colour = (243, 241, 236)
EDGE: Colour = (206, 202, 194)
BLOCKS: tuple[Colour, Colour] = ((214, 66, 58), (52, 152, 86))
ROD: Colour = (44, 52, 72)
WIDTH, MARGIN = 320, 0.04  # pixels, metres


def draw(zones: np.ndarray, blocks: np.ndarray, rod: tuple[float, ...]) -> np.ndarray:
    """``(186, 320, 3)`` uint8, the workspace and a margin: y runs to the right, x downwards.

    zones, blocks: ``(2, 3)`` poses, red before green. rod: ``(x, y)``, drawn thicker than it is.
    """
    (low_x, low_y), (high_x, high_y) = LOW, HIGH
    view = high_y - low_y + 2 * MARGIN
    canvas = Canvas(WIDTH, (low_y - MARGIN, low_x - MARGIN), view, EDGE)
    canvas.box(low_y, low_x, high_y, high_x, TABLE)
    for (x, y, _), colour in zip(zones.tolist(), BLOCKS, strict=True):
        canvas.disc(y, x, TOLERANCE, _mixed(colour, TABLE, 0.72))
        canvas.ring(y, x, TOLERANCE, 0.005, colour)
    for (x, y, yaw), colour in zip(blocks.tolist(), BLOCKS, strict=True):
        canvas.square(y, x, BLOCK_SIDE, -yaw, _mixed(colour, (0, 0, 0), 0.35))
        canvas.square(y, x, 0.8 * BLOCK_SIDE, -yaw, colour)
    canvas.disc(rod[1], rod[0], 0.015, TABLE)
    canvas.disc(rod[1], rod[0], 0.012, ROD)
    height = 2 * round((high_x - low_x + 2 * MARGIN) * canvas.scale / 2)
    return canvas.image()[:height]


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """``colour`` with ``share`` of ``other`` in it."""
    r, g, b = (round((1 - share) * a + share * o) for a, o in zip(colour, other, strict=True))
    return r, g, b
