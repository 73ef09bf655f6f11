"""The Franka arm and its kitchen on bare MuJoCo calls: the model and the control law of ``FrankaKitchen-v1``.

Positions equal that environment's bit for bit without noise (tested). Its wrappers are left out because they cannot
continue from a saved state and draw their noise in another order than the BeT observation needs.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from maskbench.envs.camera import Camera, import_mujoco
from maskbench.errors import EnvError, MissingExtraError

SUBSTEPS = 40
SECONDS = 0.08
#: Radians (metres for the fingers) that a full action moves a joint's target.
REACH = 2.0 * SECONDS
#: Limits of the joint targets: seven arm joints (rad), two fingers (m).
LOW = np.array([-2.9, -1.8, -2.9, -3.1, -2.9, 0.0, -2.9, 0.0, 0.0])
HIGH = np.array([2.9, 1.8, 2.9, 0.0, 2.9, 3.8, 2.9, 0.04, 0.04])
_START = """
    1.48388023e-01 -1.76848573e+00 1.84390296e+00 -2.47685760e+00 2.60252026e-01 7.12533105e-01 1.59515394e+00
    4.79267505e-02 3.71350919e-02
    -2.66279850e-04 -5.18043486e-05 3.12877220e-05 -4.51199853e-05 -3.90842156e-06 -4.22629655e-05 6.28065475e-05
    4.04984708e-05 4.62730939e-04 -2.26906415e-04 -4.65501369e-04 -6.44129196e-03 -1.77048263e-03 1.08009684e-03
    -2.69397440e-01 3.50383255e-01 1.61944683e+00 1.00618764e+00 4.06395120e-03 -6.62095997e-03 -2.68278933e-04
    """
#: The position ``(30,)`` that every episode starts from: robot 9, objects 21.
START = np.array(_START.split(), np.float64)
#: Largest reading error of each position at noise 1.
AMPLITUDE = np.array([0.1] * 9 + [0.005] * 2 + [0.0005] * 6 + [0.005] * 3 + [0.1] * 3 + [0.005] * 3 + [0.1] * 3 + [0.005])

# The view of FrankaKitchen-v1: 2.2 m from (-0.2, 0.5, 2.0), azimuth 70 and elevation -35 degrees.
_LOOK_AT, _DISTANCE, _AZIMUTH, _ELEVATION = np.array([-0.2, 0.5, 2.0]), 2.2, np.deg2rad(70.0), np.deg2rad(-35.0)


class Simulator:
    """One live kitchen. Raises MissingExtraError where mujoco or gymnasium-robotics is not installed.

    model: a model compiled before, to be shared by simulations that are stepped from one thread (compiling takes 0.7 s).
    """

    def __init__(self, model: Any = None) -> None:
        self._mujoco = import_mujoco("The environment 'kitchen'")
        self.model = load_model(self._mujoco) if model is None else model
        self.data: Any = self._mujoco.MjData(self.model)
        self._faults = self.data.warning.number[self._mujoco.mjtWarning.mjWARN_BADQPOS.value :]
        self._camera: Camera | None = None

    def set(self, positions: np.ndarray, velocities: np.ndarray, warmstart: np.ndarray | None = None) -> None:
        """Puts everything in place: positions ``(30,)``, velocities ``(29,)`` and the solver's first guess ``(29,)``."""
        data = self.data
        self._mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:] = positions, velocities
        self._mujoco.mj_forward(self.model, data)
        if warmstart is not None:
            data.qacc_warmstart[:] = warmstart

    def step(self, action: np.ndarray, reading: np.ndarray) -> None:
        """0.08 s towards the joint positions that are ``action`` ``(9,)`` away from ``reading`` ``(>= 9,)``.

        The law is the published one: targets count from the *noisy reading* of the joints, not from where they are.
        Raises EnvError where the simulation diverges.
        """
        target = reading[:9] + REACH * np.minimum(np.maximum(action, -1.0), 1.0)
        self.data.ctrl[:] = np.minimum(np.maximum(target, LOW), HIGH)
        self._mujoco.mj_step(self.model, self.data, SUBSTEPS)
        if self._faults.any():
            raise EnvError("the simulation of 'kitchen' diverged: positions, velocities or forces grew beyond all measure")

    def picture(self, height: int, width: int) -> np.ndarray:
        """``(height, width, 3)`` uint8; EnvError where no OpenGL library is installed."""
        if self._camera is None:
            self._camera = Camera(self.model, "view", height, width)
        return self._camera.picture(self.data)

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None


def load_model(mujoco: Any) -> Any:
    """Compiles gymnasium-robotics' kitchen with one more camera, ``view``."""
    package = find_spec("gymnasium_robotics")
    if package is None or not package.submodule_search_locations:
        raise MissingExtraError("gymnasium-robotics", "robotics", "The environment 'kitchen'")
    assets = Path(next(iter(package.submodule_search_locations))) / "envs" / "assets" / "kitchen_franka"
    spec = mujoco.MjSpec.from_file(str(assets / "kitchen_assets" / "kitchen_env_model.xml"))
    (ca, sa), (ce, se) = ((np.cos(a), np.sin(a)) for a in (_AZIMUTH, _ELEVATION))
    forward, right = np.array([ce * ca, ce * sa, se]), np.array([sa, -ca, 0.0])
    axes = np.array([right, np.cross(right, forward), -forward]).T
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, axes.ravel())
    spec.worldbody.add_camera(name="view", pos=_LOOK_AT - _DISTANCE * forward, quat=quaternion)
    return spec.compile()
