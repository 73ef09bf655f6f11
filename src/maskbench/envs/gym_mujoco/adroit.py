"""The Adroit hand of D4RL: pen, door, hammer and relocate (uniMASK study 6.3).

The models are those of gymnasium-robotics' ``AdroitHand*-v1``; observations and dynamics equal it (tested). Rewards and ends
are D4RL's, which differ from it: the distance from the palm to the handle, hammer or ball is a cost (``AdroitHand*-v1`` of
gymnasium-robotics 1.2.1 to 1.4.2 pays for it instead), and dropping the pen terminates an episode. D4RL recorded with
MuJoCo 2, whose contacts differ in detail.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from maskbench.envs.camera import import_mujoco
from maskbench.envs.gym_mujoco.family import MujocoFamily, Outcome, World, mujoco_spec
from maskbench.errors import ConfigError, MissingExtraError, did_you_mean

Reward = Literal["dense", "goal_achieved"]
_SUBSTEPS = 5


@dataclass(frozen=True)
class Task:
    """Numbers of one task.

    sizes:     observation, action, positions (as many velocities), placement.
    horizon:   steps of D4RL's task.
    achieved:  dense rewards above this are paid if and only if the goal is achieved.
    reference: returns of D4RL's random and expert policies: scores 0 and 100.
    parts:     of the observation.
    """

    sizes: tuple[int, int, int, int]
    horizon: int
    achieved: float
    reference: tuple[float, float]
    parts: tuple[tuple[str, int, int], ...]


TASKS: Mapping[str, Task] = {
    "pen": Task((45, 24, 30, 4), 100, 40.0, (96.262799, 3076.8331017826877), (("hand", 0, 24), ("pen", 24, 45))),
    "door": Task((39, 28, 30, 3), 200, 15.0, (-56.512833, 2880.5693087298737), (("hand", 0, 27), ("door", 27, 39))),
    "hammer": Task((46, 26, 33, 3), 200, 60.0, (-274.856578, 12794.134825156867), (("hand", 0, 27), ("hammer", 27, 46))),
    "relocate": Task((39, 30, 36, 6), 200, 5.0, (-6.425911, 4233.877797728884), (("hand", 0, 30), ("ball", 30, 39))),
}


class Adroit(MujocoFamily):
    """One task of the hand; ``name`` is ``adroit_<task>``.

    task:    pen, door, hammer or relocate.
    reward:  ``dense``: D4RL's. ``goal_achieved``: 1 in every step that ends with the goal achieved, else 0 (MTM); imported
             dense rewards are converted.
    horizon: steps of 0.01 s after which an episode is truncated; None takes D4RL's, 100 for pen and 200 for the others.
    height, width: size of pictures.

    Factors: ``state`` (45, 39, 46, 39), ``action`` (24, 28, 26, 30) in [-1, 1], scaled to the actuators' range and cut to it,
    ``reward`` and ``physics`` = [qpos, qvel, placement]. The placement is what D4RL's v1 files call ``infos/desired_orien``
    (pen), ``door_body_pos``, ``board_pos`` (hammer), ``obj_pos`` and ``target_pos`` (relocate).
    The event ``goal_achieved`` is reported in every step that ends with the goal achieved; D4RL itself asks for more than
    20 such steps (pen) or 25 (others). An observation read after restoring differs slightly from the recorded one: MuJoCo
    updates body positions one simulation step (0.002 s) late.
    Raises ConfigError for an unknown task or reward.
    """

    success_events: ClassVar[tuple[str, ...]] = ("goal_achieved",)
    events = ("goal_achieved",)
    queries: ClassVar[tuple[str, ...]] = ("bc", "return", "goal")

    def __init__(
        self, task: str, reward: Reward = "dense", horizon: int | None = None, height: int = 240, width: int = 320
    ) -> None:
        if task not in TASKS:
            raise ConfigError(f"the Adroit hand has no task '{task}'. {did_you_mean(task, TASKS)}")
        if reward not in ("dense", "goal_achieved"):
            raise ConfigError(f"reward must be 'dense' or 'goal_achieved'; found '{reward}'")
        if horizon is not None and horizon < 1:
            raise ConfigError(f"horizon must be at least 1; found {horizon}")
        self.name, self.task, self.reward = f"adroit_{task}", task, reward
        self.numbers = TASKS[task]
        self.horizon = self.numbers.horizon if horizon is None else horizon
        self.height, self.width = height, width
        state, action, positions, placement = self.numbers.sizes
        self.spec = mujoco_spec(state, action, 2 * positions + placement, self.numbers.parts)

    def worlds(self, count: int) -> list[World]:
        """Worlds with a model of their own, in which each episode puts its objects."""
        model = load_model(self.name, self.task)
        sparse = self.reward == "goal_achieved"
        return [_WORLDS[self.task](self.name, copy.copy(model), self.numbers, sparse) for _ in range(count)]

    def score(self, episode_return: float) -> Mapping[str, float]:
        """D4RL's normalised score, which is defined for dense rewards."""
        if self.reward != "dense":
            return {}
        low, high = self.numbers.reference
        return {"normalised_score": 100.0 * (float(episode_return) - low) / (high - low)}

    def recorded_rewards(self, rewards: np.ndarray) -> np.ndarray:
        """Recorded dense rewards as they are, or whether they were paid for an achieved goal: the goal's bonus exceeds
        everything else in them."""
        return rewards if self.reward == "dense" else (rewards > self.numbers.achieved).astype(rewards.dtype)


def load_model(name: str, task: str) -> Any:
    """Compiles gymnasium-robotics' model of a task with the weaker actuators of wrist and fingers.

    Raises MissingExtraError where mujoco or gymnasium-robotics is not installed.
    """
    mujoco = import_mujoco(f"The environment '{name}'")
    package = find_spec("gymnasium_robotics")
    if package is None or not package.submodule_search_locations:
        raise MissingExtraError("gymnasium-robotics", "robotics", f"The environment '{name}'")
    assets = Path(next(iter(package.submodule_search_locations))) / "envs" / "assets" / "adroit_hand"
    model = mujoco.MjModel.from_xml_path(str(assets / f"adroit_{task}.xml"))
    for first, last, gain in (("A_WRJ1", "A_WRJ0", 10.0), ("A_FFJ3", "A_THJ0", 1.0)):
        rows = slice(model.actuator(first).id, model.actuator(last).id + 1)
        model.actuator_gainprm[rows, :3] = (gain, 0.0, 0.0)
        model.actuator_biasprm[rows, :3] = (0.0, -gain, 0.0)
    return model


class Hand(World):
    """A live hand. Subclasses say where things are put, what is seen and what is paid."""

    def __init__(self, name: str, model: Any, numbers: Task, sparse: bool) -> None:
        super().__init__(name, model, _SUBSTEPS, "vil_camera")
        self._achieved, self._sparse, self._placement = numbers.achieved, sparse, numbers.sizes[3]
        low, high = model.actuator_ctrlrange.T
        self._middle, self._half = (low + high) / 2.0, (high - low) / 2.0
        self._start = model.qpos0.copy()
        self._palm = self._site("S_grasp")
        self._prepare()

    @abstractmethod
    def _prepare(self) -> None:
        """Looks up names once."""

    @abstractmethod
    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """Placement of a new episode."""

    @abstractmethod
    def _put(self, placement: np.ndarray, positions: np.ndarray) -> None:
        """Writes a placement into the model."""

    @abstractmethod
    def _placed(self) -> np.ndarray:
        """The placement, as ``_put`` takes it."""

    @abstractmethod
    def _judge(self) -> tuple[float, bool, bool]:
        """Dense reward, goal achieved, terminated."""

    def start(self, rng: np.random.Generator) -> None:
        self._put(self._draw(rng), self._start)
        self.place(self._start, np.zeros(self.model.nv))

    def restore(self, row: np.ndarray) -> None:
        positions, velocities, placement = np.split(row, [self.model.nq, self.model.nq + self.model.nv])
        self._put(placement, positions)
        self.place(positions, velocities)

    def physics(self) -> np.ndarray:
        return np.concatenate((self.data.qpos, self.data.qvel, self._placed()))

    def step(self, action: np.ndarray) -> Outcome:
        self.advance(self._middle + self._half * action)
        reward, achieved, terminated = self._judge()
        return float(achieved) if self._sparse else reward, terminated, ("goal_achieved",) if achieved else ()

    def _site(self, name: str) -> np.ndarray:
        """Live world position ``(3,)`` of a site."""
        position: np.ndarray = self.data.site(name).xpos
        return position

    def _body(self, name: str) -> np.ndarray:
        """Live world position ``(3,)`` of a body."""
        position: np.ndarray = self.data.body(name).xpos
        return position


class Pen(Hand):
    """Turn the pen as the green one is turned."""

    def _prepare(self) -> None:
        self._pen, self._wanted = self._body("Object"), self._site("eps_ball")
        self._ends = [self._site(n) for n in ("object_top", "object_bottom", "target_top", "target_bottom")]
        self._target = self.model.body("target").id
        self.place(self._start, np.zeros(self.model.nv))
        top, bottom, target_top, target_bottom = self._ends
        self._lengths = float(np.linalg.norm(top - bottom)), float(np.linalg.norm(target_top - target_bottom))

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        roll, pitch = rng.uniform(-1.0, 1.0) / 2.0, -rng.uniform(-1.0, 1.0) / 2.0
        cos_r, sin_r, cos_p, sin_p = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch)
        return np.array([cos_p * cos_r, cos_p * sin_r, -sin_p * cos_r, -sin_p * sin_r])

    def _put(self, placement: np.ndarray, positions: np.ndarray) -> None:
        self.model.body_quat[self._target] = placement

    def _placed(self) -> np.ndarray:
        return np.array(self.model.body_quat[self._target])

    def _directions(self) -> tuple[np.ndarray, np.ndarray]:
        top, bottom, target_top, target_bottom = self._ends
        return (top - bottom) / self._lengths[0], (target_top - target_bottom) / self._lengths[1]

    def observe(self) -> np.ndarray:
        data, (is_turned, wanted) = self.data, self._directions()
        offset = self._pen - self._wanted
        return np.concatenate((data.qpos[:-6], self._pen, data.qvel[-6:], is_turned, wanted, offset, is_turned - wanted))

    def _judge(self) -> tuple[float, bool, bool]:
        is_turned, wanted = self._directions()
        distance, likeness = float(np.linalg.norm(self._pen - self._wanted)), float(is_turned @ wanted)
        near, dropped = distance < 0.075, bool(self._pen[2] < 0.075)
        achieved = near and likeness > 0.95
        bonus = 10.0 * (near and likeness > 0.9) + 50.0 * achieved - 5.0 * dropped
        return likeness - distance + bonus, achieved, dropped


class Door(Hand):
    """Turn the latch and open the door."""

    def _prepare(self) -> None:
        self._handle = self._site("S_handle")
        self._frame = self.model.body("frame").id
        self._hinge = int(self.model.joint("door_hinge").qposadr[0])

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        return np.array([rng.uniform(*limits) for limits in ((-0.3, -0.2), (0.25, 0.35), (0.252, 0.35))])

    def _put(self, placement: np.ndarray, positions: np.ndarray) -> None:
        self.model.body_pos[self._frame] = placement

    def _placed(self) -> np.ndarray:
        return np.array(self.model.body_pos[self._frame])

    def observe(self) -> np.ndarray:
        position, palm, handle = self.data.qpos, self._palm, self._handle
        angle = position[self._hinge]
        is_open = 1.0 if angle > 1.0 else -1.0
        return np.concatenate((position[1:-2], (position[-1], angle), palm, handle, palm - handle, (is_open,)))

    def _judge(self) -> tuple[float, bool, bool]:
        angle, velocity = float(self.data.qpos[self._hinge]), self.data.qvel
        cost = 0.1 * float(np.linalg.norm(self._palm - self._handle)) + 0.1 * (angle - 1.57) ** 2
        cost += 1e-5 * float(velocity @ velocity)
        bonus = 2.0 * (angle > 0.2) + 8.0 * (angle > 1.0) + 10.0 * (angle > 1.35)
        return bonus - cost, angle >= 1.35, False


class Hammer(Hand):
    """Drive the nail into the board."""

    def _prepare(self) -> None:
        self._tool, self._nail, self._goal = (self._site(n) for n in ("tool", "S_target", "nail_goal"))
        self._hammer, self._turn = self._body("Object"), self.data.body("Object").xmat
        self._board = self.model.body("nail_board").id
        self._impact = self.model.sensor("S_nail").id  # D4RL reads the sensor by its number, not by its address

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        placement = self._placed()
        placement[2] = rng.uniform(0.1, 0.25)
        return placement

    def _put(self, placement: np.ndarray, positions: np.ndarray) -> None:
        self.model.body_pos[self._board] = placement

    def _placed(self) -> np.ndarray:
        return np.array(self.model.body_pos[self._board])

    def observe(self) -> np.ndarray:
        data = self.data
        impact = (min(max(float(data.sensordata[self._impact]), -1.0), 1.0),)
        velocity = np.clip(data.qvel[-6:], -1.0, 1.0)
        turn = _euler(self._turn)
        return np.concatenate((data.qpos[:-6], velocity, self._palm, self._hammer, turn, self._nail, impact))

    def _judge(self) -> tuple[float, bool, bool]:
        depth = float(np.linalg.norm(self._nail - self._goal))
        cost = 0.1 * float(np.linalg.norm(self._palm - self._hammer)) + float(np.linalg.norm(self._tool - self._nail))
        cost += 10.0 * depth + 1e-2 * float(np.linalg.norm(self.data.qvel))
        lifted = bool(self._hammer[2] > 0.04 and self._tool[2] > 0.04)
        bonus = 2.0 * lifted + 25.0 * (depth < 0.02) + 75.0 * (depth < 0.01)
        return bonus - cost, depth < 0.01, False


class Relocate(Hand):
    """Carry the ball to the green place."""

    def _prepare(self) -> None:
        self._ball, self._wanted = self._body("Object"), self._site("target")
        self._object, self._target = self.model.body("Object").id, self.model.site("target").id
        self._slides = slice(self.model.nq - 6, self.model.nq - 3)

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        ball = np.array([rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.3), self.model.body_pos[self._object, 2]])
        target = [rng.uniform(*limits) for limits in ((-0.2, 0.2), (-0.2, 0.2), (0.15, 0.35))]
        return np.concatenate((ball, target))

    def _put(self, placement: np.ndarray, positions: np.ndarray) -> None:
        # What is saved is where the ball is; the model holds where it began.
        self.model.body_pos[self._object] = placement[:3] - positions[self._slides]
        self.model.site_pos[self._target] = placement[3:]

    def _placed(self) -> np.ndarray:
        ball = self.model.body_pos[self._object] + self.data.qpos[self._slides]
        return np.concatenate((ball, self.model.site_pos[self._target]))

    def observe(self) -> np.ndarray:
        palm, ball, wanted = self._palm, self._ball, self._wanted
        return np.concatenate((self.data.qpos[:-6], palm - ball, palm - wanted, ball - wanted))

    def _judge(self) -> tuple[float, bool, bool]:
        palm, ball, wanted = self._palm, self._ball, self._wanted
        distance = float(np.linalg.norm(ball - wanted))
        reward = -0.1 * float(np.linalg.norm(palm - ball))
        if ball[2] > 0.04:
            reward += 1.0 - 0.5 * float(np.linalg.norm(palm - wanted)) - 0.5 * distance
        reward += 10.0 * (distance < 0.1) + 20.0 * (distance < 0.05)
        return reward, distance < 0.1, False


_WORLDS: Mapping[str, type[Hand]] = {"pen": Pen, "door": Door, "hammer": Hammer, "relocate": Relocate}


def _euler(matrix: np.ndarray) -> tuple[float, float, float]:
    """Euler angles of a rotation ``(9,)``, as gymnasium-robotics and mjrl define them (away from the poles)."""
    m = matrix.tolist()
    cosine = float(np.hypot(m[8], m[5]))
    if cosine <= 4.0 * np.finfo(np.float64).eps:
        return 0.0, -float(np.arctan2(-m[2], cosine)), -float(np.arctan2(-m[3], m[4]))
    x, y, z = np.arctan2(m[5], m[8]), np.arctan2(-m[2], cosine), np.arctan2(m[1], m[0])
    return -float(x), -float(y), -float(z)
