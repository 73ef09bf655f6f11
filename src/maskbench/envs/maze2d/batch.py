"""Many balls in lock step, and one of them as a ``gymnasium.Env``: what all tasks in a maze share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from maskbench.envs.base import BatchEnv, Observation, Start, StepBatch
from maskbench.envs.maze2d.physics import PointMasses
from maskbench.envs.maze2d.picture import draw
from maskbench.envs.single import SingleEnv
from maskbench.errors import EnvError

if TYPE_CHECKING:
    from maskbench.envs.maze2d.family import MazeFamily


class MazeBatch(BatchEnv):
    """``num_slots`` balls. A slot continues from its row of ``physics`` bit for bit, with the step count at 0.

    Raises MissingExtraError where mujoco is not installed. Pictures need no OpenGL.
    """

    def __init__(self, family: MazeFamily, num_slots: int) -> None:
        self.num_slots = num_slots
        self._family = family
        self._columns = list(family.observed)
        self._balls = PointMasses(family.maze, num_slots)
        self._goals = np.zeros((num_slots, 2))
        self._distance = np.zeros(num_slots)
        self._steps = np.full(num_slots, -1)
        self._reached = np.zeros(num_slots, bool)
        self._trail = np.zeros((num_slots, family.horizon + 1, 2))

    def reset(self, slots: Sequence[int], seeds: Sequence[int], starts: Sequence[Start | None] | None = None) -> Observation:
        rows = np.asarray(slots, np.int64)
        for i, slot in enumerate(rows):
            start = None if starts is None else starts[i]
            row = self._family.start(int(seeds[i])) if start is None else self._checked(start.simulator)
            self._balls.states[slot], self._goals[slot] = row[:4], row[4:]
        self._distance[rows] = self._distances(rows)
        self._steps[rows], self._reached[rows] = 0, False
        self._trail[rows, 0] = self._balls.states[rows, :2]
        return self._observe(rows)

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        rows, forces = np.asarray(slots, np.int64), np.asarray(actions)
        if forces.shape != (len(rows), 2) or not np.isfinite(forces).all():
            raise EnvError(f"'{self._family.name}' takes 2 finite forces for each of {len(rows)} slots; found {actions}")
        if (self._steps[rows] < 0).any():
            raise EnvError(f"'{self._family.name}' must be reset before its first step")
        self._balls.step(rows, forces)
        self._steps[rows] += 1
        self._trail[rows, np.minimum(self._steps[rows], self._family.horizon)] = self._balls.states[rows, :2]
        before, after = self._distance[rows], self._distances(rows)
        inside = after <= self._family.goal_radius
        first = inside & ~self._reached[rows]
        self._distance[rows] = after
        self._reached[rows] |= inside
        return StepBatch(
            observation=self._observe(rows),
            reward=self._family.reward(before, after).astype(np.float32),
            terminated=np.zeros(len(rows), bool),
            truncated=self._steps[rows] >= self._family.horizon,
            events=tuple(("goal",) if f else () for f in first.tolist()),
        )

    def rows(self) -> np.ndarray:
        """``(num_slots, 6)`` float64 position, velocity and goal of every slot."""
        return np.concatenate((self._balls.states, self._goals), 1)

    def physics(self) -> np.ndarray:
        """``(num_slots, width)`` float64 simulator factor: as much of ``rows`` as the family's task lets vary."""
        return self.rows()[:, : self._family.spec["physics"].width]

    def render(self, slot: int) -> np.ndarray:
        """``(H, W, 3)`` uint8: walls, goal region, the way so far and the ball."""
        family = self._family
        trail = self._trail[slot, : min(max(self._steps[slot], 0), family.horizon) + 1]
        return draw(family.maze, self._goals[slot], trail, family.goal_radius, family.pixels_per_cell)

    def _observe(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        everything = np.concatenate((self._balls.states[rows], self._goals[rows]), 1)
        return {"state": everything[:, self._columns].astype(np.float32)}

    def _distances(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.norm(self._balls.states[rows, :2] - self._goals[rows], axis=1))

    def _checked(self, simulator: Any) -> np.ndarray:
        physics, width = np.asarray(simulator, np.float64), self._family.spec["physics"].width
        if physics.shape != (width,) or not np.isfinite(physics).all():
            parts = "position, velocity, goal" if width == 6 else "position, velocity"
            raise EnvError(f"'{self._family.name}' starts from {width} finite numbers ({parts}); found {simulator}")
        return np.concatenate((physics, self._family.maze.goal))[:6]


class MazeEnv(SingleEnv):
    """One ball."""

    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium's own declaration
        "render_modes": ["rgb_array"],
        "render_fps": 100,
    }
    batch: MazeBatch

    def __init__(self, family: MazeFamily) -> None:
        super().__init__(MazeBatch(family, 1), family.spec, gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32), "goal")

    def physics(self) -> np.ndarray:
        """``(width,)`` float64 simulator factor, for ``reset(options={"simulator": row})``."""
        return self.batch.physics()[0]
