"""The point masses of maze2d, many balls on one MuJoCo model in D4RL's coordinates.

The same dynamics as gymnasium-robotics' ``PointMaze-v3`` after its axis swap and offset (tested over random trajectories),
from ``mujoco`` alone and without that library's wrappers.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from maskbench.envs.camera import import_mujoco
from maskbench.envs.maze2d.mazes import TO_CENTRE, Maze

#: Speeds are cut to this before every step, per axis (m/s).
MAX_SPEED = 5.0

# A ball of radius 0.1 (4.19 kg) on two slides, pushed by up to 100 N an axis. Without warm starts a step is a function of
# position, velocity and action alone, so that a restored state continues bit for bit.
_MODEL = """
<mujoco>
  <compiler inertiafromgeom="true"/>
  <option timestep="0.01" gravity="0 0 0" iterations="20" integrator="Euler"><flag warmstart="disable"/></option>
  <default>
    <joint damping="1" limited="false"/>
    <geom friction=".5 .1 .1" density="1000" margin="0.002" condim="1" contype="1" conaffinity="1"/>
  </default>
  <worldbody>
    <body>
      <geom type="sphere" size="0.1"/>
      <joint name="row" type="slide" axis="1 0 0"/>
      <joint name="column" type="slide" axis="0 1 0"/>
    </body>
    {walls}
  </worldbody>
  <actuator>
    <motor joint="row" ctrlrange="-1 1" ctrllimited="true" gear="100"/>
    <motor joint="column" ctrlrange="-1 1" ctrllimited="true" gear="100"/>
  </actuator>
</mujoco>
"""


class PointMasses:
    """``count`` balls, each alone in its own copy of ``maze``. Raises MissingExtraError where mujoco is not installed.

    states: ``(count, 4)`` float64 position and velocity, free to be written.
    """

    def __init__(self, maze: Maze, count: int) -> None:
        mujoco = import_mujoco("The environment 'maze2d'")
        walls = "".join(
            f'<geom type="box" size=".5 .5 .5" pos="{i - TO_CENTRE:.1f} {j - TO_CENTRE:.1f} 0"/>'
            for i, j in np.argwhere(maze.walls)
        )
        model = mujoco.MjModel.from_xml_string(_MODEL.format(walls=walls))
        self.states = np.zeros((count, 4))
        self._models: list[Any] = [model] * count
        self._data: list[Any] = [mujoco.MjData(model)]
        self._stepper: Any = importlib.import_module("mujoco.rollout").Rollout(nthread=0)  # 0 = in the calling thread
        # MuJoCo's full state is (time, position, velocity).
        self._before, self._after = np.zeros((count, 5)), np.zeros((count, 1, 5))
        self._sensors = np.zeros((count, 1, 0))

    def step(self, rows: np.ndarray, actions: np.ndarray) -> None:
        """One step of 0.01 s for balls ``rows`` ``(n,)`` with forces ``actions`` ``(n, 2)``, cut to [-1, 1]."""
        n = len(rows)
        before, after = self._before[:n], self._after[:n]
        before[:, 1:] = self.states[rows]
        np.clip(before[:, 3:], -MAX_SPEED, MAX_SPEED, out=before[:, 3:])
        force = np.array(actions, np.float64)[:, None]
        self._stepper.rollout(
            self._models[:n], self._data, before, force, nstep=1, state=after, sensordata=self._sensors[:n], skip_checks=True
        )
        self.states[rows] = after[:, 0, 1:]
