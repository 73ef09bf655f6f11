"""The two primitives as rigid bodies in MuJoCo (VIMA specification 4.3).

Bodies slide, turn about the vertical and fall, but do not tilt: a scene then says all that there is to know of them, pictures
are those of the kinematic world, and every action begins from the scene alone. An object is carried to its place by the
gripper and dropped; the blade is a box that moves as it is told. Needs no OpenGL.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from maskbench.envs.camera import import_mujoco
from maskbench.envs.tabletop.kinematics import BLADE_THICKNESS, BLADE_WIDTH, PUSH_BACK, PUSH_SHORT, Action, Watch
from maskbench.envs.tabletop.objects import ObjectSpec
from maskbench.envs.tabletop.scene import Body, Pose, Scene

#: Seconds a step; what counts as rest (m/s, rad/s), and the steps after which no more rest is waited for.
_STEP, _REST, _MOST_STEPS = 0.004, 5e-3, 1000
#: Cells along a side of an object's collision boxes.
_CELLS = 16
#: Height above what is below from which an object falls (m), its density (kg/m^3), and the steps of that
#: height by which it is raised where it would begin inside of another.
_DROP, _DENSITY = 0.003, 300.0
_LIFTS = 60
#: Metres that the blade moves in one step, and its height.
_ADVANCE, _BLADE_HEIGHT = 0.0005, 0.11
_WATCH_EVERY = 4
#: An object that moved less (m, rad) has not moved.
_MOVED = 1e-4
_AWAY = np.array((0.0, 0.0, 5.0))

Key = tuple[tuple[int, str, tuple[float, float, float], bool, Pose], ...]


class MujocoWorld:
    """``Primitives`` of one table. Raises MissingExtraError where mujoco is not installed."""

    def __init__(self) -> None:
        self._mujoco = import_mujoco("env.backend=mujoco")
        self._key: Key = ()
        self._model: Any = None
        self._data: Any = None
        self._rigid: list[int] = []

    def pick_and_place(self, scene: Scene, action: Action) -> set[int]:
        start, end = action.pose0, action.pose1
        body = scene.at_point(np.array(start[:2]))
        if body is None or body.fixed:
            return set()
        turn = end.yaw - start.yaw
        cos, sin = np.cos(turn), np.sin(turn)
        x, y = body.pose.x - start.x, body.pose.y - start.y
        place = Pose(float(end.x + cos * x - sin * y), float(end.y + sin * x + cos * y), body.pose.yaw + turn)
        below = [b.heights(body.at(place).footprint).max() for b in scene if b.id != body.id and b.spec.group != "strip"]
        scene.bodies[body.id] = body.at(place, z=max(0.0, 0.0, *below) + _DROP)
        before = dict(scene.bodies)
        self._load(scene)
        self._lift(body.id)
        self._settle()
        self._read(scene)
        return {body.id} | _changed(before, scene)

    def push(self, scene: Scene, action: Action, watch: Watch) -> set[int]:
        start, end = np.array(action.pose0[:2]), np.array(action.pose1[:2])
        length = float(np.hypot(*(end - start)))
        if length < 1e-6:
            return set()
        along = (end - start) / length
        before = dict(scene.bodies)
        self._load(scene)
        yaw = np.arctan2(along[1], along[0])
        self._data.mocap_quat[0] = (np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))
        for step in range(max(round((length - PUSH_SHORT + PUSH_BACK) / _ADVANCE), 0) + 1):
            self._data.mocap_pos[0, :2] = start + (step * _ADVANCE - PUSH_BACK) * along
            self._data.mocap_pos[0, 2] = _BLADE_HEIGHT / 2 + 0.001
            self._mujoco.mj_step(self._model, self._data)
            if step % _WATCH_EVERY == 0:
                self._read(scene)
                watch(scene)
        self._data.mocap_pos[0] = _AWAY
        self._settle()
        self._read(scene)
        watch(scene)
        return _changed(before, scene)

    def _load(self, scene: Scene) -> None:
        """Simulation of this scene at rest; compiled anew where it holds other objects."""
        key = tuple((b.id, b.spec.name, b.size, b.fixed, b.pose if b.fixed else Pose(0, 0)) for b in scene)
        if key != self._key:
            self._model = self._mujoco.MjModel.from_xml_string(_model(scene))
            self._data = self._mujoco.MjData(self._model)
            self._key, self._rigid = key, [b.id for b in scene if not b.fixed]
        self._mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:] = np.ravel([(*scene[i].pose[:2], scene[i].z, scene[i].pose.yaw) for i in self._rigid])
        self._data.mocap_pos[0] = _AWAY

    def _lift(self, id: int) -> None:
        """Raises an object until it is clear of all others, so that nothing is flung away: boxes are coarser than outlines."""
        own, height = self._model.body(f"object{id}").id, 4 * self._rigid.index(id) + 2
        for _ in range(_LIFTS):
            self._mujoco.mj_forward(self._model, self._data)
            contact = self._data.contact
            touching = (self._model.geom_bodyid[contact.geom] == own).any(1) & (contact.dist < 0)
            if not touching.any():
                break
            self._data.qpos[height] += _DROP

    def _settle(self) -> None:
        for _ in range(_MOST_STEPS):
            self._mujoco.mj_step(self._model, self._data)
            if np.abs(self._data.qvel).max(initial=0.0) < _REST:
                break

    def _read(self, scene: Scene) -> None:
        for id, (x, y, z, yaw) in zip(self._rigid, self._data.qpos.reshape(-1, 4).tolist(), strict=True):
            scene.bodies[id] = scene[id].at(Pose(x, y, yaw), max(z, 0.0))


def _changed(before: dict[int, Body], scene: Scene) -> set[int]:
    return {i for i, b in before.items() if np.abs(np.subtract(b.pose, scene[i].pose)).max() > _MOVED}


def _model(scene: Scene) -> str:
    """No geom has a margin: with one, MuJoCo finds boxes that lie upon each other to overlap sideways, and flings them away."""
    bodies = "".join(_fixed(b) if b.fixed else _rigid(b) for b in scene if b.spec.group != "strip")
    return f"""
<mujoco>
  <option timestep="{_STEP}" integrator="implicitfast" cone="elliptic" impratio="10">
    <flag warmstart="disable" autoreset="disable"/>
  </option>
  <default><geom condim="4" friction="0.7 0.005 0.0001"/></default>
  <worldbody>
    <geom type="plane" size="2 2 0.1"/>
    <body mocap="true"><geom type="box" size="{BLADE_THICKNESS / 2} {BLADE_WIDTH / 2} {_BLADE_HEIGHT / 2}"/></body>
    {bodies}
  </worldbody>
</mujoco>"""


def _fixed(body: Body) -> str:
    yaw = np.rad2deg(body.pose.yaw)
    return f'<body pos="{body.pose.x} {body.pose.y} 0" euler="0 0 {yaw}">{_geoms(body, "")}</body>'


def _rigid(body: Body) -> str:
    joints = "".join(f'<joint type="slide" axis="{axis}"/>' for axis in ("1 0 0", "0 1 0", "0 0 1"))
    geoms = _geoms(body, f'density="{_DENSITY}"')
    return f'<body name="object{body.id}">{joints}<joint type="hinge" axis="0 0 1" damping="1e-5"/>{geoms}</body>'


def _geoms(body: Body, extra: str) -> str:
    x, y, z = body.size
    return "".join(
        f'<geom type="box" pos="{(u0 + u1 - 1) / 2 * x} {(v0 + v1 - 1) / 2 * y} {h * z / 2}" '
        f'size="{(u1 - u0) / 2 * x} {(v1 - v0) / 2 * y} {h * z / 2}" {extra}/>'
        for u0, u1, v0, v1, h in _boxes(body.spec)
    )


@cache
def _boxes(spec: ObjectSpec) -> tuple[tuple[float, float, float, float, float], ...]:
    """The relief as boxes ``(u0, u1, v0, v1, height)`` in the unit square, grown greedily over cells of one height."""
    side = len(spec.relief) // _CELLS
    cells = np.sort(spec.relief.reshape(_CELLS, side, _CELLS, side).swapaxes(1, 2).reshape(_CELLS, _CELLS, -1), -1)
    return tuple(_grown(cells[..., side * side // 2].copy()))  # the median keeps thin walls where they fill half a cell


def _grown(height: np.ndarray) -> Iterator[tuple[float, float, float, float, float]]:
    for i, j in np.argwhere(height > 0):
        h = height[i, j]
        if h <= 0:
            continue
        right = j + 1
        while right < _CELLS and height[i, right] == h:
            right += 1
        down = i + 1
        while down < _CELLS and (height[down, j:right] == h).all():
            down += 1
        height[i:down, j:right] = 0
        yield i / _CELLS, down / _CELLS, j / _CELLS, right / _CELLS, float(h)
