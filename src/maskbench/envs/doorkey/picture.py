"""A picture of the key-door gridworld."""

from __future__ import annotations

import numpy as np

from maskbench.envs.doorkey.world import World
from maskbench.envs.raster import Canvas, Colour

SIZE = 160
FLOOR: Colour = (246, 244, 240)
GRID: Colour = (220, 216, 208)
WALL: Colour = (84, 90, 102)
GOAL: Colour = (88, 178, 108)
DOOR: Colour = (204, 62, 62)
GOLD: Colour = (242, 183, 5)
INK: Colour = (52, 42, 8)
AGENT: Colour = (48, 104, 214)
WHITE: Colour = (255, 255, 255)


def draw(tables: World, joint: int) -> np.ndarray:
    """``(160, 160, 3)`` uint8 picture of one joint state: walls, goal, door (a slab once open), key and agent."""
    size, wall_x = tables.size, tables.wall_x
    canvas = Canvas(SIZE, (0.0, 0.0), size + 2, WALL)
    canvas.box(1, 1, size + 1, size + 1, FLOOR)
    for k in range(2, size + 1):
        canvas.box(k - 0.02, 1, k + 0.02, size + 1, GRID)
        canvas.box(1, k - 0.02, size + 1, k + 0.02, GRID)
    canvas.box(wall_x, 1, wall_x + 1, size + 1, WALL)
    canvas.box(size, size, size + 1, size + 1, GOAL)
    canvas.ring(size + 0.5, size + 0.5, 0.33, 0.09, WHITE)
    canvas.disc(size + 0.5, size + 0.5, 0.13, WHITE)
    _door(canvas, wall_x, bool(tables.open[joint]))
    x, y = divmod(int(tables.agent[joint]), size)
    if not tables.held[joint]:
        key_x, key_y = divmod(int(tables.key[joint]), size)
        _key(canvas, key_x + 1.5, key_y + 1.5, 1.0)
    canvas.disc(x + 1.5, y + 1.5, 0.38, AGENT)
    if tables.held[joint]:
        _key(canvas, x + 1.5, y + 1.5, 0.75)
    else:
        for eye in (1.37, 1.63):
            canvas.disc(x + eye, y + 1.42, 0.08, WHITE)
    return canvas.image()


def _door(canvas: Canvas, x: float, is_open: bool) -> None:
    if is_open:
        canvas.box(x, 1, x + 1, 2, FLOOR)
        canvas.box(x, 1, x + 1, 1.14, DOOR)
        return
    canvas.box(x, 1, x + 1, 2, DOOR)
    canvas.box(x + 0.12, 1.12, x + 0.88, 1.88, (226, 104, 96))
    canvas.disc(x + 0.7, 1.5, 0.09, GOLD)


def _key(canvas: Canvas, x: float, y: float, scale: float) -> None:
    """A key that lies along the x axis, its ring on the left; dark outline first, gold on top."""

    def at(dx: float, dy: float) -> tuple[float, float]:
        return x + dx * scale, y + dy * scale

    for extra, colour in ((0.07, INK), (0.0, GOLD)):
        canvas.ring(*at(-0.17, 0), 0.14 * scale, (0.09 + extra) * scale, colour)
        canvas.line([at(-0.03, 0), at(0.34, 0)], (0.09 + extra) * scale, colour)
        for tooth in (0.2, 0.33):
            canvas.line([at(tooth, 0), at(tooth, 0.13)], (0.08 + extra) * scale, colour)
