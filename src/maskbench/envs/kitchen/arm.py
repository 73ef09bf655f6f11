"""Moves the hand: inverse kinematics of the seven arm joints, and actions that take the arm there (BeT study 7.3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskbench.envs.camera import import_mujoco
from maskbench.envs.kitchen.environment import KitchenEnv
from maskbench.envs.kitchen.simulator import HIGH, LOW, REACH, START

#: Stiffness of the position servos, Nm/rad: what a load bends a joint from its target.
_STIFFNESS = np.array([870.0] * 4 + [120.0] * 3)
# Where inverse kinematics may go: the joints' own stops (the servos' limits are wider for some), less 0.02 rad.
_STOP_LOW = np.maximum(LOW[:7], [-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -1.6573, -2.8973]) + 0.02
_STOP_HIGH = np.minimum(HIGH[:7], [2.8973, 1.7628, 2.8973, -0.4, 2.8973, 2.1127, 2.8973]) - 0.02

_DAMPING, _TURN_WEIGHT, _POSTURE_PULL = 1e-4, 0.3, 0.05
OPEN, CLOSED = 0.04, 0.0


class Arm:
    """The arm of ``env``. Positions are metres in the world, rotations ``(3, 3)`` with the hand's axes as columns:
    x = up when pointing forward, y = along which the fingers open, z = where the hand points. ``tip`` is the model's
    ``end_effector`` site; the fingertips reach 5 cm further along z.

    pace: fraction of the largest action that free motion may use.
    """

    def __init__(self, env: KitchenEnv, pace: float = 1.0) -> None:
        mujoco = self._mujoco = import_mujoco("The expert of 'kitchen'")
        self._env, self._stride = env, pace * REACH
        self.model, self.data = env.simulator.model, env.simulator.data
        self._trial: Any = mujoco.MjData(self.model)
        self._site = self.model.site("end_effector").id
        self._linear, self._angular = np.empty((3, self.model.nv)), np.empty((3, self.model.nv))
        #: Posture that the last action aimed at, ``(7,)``.
        self.aim = START[:7].copy()

    @property
    def tip(self) -> np.ndarray:
        """``(3,)`` position of the hand."""
        return np.array(self.data.site_xpos[self._site])

    def site(self, name: str) -> np.ndarray:
        """``(3,)`` position of a named mark on a handle, knob or switch."""
        return np.array(self.data.site(name).xpos)

    @property
    def joints(self) -> np.ndarray:
        """``(7,)`` true posture, radians."""
        return np.array(self.data.qpos[:7])

    def position(self, joint: int) -> float:
        """One of the 30 true positions."""
        return float(self.data.qpos[joint])

    def rest(self) -> None:
        """Forgets the last aim: the next one starts from where the arm is."""
        self.aim = self.joints

    def reach(self, position: np.ndarray, rotation: np.ndarray, grip: float, lead: float) -> np.ndarray:
        """``(9,)`` action towards a pose; the aim is at most ``lead`` metres ahead of the hand, which is also how hard it
        pushes against what is in the way."""
        tip = self.tip
        way = position - tip
        distance = float(np.linalg.norm(way))
        near = tip + way * min(1.0, lead / max(distance, 1e-9))
        self.aim = self.solve(self.aim, near, rotation)
        return self._towards(self.aim, grip)

    def bend(self, posture: np.ndarray, grip: float, step: float = 0.3) -> np.ndarray:
        """``(9,)`` action towards a posture ``(7,)``, the aim at most ``step`` rad ahead in any joint."""
        here = self.joints
        way = posture - here
        self.aim = here + way * min(1.0, step / max(float(np.abs(way).max()), 1e-9))
        return self._towards(self.aim, grip)

    def solve(self, start: np.ndarray, position: np.ndarray, rotation: np.ndarray, rounds: int = 12) -> np.ndarray:
        """Posture ``(7,)`` with the hand at a pose, by damped least squares from ``start``; leans towards the first posture."""
        mujoco, model, trial = self._mujoco, self.model, self._trial
        posture, error = np.array(start), np.empty(6)
        target, now, back, turn = np.empty((4, 4))
        mujoco.mju_mat2Quat(target, rotation.ravel())
        for _ in range(rounds):
            trial.qpos[:7] = posture
            mujoco.mj_kinematics(model, trial)
            mujoco.mj_comPos(model, trial)
            error[:3] = position - trial.site_xpos[self._site]
            mujoco.mju_mat2Quat(now, trial.site_xmat[self._site])
            mujoco.mju_negQuat(back, now)
            mujoco.mju_mulQuat(turn, target, back)
            mujoco.mju_quat2Vel(error[3:], turn, 1.0)
            if np.linalg.norm(error[:3]) < 1e-3 and np.linalg.norm(error[3:]) < 1e-2:
                break
            mujoco.mj_jacSite(model, trial, self._linear, self._angular, self._site)
            jacobian = np.vstack((self._linear[:, :7], _TURN_WEIGHT * self._angular[:, :7]))
            error[3:] *= _TURN_WEIGHT
            inverse = np.linalg.solve(jacobian @ jacobian.T + _DAMPING * np.eye(6), np.column_stack((error, jacobian)))
            pull = _POSTURE_PULL * (START[:7] - posture)
            change = jacobian.T @ inverse[:, 0] + pull - jacobian.T @ (inverse[:, 1:] @ pull)
            change *= min(1.0, 0.2 / max(float(np.abs(change).max()), 1e-9))
            posture = np.minimum(np.maximum(posture + change, _STOP_LOW), _STOP_HIGH)
        return posture

    def _towards(self, posture: np.ndarray, grip: float) -> np.ndarray:
        """The action whose targets are ``posture``, raised against gravity, and ``grip`` for both fingers.

        Joints that are far keep their proportions; the reading's error, which the control law adds, is taken off again.
        """
        here, reading = self.data.qpos[:9], self._env.reading[:9]
        way = posture - here[:7]
        way *= min(1.0, self._stride / max(float(np.abs(way).max()), 1e-9))
        load = self.data.qfrc_bias[:7] / _STIFFNESS
        target = np.concatenate((here[:7] + way + load, (grip, grip)))
        return np.asarray(np.clip((target - reading) / REACH, -1.0, 1.0), np.float32)
