"""Table, two blocks and a rod that pushes them, as one MuJoCo model (specification of BeT, section 2.2).

The original moves a simulated arm in PyBullet. Only the vertical rod at its tip touches blocks, so the rod's cross-section
at half the blocks' height, on two position-controlled slides, takes its place. Its radius of 5 mm gives demonstrations the
length and the action statistics of the released ones (the original rod, 1 mm, sits on an arm that yields). Blocks slide,
turn about the vertical and press on the table by their weight, but can neither tilt nor hop: free bodies tip over now and
then, and the observation has no word for it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from maskbench.envs.camera import import_mujoco
from maskbench.errors import EnvError

#: Side of a block, radius of the rod (m).
BLOCK_SIDE, ROD_RADIUS = 0.04, 0.005
#: Numbers in ``World.physics()``: positions and velocities of the rod (x, y) and of two blocks (x, y, z, yaw).
PHYSICS_SIZE = 2 * (2 + 2 * 4)

#: A control step of 0.1 s.
_SUBSTEPS = 20
#: Height of a resting block's centre (m): contacts are soft and yield by a tenth of a millimetre.
_REST = 0.019892

# Without warm starts a step is a function of positions, velocities and command alone, so that a restored state continues
# bit for bit. Elliptic cones with impratio 10 keep resting blocks from creeping.
_BLOCK = f"""
    <body>
      <joint type="slide" axis="1 0 0"/><joint type="slide" axis="0 1 0"/>
      <joint type="slide" axis="0 0 1" range="0 {BLOCK_SIDE / 2 + 0.0005}"/><joint type="hinge" axis="0 0 1"/>
      <geom type="box" size="{BLOCK_SIDE / 2} {BLOCK_SIDE / 2} {BLOCK_SIDE / 2}" mass="0.01"/>
    </body>"""
_MODEL = f"""
<mujoco>
  <option timestep="0.005" integrator="implicitfast" cone="elliptic" impratio="10">
    <flag warmstart="disable" autoreset="disable"/>
  </option>
  <default><geom condim="4" friction="1"/></default>
  <worldbody>
    <geom type="plane" size="1 1 0.1"/>
    <body pos="0 0 {BLOCK_SIDE / 2}">
      <joint name="x" type="slide" axis="1 0 0"/><joint name="y" type="slide" axis="0 1 0"/>
      <geom type="sphere" size="{ROD_RADIUS}" mass="0.3"/>
    </body>{_BLOCK}{_BLOCK}
  </worldbody>
  <actuator>
    <position joint="x" kp="1000" kv="35"/><position joint="y" kp="1000" kv="35"/>
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
        (ax, ay, a), (bx, by, b) = blocks.tolist()
        physics = np.zeros(PHYSICS_SIZE)
        physics[: PHYSICS_SIZE // 2] = *effector, ax, ay, _REST, a, bx, by, _REST, b
        self.restore(physics)

    def restore(self, physics: np.ndarray) -> None:
        """Continues from a row of ``physics()``."""
        self._mujoco.mj_resetData(self._model, self._data)
        self._qpos[:], self._qvel[:] = np.split(physics, 2)

    def step(self, effector: tuple[float, float]) -> None:
        """0.1 s with the rod drawn to ``effector``, critically damped. Raises EnvError where the simulation diverges."""
        self._ctrl[:] = effector
        self._mujoco.mj_step(self._model, self._data, _SUBSTEPS)
        if not np.abs(self._qpos).max() < 1e3:
            raise EnvError("the simulation of 'blockpush' diverged: positions grew beyond all measure")

    def physics(self) -> np.ndarray:
        """``(20,)`` float64 positions, then velocities."""
        return np.concatenate((self._qpos, self._qvel))

    def read(self) -> tuple[float, ...]:
        """Poses ``x, y, yaw`` of the red and the green block, then ``x, y`` of the rod; yaw in [-pi, pi]."""
        rod_x, rod_y, ax, ay, _, a, bx, by, _, b = self._qpos.tolist()
        return ax, ay, math.remainder(a, math.tau), bx, by, math.remainder(b, math.tau), rod_x, rod_y
