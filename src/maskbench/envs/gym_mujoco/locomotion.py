"""The runners of D4RL's gym-MuJoCo data: hopper, walker2d, halfcheetah and ant (uniMASK study 6.3).

Equal to D4RL v2 (gym's v2 and v3 tasks): observation layout, rewards, the bonus of the step that ends an episode, start noise,
termination and the 1000 steps. Gymnasium's models differ from gym's in form only (local coordinates); walker2d keeps
the feet of 0.9 and 1.9 friction, which gymnasium's v5 changes. Not equal: D4RL recorded with MuJoCo 2, whose contact solver
differs in detail from that of MuJoCo 3, so that recorded actions lead to the recorded next state closely, not to the
last bit, and drift apart over an episode. The 84 contact forces of ant are zeros, as in its data: MuJoCo 2 left them
uncomputed, and neither observation nor reward ever saw them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from maskbench.envs.camera import import_mujoco
from maskbench.envs.gym_mujoco.family import MujocoFamily, Outcome, World, mujoco_spec
from maskbench.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Runner:
    """Numbers of one task.

    model:     file of gymnasium's assets.
    substeps:  simulation steps per control step.
    sizes:     observation, action, positions, velocities.
    unseen:    leading positions (the place in the world) that are not observed.
    clip:      limit of observed velocities.
    zeros:     trailing zeros of the observation.
    effort:    cost of a squared action.
    alive:     bonus of every step.
    height:    open interval of the torso's height (position ``unseen``) outside which an episode terminates.
    angle:     largest torso angle (the position after).
    limit:     largest absolute value of everything after the height.
    noise:     half width of the start's uniform noise.
    gaussian:  start velocities are normal with deviation ``noise``, not uniform.
    reference: returns of D4RL's random and expert policies: scores 0 and 100.
    """

    model: str
    substeps: int
    sizes: tuple[int, int, int, int]
    effort: float
    reference: tuple[float, float]
    unseen: int = 1
    clip: float = np.inf
    zeros: int = 0
    alive: float = 1.0
    height: tuple[float, float] = (-np.inf, np.inf)
    angle: float = np.inf
    limit: float = np.inf
    noise: float = 0.1
    gaussian: bool = True


RUNNERS: Mapping[str, Runner] = {
    "hopper": Runner(
        "hopper.xml",
        4,
        (11, 3, 6, 6),
        1e-3,
        (-20.272305, 3234.3),
        clip=10.0,
        height=(0.7, np.inf),
        angle=0.2,
        limit=100.0,
        noise=5e-3,
        gaussian=False,
    ),
    "walker2d": Runner(
        "walker2d.xml",
        4,
        (17, 6, 9, 9),
        1e-3,
        (1.629008, 4592.3),
        clip=10.0,
        height=(0.8, 2.0),
        angle=1.0,
        noise=5e-3,
        gaussian=False,
    ),
    "halfcheetah": Runner("half_cheetah.xml", 5, (17, 6, 9, 9), 0.1, (-280.178953, 12135.0), alive=0.0),
    "ant": Runner("ant.xml", 5, (111, 8, 15, 14), 0.5, (-325.6, 3879.7), unseen=2, zeros=84, height=(0.2, 1.0)),
}


class Locomotion(MujocoFamily):
    """One of gym's runners, as recorded by D4RL; ``name`` is the task.

    task:    hopper, walker2d, halfcheetah or ant.
    horizon: control steps after which an episode is truncated.
    height, width: size of pictures.

    Factors: ``state`` (11, 17, 17 or 111) with the parts position, velocity and, for ant, contact (zeros); ``action`` in
    [-1, 1], cut to it; ``reward`` = forward speed + alive bonus - effort; ``physics`` = [qpos, qvel] as D4RL's
    ``infos/qpos`` and ``infos/qvel``. An episode terminates when the robot falls (never for halfcheetah).
    Ant alone: gym reads the torso's place one simulation step late; a restored state reads it in time, so the first reward
    after restoring differs from the recorded one by up to a fifth of the change in speed.
    Raises ConfigError for an unknown task.
    """

    success_events: ClassVar[tuple[str, ...]] = ()
    queries: ClassVar[tuple[str, ...]] = ("bc", "return", "goal")

    def __init__(self, task: str, horizon: int = 1000, height: int = 240, width: int = 320) -> None:
        if task not in RUNNERS:
            raise ConfigError(f"no runner is called '{task}'. {did_you_mean(task, RUNNERS)}")
        if horizon < 1:
            raise ConfigError(f"horizon must be at least 1; found {horizon}")
        self.name = self.task = task
        self.horizon, self.height, self.width = horizon, height, width
        runner = self.runner = RUNNERS[task]
        state, action, positions, velocities = runner.sizes
        seen = positions - runner.unseen
        parts = [("position", 0, seen), ("velocity", seen, seen + velocities)]
        parts += [("contact", seen + velocities, state)] if runner.zeros else []
        self.spec = mujoco_spec(state, action, positions + velocities, tuple(parts))

    def worlds(self, count: int) -> list[World]:
        """Worlds that share one compiled model, to be stepped from one thread."""
        mujoco = import_mujoco(f"The environment '{self.name}'")
        package = find_spec("gymnasium")
        assert package is not None
        assert package.submodule_search_locations
        folder = Path(next(iter(package.submodule_search_locations))) / "envs" / "mujoco" / "assets"
        model = mujoco.MjModel.from_xml_path(str(folder / self.runner.model))
        return [Track(self.name, model, self.runner) for _ in range(count)]

    def score(self, episode_return: float) -> Mapping[str, float]:
        """D4RL's normalised score."""
        low, high = self.runner.reference
        return {"normalised_score": 100.0 * (float(episode_return) - low) / (high - low)}


class Track(World):
    """A live runner."""

    def __init__(self, name: str, model: Any, runner: Runner) -> None:
        super().__init__(name, model, runner.substeps, "track")
        self._runner = runner
        self._zeros = np.zeros(runner.zeros)
        # Of a free torso gym reads the place from its body, which lags by one simulation step, else from the joint.
        self._place = self.data.body("torso").xpos if name == "ant" else self.data.qpos

    def start(self, rng: np.random.Generator) -> None:
        runner, model = self._runner, self.model
        positions = model.qpos0 + rng.uniform(-runner.noise, runner.noise, model.nq)
        if runner.gaussian:
            velocities = runner.noise * rng.standard_normal(model.nv)
        else:
            velocities = rng.uniform(-runner.noise, runner.noise, model.nv)
        self.place(positions, velocities)

    def restore(self, row: np.ndarray) -> None:
        self.place(row[: self.model.nq], row[self.model.nq :])

    def step(self, action: np.ndarray) -> Outcome:
        runner = self._runner
        before = float(self._place[0])
        self.advance(action)
        speed = (float(self._place[0]) - before) / self.seconds
        reward = speed + runner.alive - runner.effort * float(action @ action)
        return reward, not self._healthy(), ()

    def observe(self) -> np.ndarray:
        velocity, clip = self.data.qvel, self._runner.clip
        return np.concatenate((self.data.qpos[self._runner.unseen :], np.clip(velocity, -clip, clip), self._zeros))

    def _healthy(self) -> bool:
        runner, position = self._runner, self.data.qpos
        low, high = runner.height
        if runner.unseen == 2:
            return bool(low <= position[2] <= high)
        if not low < position[1] < high or not -runner.angle < position[2] < runner.angle:
            return False
        limit = runner.limit
        return bool(np.abs(position[2:]).max() < limit and np.abs(self.data.qvel).max() < limit)
