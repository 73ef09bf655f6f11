"""What D4RL's MuJoCo tasks share: a live world, one environment around it, and episodes of random actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from maskbench.envs.base import Environment, LoopedBatch, numbered
from maskbench.envs.camera import Camera, import_mujoco
from maskbench.errors import ConfigError, EnvError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

#: What a step answers: reward, terminated, events.
Outcome = tuple[float, bool, tuple[str, ...]]


class World(ABC):
    """A MuJoCo model and its state, with one task's start, reward and end."""

    def __init__(self, name: str, model: Any, substeps: int, camera: str) -> None:
        self._mujoco = import_mujoco(f"The environment '{name}'")
        self._name, self._substeps, self._view = name, substeps, camera
        self.model, self.data = model, self._mujoco.MjData(model)
        self._faults = self.data.warning.number[self._mujoco.mjtWarning.mjWARN_BADQPOS.value :]
        self._camera: Camera | None = None
        #: Seconds of one control step.
        self.seconds = float(model.opt.timestep) * substeps

    @abstractmethod
    def start(self, rng: np.random.Generator) -> None:
        """Draws the first state of an episode."""

    @abstractmethod
    def restore(self, row: np.ndarray) -> None:
        """Continues from a saved row of ``physics``."""

    @abstractmethod
    def step(self, action: np.ndarray) -> Outcome:
        """One control step with ``action`` float64 in [-1, 1]."""

    @abstractmethod
    def observe(self) -> np.ndarray:
        """The observation, float64."""

    def physics(self) -> np.ndarray:
        """``(physics_size,)`` float64: positions, velocities and what the task adds."""
        return np.concatenate((self.data.qpos, self.data.qvel))

    def place(self, positions: np.ndarray, velocities: np.ndarray) -> None:
        """Starts the simulation afresh from generalised positions and velocities."""
        data = self.data
        self._mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:] = positions, velocities
        self._mujoco.mj_forward(self.model, data)

    def advance(self, control: np.ndarray) -> None:
        """Applies ``control`` for one step. Raises EnvError where the simulation diverges."""
        self.data.ctrl[:] = control
        self._mujoco.mj_step(self.model, self.data, self._substeps)
        if self._faults.any():
            raise EnvError(
                f"the simulation of '{self._name}' diverged: positions, velocities or forces grew beyond all measure"
            )

    def picture(self, height: int, width: int) -> np.ndarray:
        """``(height, width, 3)`` uint8; EnvError where no OpenGL library is installed."""
        if self._camera is None:
            self._camera = Camera(self.model, self._view, height, width)
        return self._camera.picture(self.data)

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None


class MujocoFamily(Environment):
    """An environment whose episodes are played in a ``World``; subclasses set ``name``, ``horizon`` and ``spec``."""

    height: int
    width: int

    @abstractmethod
    def worlds(self, count: int) -> list[World]:
        """``count`` live worlds; raises MissingExtraError where a simulator is not installed."""

    def make(self) -> MujocoEnv:
        """One environment; raises MissingExtraError where a simulator is not installed. Needs no OpenGL to step."""
        return MujocoEnv(self, self.worlds(1)[0])

    def make_batch(self, num_slots: int) -> LoopedBatch:
        return LoopedBatch([MujocoEnv(self, world) for world in self.worlds(num_slots)])

    def generate(  # type: ignore[override]  # named options: a misspelt one is refused
        self, episodes: int | range, seed: int, policy: str = "random"
    ) -> Iterator[Episode]:
        """Episodes of uniformly random actions, enough to run everything but not to learn the task: there is no expert.

        Raises ConfigError for any other ``policy``, naming where recorded data comes from.
        """
        if policy != "random":
            raise ConfigError(
                f"'{self.name}' has no '{policy}' policy, only random actions. Import the published episodes instead: "
                "dataset.path=<D4RL .hdf5 file or Minari data set> (python -m maskbench data list)"
            )
        env = self.make()
        action_size = self.spec["action"].width
        for i in numbered(episodes):
            rng = np.random.default_rng([seed, i])
            env_seed = int(rng.integers(2**31))
            rows: dict[str, list[Any]] = {name: [] for name in self.spec.names}
            observation, _ = env.reset(seed=env_seed)
            ended = terminated = False
            while not ended:
                action = rng.uniform(-1.0, 1.0, action_size).astype(np.float32)
                rows["state"].append(observation["state"])
                rows["action"].append(action)
                rows["physics"].append(env.physics())
                observation, reward, terminated, truncated, _ = env.step(action)
                rows["reward"].append([reward])
                ended = terminated or truncated
            values = {name: np.array(row, self.spec[name].dtype) for name, row in rows.items()}
            meta = {"env": self.name, "quality": "random", "policy": "random", "env_seed": env_seed}
            yield Episode(values, final=observation, terminated=terminated, meta=meta)


def mujoco_spec(state: int, action: int, physics: int, parts: tuple[tuple[str, int, int], ...]) -> TrajectorySpec:
    """The factors of a D4RL task: state, action, reward and the simulator state."""
    return TrajectorySpec(
        (
            Factor("state", "continuous", "state", (state,), parts=parts),
            Factor("action", "continuous", "action", (action,)),
            Factor("reward", "continuous", "reward", (1,)),
            Factor("physics", "continuous", "simulator", (physics,)),
        )
    )


class MujocoEnv(gymnasium.Env[Any, Any]):
    """One world. ``reset(options={"simulator": row})`` restarts the step count, then continues from a saved state."""

    def __init__(self, family: MujocoFamily, world: World) -> None:
        self._family, self.world = family, world
        state, action = family.spec["state"].shape, family.spec["action"].shape
        self.observation_space = gymnasium.spaces.Dict({"state": gymnasium.spaces.Box(-np.inf, np.inf, state, np.float32)})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, action, np.float32)
        self.render_mode = "rgb_array"
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / world.seconds)}
        self._steps = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        row = (options or {}).get("simulator")
        if row is None:
            self.world.start(self.np_random)
        else:
            self.world.restore(self._checked(row))
        self._steps = 0
        return self._observation(), {"events": ()}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        if self._steps < 0:
            raise EnvError(f"'{self._family.name}' must be reset before its first step")
        command = np.asarray(action, np.float64)
        if command.shape != self.action_space.shape or not np.isfinite(command).all():
            raise EnvError(f"'{self._family.name}' takes {self.action_space.shape} finite actions; found {action}")
        reward, terminated, events = self.world.step(np.minimum(np.maximum(command, -1.0), 1.0))
        self._steps += 1
        truncated = self._steps >= self._family.horizon
        return self._observation(), reward, terminated, truncated, {"events": events}

    def physics(self) -> np.ndarray:
        """``(physics_size,)`` float64 state, from which ``reset(options={"simulator": row})`` continues."""
        return self.world.physics()

    def render(self) -> np.ndarray:  # type: ignore[override]
        """``(height, width, 3)`` uint8; raises EnvError where no OpenGL library is installed."""
        return self.world.picture(self._family.height, self._family.width)

    def close(self) -> None:
        self.world.close()

    def _observation(self) -> dict[str, np.ndarray]:
        return {"state": self.world.observe().astype(np.float32)}

    def _checked(self, row: Any) -> np.ndarray:
        saved, size = np.asarray(row, np.float64), self._family.spec["physics"].width
        if saved.shape != (size,) or not np.isfinite(saved).all():
            raise EnvError(f"'{self._family.name}' starts from {size} finite numbers; found an array {saved.shape}")
        return saved
