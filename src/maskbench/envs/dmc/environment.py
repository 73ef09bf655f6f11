"""dm_control's walker, cheetah and quadruped with the suite's and ExoRL's tasks (MaskDP study, sections 1 and 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np

from maskbench.envs.base import Environment, LoopedBatch, numbered
from maskbench.envs.dmc.domains import DOMAINS
from maskbench.envs.dmc.noise import coloured_actions
from maskbench.envs.dmc.simulator import Simulator
from maskbench.errors import ConfigError, DataError, EnvError, did_you_mean
from maskbench.trajectory import Episode, Factor, TrajectorySpec


class DMControl(Environment):
    """One body with one task; ``name`` is the domain.

    domain:  walker, cheetah or quadruped.
    task:    walker stand|walk|run|flip, cheetah run|run_backward|flip|flip_backward,
             quadruped stand|walk|run|jump|roll|roll_fast.
    horizon: control steps after which an episode is truncated; nothing terminates one.
    height, width: size of pictures.

    Factors: ``state`` (flat observation, float32, with the suite's parts), ``action`` in [-1, 1] (scaled to the actuators'
    range), ``reward`` in [0, 1] and ``physics``, the simulator state [qpos, qvel, act] as float64.
    Raises ConfigError for an unknown domain or task.
    """

    success_events: ClassVar[tuple[str, ...]] = ()
    queries: ClassVar[tuple[str, ...]] = ("bc", "return", "goal")

    def __init__(self, domain: str, task: str, horizon: int = 1000, height: int = 240, width: int = 320) -> None:
        if domain not in DOMAINS:
            raise ConfigError(f"no dm_control domain is called '{domain}'. {did_you_mean(domain, DOMAINS)}")
        self.body = DOMAINS[domain]
        if task not in self.body.tasks:
            raise ConfigError(f"the domain '{domain}' has no task '{task}'. {did_you_mean(task, self.body.tasks)}")
        if horizon < 1:
            raise ConfigError(f"horizon must be at least 1; found {horizon}")
        self.name, self.domain, self.task, self.horizon = domain, domain, task, horizon
        self.height, self.width = height, width
        self.reward = self.body.tasks[task]
        self._idle: list[Simulator] = []
        self.spec = TrajectorySpec(
            (
                Factor("state", "continuous", "state", (self.body.observation_size,), parts=self.body.parts),
                Factor("action", "continuous", "action", (self.body.action_size,)),
                Factor("reward", "continuous", "reward", (1,)),
                Factor("physics", "continuous", "simulator", (self.body.physics_size,)),
            )
        )

    def __reduce__(self) -> tuple[type[DMControl], tuple[Any, ...]]:
        """Other processes build their own body and simulations."""
        return DMControl, (self.domain, self.task, self.horizon, self.height, self.width)

    def make(self) -> DMControlEnv:
        """One environment; raises MissingExtraError where mujoco or dm_control is not installed. Needs no OpenGL to step."""
        return DMControlEnv(self, Simulator(self.body))

    def make_batch(self, num_slots: int) -> LoopedBatch:
        """Slots that share one compiled model, each with its own simulation state: a closed batch's, as far as they go."""
        simulators = [self._idle.pop() for _ in range(min(num_slots, len(self._idle)))]
        simulators = simulators or [Simulator(self.body)]
        simulators += [Simulator(self.body, simulators[0].model) for _ in range(num_slots - len(simulators))]
        return _Batch([DMControlEnv(self, simulator) for simulator in simulators], simulators, self._idle)

    def import_options(self, format: str) -> dict[str, Any]:
        """Trees of the release hold several bodies: this one's episodes alone are read."""
        return {"domain": self.domain} if format == "maskdp" else {}

    def generate(  # type: ignore[override]  # named options: a misspelt one is refused
        self, episodes: int | range, seed: int, colour: float = 1.0, scale: float = 1.0
    ) -> Iterator[Episode]:
        """Exploratory episodes of ``horizon`` steps under coloured random actions (see ``coloured_actions``)."""
        env = self.make()
        for i in numbered(episodes):
            rng = np.random.default_rng([seed, i])
            actions = coloured_actions(rng, self.horizon, self.body.action_size, colour, scale)
            values = {f.name: np.empty((self.horizon, *f.shape), f.dtype) for f in self.spec}
            values["action"][:] = actions
            observation, _ = env.reset(seed=int(rng.integers(2**32)))
            for t, action in enumerate(actions):
                values["state"][t] = observation["state"]
                values["physics"][t] = env.physics()
                observation, values["reward"][t], *_ = env.step(action)
            meta = {"env": self.name, "task": self.task, "quality": "exploratory", "colour": colour, "scale": scale}
            yield Episode(values, final=observation, meta=meta)

    def relabel(self, physics: np.ndarray) -> np.ndarray:
        """Reward ``(n,)`` float32 of being in each saved state ``(n, physics_size)`` (MaskDP study 1.7).

        A step's reward is that of the state it arrives in: ``relabel(physics)[t + 1]`` is what the action of row ``t`` earned.
        Raises DataError for rows of another size.
        """
        physics = np.asarray(physics, np.float64)
        if physics.ndim != 2 or physics.shape[1] != self.body.physics_size:
            raise DataError(f"'{self.name}' saves {self.body.physics_size} numbers a state; found an array {physics.shape}")
        if not len(physics):
            return np.empty(0, np.float32)
        features = Simulator(self.body).features_of(physics)
        return np.asarray(self.reward(*features.T), np.float32)


@dataclass
class _Batch(LoopedBatch):
    """Hands its ``simulators`` back when it is closed; making one takes a millisecond, compiling the model a hundred."""

    simulators: list[Simulator]
    idle: list[Simulator]

    def close(self) -> None:
        super().close()
        self.idle += self.simulators
        self.envs, self.simulators = [], []


class DMControlEnv(gymnasium.Env[Any, Any]):
    """One simulation. ``reset(options={"simulator": row})`` restarts the step count, then continues from a saved state.

    ``reset(seed=s)`` draws the state in which the suite's task with ``random=s`` starts its first episode.
    """

    def __init__(self, family: DMControl, simulator: Simulator) -> None:
        self._family = family
        self._simulator = simulator
        state, action = family.spec["state"].shape, family.spec["action"].shape
        self.observation_space = gymnasium.spaces.Dict({"state": gymnasium.spaces.Box(-np.inf, np.inf, state, np.float32)})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, action, np.float32)
        self.render_mode = "rgb_array"
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / family.body.seconds)}
        self._steps = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        row = (options or {}).get("simulator")
        if row is None:
            self._simulator.start(int(self.np_random.integers(2**32)) if seed is None else seed % 2**32)
        else:
            self._simulator.restore(self._checked(row))
        self._steps = 0
        return {"state": self._simulator.observe()}, {"events": ()}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        if self._steps < 0:
            raise EnvError(f"'{self._family.name}' must be reset before its first step")
        self._simulator.step(action)
        self._steps += 1
        reward = float(self._family.reward(*self._simulator.features().tolist()))
        return {"state": self._simulator.observe()}, reward, False, self._steps >= self._family.horizon, {"events": ()}

    def physics(self) -> np.ndarray:
        """``(physics_size,)`` float64 state, from which ``reset(options={"simulator": row})`` continues."""
        return self._simulator.physics()

    def render(self) -> np.ndarray:  # type: ignore[override]
        """``(height, width, 3)`` uint8; raises EnvError where no OpenGL library is installed."""
        return self._simulator.picture(self._family.height, self._family.width)

    def close(self) -> None:
        self._simulator.close()

    def _checked(self, row: Any) -> np.ndarray:
        physics, size = np.asarray(row, np.float64), self._family.body.physics_size
        if physics.shape != (size,) or not np.isfinite(physics).all():
            raise EnvError(f"'{self._family.name}' starts from {size} finite numbers; found an array {physics.shape}")
        return physics
