"""The three bodies: model file, how an episode starts, what is observed, which features the rewards need.

Everything restates ``dm_control.suite`` on bare MuJoCo calls (MaskDP study 1.3, 4.3): its environment layer, and the
OpenGL library that its import looks for, are not needed to step. Parity with the suite is tested: bit for bit for walker
and cheetah, to the solver's tolerance for quadruped (whose first warm start comes from fewer trial passes).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from maskbench.envs.dmc import rewards
from maskbench.errors import MissingExtraError

#: Reads a vector out of the live simulation that it was bound to.
Reader = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Domain:
    """One body of the control suite.

    parts:    slices of the observation, in the suite's order.
    substeps: physics steps a control step; ``seconds`` is the control step.
    camera:   the model's camera that pictures are taken with.
    tasks:    reward functions of what ``features`` reads.
    refresh:  MuJoCo stages after which the reward features of a freshly set state are right.
    model_xml: the suite's model file as it is to be compiled.
    observe, features: ``(mujoco, model, data) -> Reader``.
    start:    ``(mujoco, model, data, random)`` draws the first state, as the suite's task does.
    """

    name: str
    parts: tuple[tuple[str, int, int], ...]
    action_size: int
    physics_size: int
    substeps: int
    seconds: float
    camera: str
    tasks: Mapping[str, rewards.Reward]
    refresh: tuple[str, ...]
    model_xml: Callable[[bytes], bytes]
    observe: Callable[[Any, Any, Any], Reader]
    features: Callable[[Any, Any, Any], Reader]
    start: Callable[[Any, Any, Any, np.random.RandomState], None]

    @property
    def observation_size(self) -> int:
        return self.parts[-1][2]


def load_model(mujoco: Any, domain: Domain) -> Any:
    """Compiles the suite's model of ``domain``; raises MissingExtraError where dm_control is not installed."""
    package = find_spec("dm_control")
    if package is None or not package.submodule_search_locations:
        raise MissingExtraError("dm_control", "robotics", f"The environment '{domain.name}'")
    suite = Path(next(iter(package.submodule_search_locations))) / "suite"
    assets = {f"./common/{f.name}": f.read_bytes() for f in (suite / "common").glob("*.xml")}
    return mujoco.MjModel.from_xml_string(domain.model_xml((suite / f"{domain.name}.xml").read_bytes()), assets)


def _walker_observe(mujoco: Any, model: Any, data: Any) -> Reader:
    torso = model.body("torso").id
    frames, heights, velocity = data.xmat[1:], data.xpos[torso], data.qvel

    def read() -> np.ndarray:
        out = np.empty(24, np.float32)
        out[0:14] = frames[:, (0, 2)].ravel()
        out[14] = heights[2]
        out[15:] = velocity
        return out

    return read


def _walker_features(mujoco: Any, model: Any, data: Any) -> Reader:
    torso = model.body("torso").id
    position, frame = data.xpos[torso], data.xmat[torso]
    speed, spin = data.subtree_linvel[torso], data.subtree_angmom[torso]
    return lambda: np.array((position[2], frame[8], speed[0], spin[1]))


def _walker_start(mujoco: Any, model: Any, data: Any, random: np.random.RandomState) -> None:
    """Limited joints uniform in their range, free hinges uniform over the circle, root at the origin."""
    for joint in range(model.njnt):
        if model.jnt_limited[joint]:
            data.qpos[model.jnt_qposadr[joint]] = random.uniform(*model.jnt_range[joint])
        elif model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE.value:
            data.qpos[model.jnt_qposadr[joint]] = random.uniform(-np.pi, np.pi)


def _cheetah_observe(mujoco: Any, model: Any, data: Any) -> Reader:
    position, velocity = data.qpos, data.qvel

    def read() -> np.ndarray:
        out = np.empty(17, np.float32)
        out[:8] = position[1:]
        out[8:] = velocity
        return out

    return read


def _cheetah_features(mujoco: Any, model: Any, data: Any) -> Reader:
    torso = model.body("torso").id
    speed, spin = data.subtree_linvel[torso], data.subtree_angmom[torso]
    return lambda: np.array((speed[0], spin[1]))


def _cheetah_start(mujoco: Any, model: Any, data: Any, random: np.random.RandomState) -> None:
    """Joints uniform in their range, then 200 steps to settle."""
    limited = model.jnt_limited == 1
    lower, upper = model.jnt_range[limited].T
    data.qpos[limited] = random.uniform(lower, upper)
    advance(mujoco, model, data, 200)
    data.time = 0.0


def _quadruped_xml(xml: bytes) -> bytes:
    """Leaves the floor and the body: no walls, ball, target, terrain or range finders."""
    root = ET.fromstring(xml)
    for parent in list(root.iter()):
        for child in list(parent):
            name = child.get("name", "")
            scenery = parent.tag == "worldbody" and (name in ("ball", "target", "terrain") or name.startswith("wall_"))
            if scenery or child.tag == "rangefinder":
                parent.remove(child)
    return ET.tostring(root)


def _quadruped_observe(mujoco: Any, model: Any, data: Any) -> Reader:
    hinges = model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE.value
    angles, rates = model.jnt_qposadr[hinges], model.jnt_dofadr[hinges]
    kinds = mujoco.mjtSensor
    imu = _sensor_columns(model, kinds.mjSENS_ACCELEROMETER, kinds.mjSENS_GYRO)
    toes = _sensor_columns(model, kinds.mjSENS_FORCE, kinds.mjSENS_TORQUE)
    velocity = _sensor_columns(model, kinds.mjSENS_VELOCIMETER)
    frame, qpos, qvel, act, sensors = data.xmat[model.body("torso").id], data.qpos, data.qvel, data.act, data.sensordata

    def read() -> np.ndarray:
        out = np.empty(78, np.float32)
        out[0:16] = qpos[angles]
        out[16:32] = qvel[rates]
        out[32:44] = act
        out[44:47] = sensors[velocity]
        out[47] = frame[8]
        out[48:54] = sensors[imu]
        out[54:] = np.arcsinh(sensors[toes])
        return out

    return read


def _quadruped_features(mujoco: Any, model: Any, data: Any) -> Reader:
    torso = model.body("torso").id
    velocity = _sensor_columns(model, mujoco.mjtSensor.mjSENS_VELOCIMETER)
    frame, centre, sensors = data.xmat[torso], data.subtree_com[torso], data.sensordata
    return lambda: np.array((frame[8], *sensors[velocity], centre[2]))


def _quadruped_start(mujoco: Any, model: Any, data: Any, random: np.random.RandomState) -> None:
    """A random orientation, raised a centimetre at a time from inside the floor until nothing touches."""
    orientation = random.randn(4)
    orientation /= np.linalg.norm(orientation)
    height = 0.0
    while True:
        mujoco.mj_resetData(model, data)
        data.qpos[:3] = 0.0, 0.0, height
        data.qpos[3:7] = orientation
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        if data.ncon == 0:
            return
        height += 0.01


def _sensor_columns(model: Any, *kinds: Any) -> np.ndarray:
    """Columns of ``sensordata`` that sensors of these kinds fill, in the model's order."""
    chosen = np.flatnonzero(np.isin(model.sensor_type, [k.value for k in kinds]))
    return np.concatenate([model.sensor_adr[i] + np.arange(model.sensor_dim[i]) for i in chosen])


def advance(mujoco: Any, model: Any, data: Any, steps: int) -> None:
    """``steps`` physics steps, after which positions, velocities and their sensors are in step with the state.

    As the suite does it (legacy stepping with Euler integration): finish the step that the last call prepared, take the
    rest, prepare the next. Accelerations, and sensors of forces, are those of the last completed step.
    """
    mujoco.mj_step2(model, data)
    if steps > 1:
        mujoco.mj_step(model, data, steps - 1)
    mujoco.mj_step1(model, data)


DOMAINS: Mapping[str, Domain] = {
    "walker": Domain(
        name="walker",
        parts=(("orientations", 0, 14), ("height", 14, 15), ("velocity", 15, 24)),
        action_size=6,
        physics_size=18,
        substeps=10,
        seconds=0.025,
        camera="side",
        tasks=rewards.WALKER,
        refresh=("mj_kinematics", "mj_comPos", "mj_comVel", "mj_subtreeVel"),
        model_xml=lambda xml: xml,
        observe=_walker_observe,
        features=_walker_features,
        start=_walker_start,
    ),
    "cheetah": Domain(
        name="cheetah",
        parts=(("position", 0, 8), ("velocity", 8, 17)),
        action_size=6,
        physics_size=18,
        substeps=1,
        seconds=0.01,
        camera="side",
        tasks=rewards.CHEETAH,
        refresh=("mj_kinematics", "mj_comPos", "mj_comVel", "mj_subtreeVel"),
        model_xml=lambda xml: xml,
        observe=_cheetah_observe,
        features=_cheetah_features,
        start=_cheetah_start,
    ),
    "quadruped": Domain(
        name="quadruped",
        parts=(
            ("egocentric_state", 0, 44),
            ("torso_velocity", 44, 47),
            ("torso_upright", 47, 48),
            ("imu", 48, 54),
            ("force_torque", 54, 78),
        ),
        action_size=12,
        physics_size=57,
        substeps=4,
        seconds=0.02,
        camera="x",
        tasks=rewards.QUADRUPED,
        refresh=("mj_kinematics", "mj_comPos", "mj_comVel", "mj_sensorVel"),
        model_xml=_quadruped_xml,
        observe=_quadruped_observe,
        features=_quadruped_features,
        start=_quadruped_start,
    ),
}
