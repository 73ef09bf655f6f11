"""D4RL's waypoint controller: plan once from cell to cell, then push towards one waypoint after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskbench.envs.maze2d.mazes import Maze

#: The next waypoint is driven to once this close to the current one.
ARRIVED = 0.1
#: A waypoint on the way lies up to this much before its cell's number on either axis, where the cell's centre is 0.2 before.
JITTER = 0.2


class WaypointController:
    """Drives ``n`` balls, each along a plan of its own (unimask.md section 4.2).

    Waypoints are the cells of a shortest path, each moved by ``-U(0, 0.2)`` per axis, and the goal itself at its end. The force
    is ``clip(gain (waypoint - position) - damping velocity, -1, 1)``.

    rows: ``(n, 6)`` position, velocity and goal that the plans begin with.
    rngs: one generator a ball; it draws the waypoints' jitter.
    """

    def __init__(
        self, maze: Maze, rows: np.ndarray, rngs: Sequence[np.random.Generator], gain: float = 10.0, damping: float = 1.0
    ) -> None:
        self.gain, self.damping = gain, damping
        plans = []
        for row, rng in zip(rows, rngs, strict=True):
            between = maze.path(maze.cell(row[:2]), maze.cell(row[4:]))[:-1]
            plans.append(np.concatenate((between - rng.uniform(0.0, JITTER, between.shape), row[None, 4:])))
        self.last = np.array([len(plan) - 1 for plan in plans])
        #: ``(n, longest, 2)``; a shorter plan stays at its goal.
        self.plans = np.stack([np.pad(plan, ((0, self.last.max() + 1 - len(plan)), (0, 0)), "edge") for plan in plans])
        self.at = np.zeros(len(plans), np.int64)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """``(n, 2)`` float64 forces for the current rows ``(n, 6)``, which must be asked for once a step."""
        gap = self.plans[np.arange(len(rows)), self.at] - rows[:, :2]
        self.at = np.minimum(self.at + (np.linalg.norm(gap, axis=1) < ARRIVED), self.last)
        return np.clip(self.gain * gap - self.damping * rows[:, 2:4], -1.0, 1.0)
