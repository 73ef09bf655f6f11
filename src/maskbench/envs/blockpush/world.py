"""Table, two blocks and a rod that pushes them, as one MuJoCo model (specification of BeT, section 2.2).

The original moves a simulated arm in PyBullet. Only the vertical rod at its tip touches blocks, so a rod on two position-
controlled slides takes its place. Its radius of 5 mm gives demonstrations the length of the released ones (the original
rod, 1 mm, sits on an arm that yields).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from maskbench.envs.camera import import_mujoco
from maskbench.errors import EnvError

#: Side of a block, radius of the rod (m).
BLOCK_SIDE, ROD_RADIUS = 0.04, 0.005
#: Numbers in ``World.physics()``: positions and velocities of two slides and two free bodies.
PHYSICS_SIZE = 2 + 2 * 7 + 2 + 2 * 6

#: A control step of 0.1 s.
_SUBSTEPS = 20

# Without warm starts a step is a function of positions, velocities and command alone, so that a restored state continues
# bit for bit. Elliptic cones with impratio 10 keep resting blocks from creeping.
_MODEL = f"""
<mujoco>
  <option timestep="0.005" integrator="implicitfast" cone="elliptic" impratio="10">
    <flag warmstart="disable" autoreset="disable"/>
  </option>
  <default>
    <geom condim="4" friction="1"/>
    <default class="block"><geom type="box" size="{BLOCK_SIDE / 2} {BLOCK_SIDE / 2} {BLOCK_SIDE / 2}" mass="0.01"/></default>
  </default>
  <worldbody>
    <geom type="plane" size="1 1 0.1"/>
    <body pos="0 0 0.03">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <geom type="cylinder" size="{ROD_RADIUS} 0.014" mass="0.3"/>
    </body>
    <body pos="0.3 -0.2 {BLOCK_SIDE / 2}"><freejoint/><geom class="block"/></body>
    <body pos="0.5 -0.2 {BLOCK_SIDE / 2}"><freejoint/><geom class="block"/></body>
  </worldbody>
  <actuator>
    <position joint="x" kp="1000" kv="35"/>
    <position joint="y" kp="1000" kv="35"/>
  </actuator>
</mujoco>
"""


class World:
    """One simulation. Raises MissingExtraError where mujoco is not installed."""

    def __init__(self) -> None:
        self._mujoco = import_mujoco("The environment 'blockpush'")
        self._model: Any = self._mujoco.MjModel.from_xml_string(_MODEL)
        self._data: Any = self._mujoco.MjData(self._model)
        self._qpos, self._qvel, self._ctrl = self._data.qpos, self._data.qvel, self._data.ctrl

    def place(self, effector: tuple[float, float], blocks: np.ndarray) -> None:
        """Rests the rod at ``effector`` and the blocks at their poses ``(2, 3)`` ``(x, y, yaw)``."""
        qpos = np.zeros(len(self._qpos))
        qpos[:2] = effector
        for first, (x, y, yaw) in zip((2, 9), blocks.tolist(), strict=True):
            qpos[first : first + 7] = x, y, BLOCK_SIDE / 2, math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)
        self.restore(np.concatenate((qpos, np.zeros(len(self._qvel)))))

    def restore(self, physics: np.ndarray) -> None:
        """Continues from a row of ``physics()``."""
        self._mujoco.mj_resetData(self._model, self._data)
        self._qpos[:], self._qvel[:] = np.split(physics, [len(self._qpos)])

    def step(self, effector: tuple[float, float]) -> None:
        """0.1 s with the rod drawn to ``effector``, critically damped. Raises EnvError where the simulation diverges."""
        self._ctrl[:] = effector
        self._mujoco.mj_step(self._model, self._data, _SUBSTEPS)
        if not np.abs(self._qpos).max() < 1e3:
            raise EnvError("the simulation of 'blockpush' diverged: positions grew beyond all measure")

    def physics(self) -> np.ndarray:
        """``(30,)`` float64 positions and velocities."""
        return np.concatenate((self._qpos, self._qvel))

    def read(self) -> tuple[float, ...]:
        """Poses ``x, y, yaw`` of the red and the green block, then ``x, y`` of the rod; yaw in (-pi, pi]."""
        rod_x, rod_y, ax, ay, _, aw, ai, aj, ak, bx, by, _, bw, bi, bj, bk = self._qpos.tolist()
        return ax, ay, _yaw(aw, ai, aj, ak), bx, by, _yaw(bw, bi, bj, bk), rod_x, rod_y


def _yaw(w: float, i: float, j: float, k: float) -> float:
    return math.atan2(2.0 * (w * k + i * j), 1.0 - 2.0 * (j * j + k * k))
