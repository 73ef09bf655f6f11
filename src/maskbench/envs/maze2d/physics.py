"""The point mass of maze2d, as one MuJoCo model in D4RL's coordinates.

The same dynamics as gymnasium-robotics' ``PointMaze-v3`` after its axis swap and offset (tested over random trajectories),
from ``mujoco`` alone and without that library's wrappers.
"""

from __future__ import annotations

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


class PointMass:
    """A ball in ``maze``. Raises MissingExtraError where mujoco is not installed.

    position, velocity: ``(2,)`` float64 views of the simulation; write through ``restore``.
    """

    def __init__(self, maze: Maze) -> None:
        self._mujoco = import_mujoco("The environment 'maze2d'")
        walls = "".join(
            f'<geom type="box" size=".5 .5 .5" pos="{i - TO_CENTRE:.1f} {j - TO_CENTRE:.1f} 0"/>'
            for i, j in np.argwhere(maze.walls)
        )
        self._model: Any = self._mujoco.MjModel.from_xml_string(_MODEL.format(walls=walls))
        self._data: Any = self._mujoco.MjData(self._model)
        self.position: np.ndarray = self._data.qpos
        self.velocity: np.ndarray = self._data.qvel
        self._ctrl: np.ndarray = self._data.ctrl

    def restore(self, physics: np.ndarray) -> None:
        """Sets position and velocity from a row ``(4,)``."""
        self._mujoco.mj_resetData(self._model, self._data)
        self.position[:], self.velocity[:] = physics[:2], physics[2:]

    def step(self, action: np.ndarray) -> None:
        """One step of 0.01 s with forces ``action`` ``(2,)``, cut to [-1, 1]."""
        np.minimum(np.maximum(self.velocity, -MAX_SPEED), MAX_SPEED, out=self.velocity)
        self._ctrl[:] = action
        self._mujoco.mj_step(self._model, self._data)
