"""A maze, its goal and a way through it as pixels, from numpy alone."""

from __future__ import annotations

import numpy as np

from maskbench.envs.maze2d.mazes import TO_EDGE, Maze

_WALL, _FLOOR, _GOAL, _BALL = (58, 66, 84), (244, 243, 239), (120, 190, 130), (214, 76, 60)
_OLD, _NEW = np.array((176, 200, 226)), np.array((48, 98, 176))


def draw(maze: Maze, goal: np.ndarray, trail: np.ndarray, goal_radius: float, scale: int) -> np.ndarray:
    """``(H * scale, W * scale, 3)`` uint8: rows run down, columns right.

    goal:  ``(2,)`` centre of the goal region.
    trail: ``(n, 2)`` positions so far, oldest first; the ball is drawn at the last one, of its true radius 0.1 or 2 pixels.
    """
    wall = np.kron(maze.walls, np.ones((scale, scale), bool))[..., None]
    image = np.where(wall, np.array(_WALL, np.float64), np.array(_FLOOR, np.float64))
    _disc(image, goal, goal_radius, scale, _GOAL, keep=wall[..., 0])
    _line(image, trail, scale)
    _disc(image, trail[-1], max(0.1, 2.0 / scale), scale, _BALL)
    return image.round().astype(np.uint8)


def _line(image: np.ndarray, trail: np.ndarray, scale: int) -> None:
    """Draws the way so far two pixels wide, fading into the past. A step is at most 0.05 long: four marks each leave no gap."""
    marks = np.linspace(0.0, 1.0, 4 * len(trail))
    at = marks * (len(trail) - 1)
    way = np.stack([np.interp(at, np.arange(len(trail)), axis) for axis in trail.T], -1)
    corner = np.clip(((way + TO_EDGE) * scale).astype(np.int64), 1, np.array(image.shape[:2]) - 1)
    colours = (1.0 - marks)[:, None] * _OLD + marks[:, None] * _NEW
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        image[corner[:, 0] - down, corner[:, 1] - right] = colours


def _disc(
    image: np.ndarray, centre: np.ndarray, radius: float, scale: int, colour: tuple[int, ...], keep: np.ndarray | None = None
) -> None:
    """Blends a disc with a soft edge of one pixel into ``image``, sparing the pixels of ``keep``."""
    middle = (np.asarray(centre) + TO_EDGE) * scale - 0.5
    grid = np.ogrid[: image.shape[0], : image.shape[1]]
    distance = np.hypot(grid[0] - middle[0], grid[1] - middle[1])
    cover = np.clip(radius * scale - distance + 0.5, 0.0, 1.0)
    if keep is not None:
        cover[keep] = 0.0
    image += cover[..., None] * (np.array(colour) - image)
