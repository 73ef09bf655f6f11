"""D4RL's maze2d: push a ball through a maze to a fixed goal that the observation does not show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np

from maskbench.envs.base import Environment
from maskbench.envs.maze2d.mazes import MAZES, Maze
from maskbench.envs.maze2d.physics import PointMass
from maskbench.envs.maze2d.picture import draw
from maskbench.errors import ConfigError, EnvError, did_you_mean
from maskbench.trajectory import Episode, Factor, TrajectorySpec

#: The task's reward is 1 within this distance of its goal.
GOAL_RADIUS = 0.5


class Maze2D(Environment):
    """``maze2d-<size>-v1`` with D4RL's conventions (facts 3.3).

    size:    umaze (5 x 5 cells), medium (8 x 8) or large (9 x 12).
    horizon: steps of 0.01 s after which an episode is truncated; 300, 600, 800 where not given. Nothing terminates one.
    start_noise:    half width of the uniform noise on the start position, around a free cell drawn uniformly.
    velocity_noise: standard deviation of the start velocity, m/s an axis.
    pixels_per_cell: size of pictures.

    Factors: ``state`` = (row, column, their velocities), ``action`` = force in [-1, 1] along the same axes, ``reward`` = 1
    within 0.5 of the goal after the step, ``physics`` = the state in float64. Event ``goal``: the first such step.
    Raises ConfigError for an unknown size.
    """

    queries: ClassVar[tuple[str, ...]] = ("bc", "return", "goal")

    def __init__(
        self,
        size: str,
        horizon: int | None = None,
        start_noise: float = 0.1,
        velocity_noise: float = 0.1,
        pixels_per_cell: int = 32,
    ) -> None:
        if size not in MAZES:
            raise ConfigError(f"maze2d has no size '{size}'. {did_you_mean(size, MAZES)}")
        self.maze: Maze = MAZES[size]
        self.name = f"maze2d_{size}"
        self.horizon = self.maze.horizon if horizon is None else horizon
        if self.horizon < 1:
            raise ConfigError(f"horizon must be at least 1; found {horizon}")
        self.start_noise, self.velocity_noise = start_noise, velocity_noise
        self.pixels_per_cell = pixels_per_cell
        self.spec = TrajectorySpec(
            (
                Factor("state", "continuous", "state", (4,), parts=(("position", 0, 2), ("velocity", 2, 4))),
                Factor("action", "continuous", "action", (2,)),
                Factor("reward", "continuous", "reward", (1,)),
                Factor("physics", "continuous", "simulator", (4,)),
            )
        )

    def make(self) -> Maze2DEnv:
        """One environment; raises MissingExtraError where mujoco is not installed. Pictures need no OpenGL."""
        return Maze2DEnv(self)

    def generate(  # type: ignore[override]  # named options: a misspelt one is refused
        self,
        episodes: int,
        seed: int,
        noise: float = 0.1,
        goals: Literal["random", "task"] = "random",
        gain: float = 10.0,
        damping: float = 1.0,
    ) -> Iterator[Episode]:
        """Episodes of ``horizon`` steps of the waypoint expert, rewarded for the task's goal wherever it drives to.

        noise: standard deviation of Gaussian noise on the actions, which are cut to [-1, 1] again and stored as executed.
        goals: ``random`` drives to free cells drawn one after the other (D4RL's data), ``task`` to the task's goal.
        """
        if goals not in ("random", "task"):
            raise ConfigError(f"goals must be 'random' or 'task'; found '{goals}'")
        env = self.make()
        for i in range(episodes):
            rng = np.random.default_rng([seed, i])
            values = {f.name: np.empty((self.horizon, *f.shape), f.dtype) for f in self.spec}
            observation, _ = env.reset(seed=int(rng.integers(2**32)))
            goal = self.maze.goal if goals == "task" else self._draw_goal(rng)
            jitter = noise * rng.standard_normal((self.horizon, 2))
            for t in range(self.horizon):
                physics = env.physics()
                if goals == "random" and math.dist(physics[:2], goal) <= 0.1:
                    goal = self._draw_goal(rng)
                action = self.maze.expert(physics, goal, gain, damping) + jitter[t]
                action = np.minimum(np.maximum(action, -1.0), 1.0).astype(np.float32)
                values["state"][t], values["physics"][t], values["action"][t] = observation["state"], physics, action
                observation, values["reward"][t], *_ = env.step(action)
            meta = {"env": self.name, "quality": "expert", "goals": goals, "noise": noise, "gain": gain, "damping": damping}
            yield Episode(values, final=observation, meta=meta)

    def goal(self, env_seed: int) -> Mapping[str, np.ndarray]:
        """The task's position, the same for every seed; no velocity is asked for."""
        return {"state": np.array([*self.maze.goal, np.nan, np.nan], np.float32)}

    def score(self, episode_return: float) -> Mapping[str, float]:
        """D4RL's normalised score of ``maze2d-<size>-v1``; comparable at the published horizon only."""
        low, high = self.maze.scores
        return {"normalised_score": 100.0 * (float(episode_return) - low) / (high - low)}

    def _draw_goal(self, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(rng.choice(self.maze.free) + rng.uniform(-0.1, 0.1, 2))


class Maze2DEnv(gymnasium.Env[Any, Any]):
    """One ball. ``reset(options={"simulator": row})`` continues from ``physics()`` bit for bit, with the step count at 0."""

    def __init__(self, family: Maze2D) -> None:
        self._family = family
        self._ball = PointMass(family.maze)
        self.observation_space = gymnasium.spaces.Dict({"state": gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.render_mode = "rgb_array"
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 100}
        self._goal = family.maze.goal.tolist()
        self._trail: list[list[float]] = []
        self._reached = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        row = (options or {}).get("simulator")
        self._ball.restore(self._draw_start() if row is None else self._checked(row))
        self._trail, self._reached = [self._ball.position.tolist()], False
        return self._observe(), {"events": ()}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        if not self._trail:
            raise EnvError(f"'{self._family.name}' must be reset before its first step")
        force = np.asarray(action)
        if force.shape != (2,) or not np.isfinite(force).all():
            raise EnvError(f"'{self._family.name}' takes 2 finite forces; found {action}")
        self._ball.step(force)
        here = self._ball.position.tolist()
        self._trail.append(here)
        inside = math.dist(here, self._goal) <= GOAL_RADIUS
        events = ("goal",) if inside and not self._reached else ()
        self._reached |= inside
        return self._observe(), float(inside), False, len(self._trail) > self._family.horizon, {"events": events}

    def physics(self) -> np.ndarray:
        """``(4,)`` float64 position and velocity."""
        return np.concatenate((self._ball.position, self._ball.velocity))

    def render(self) -> np.ndarray:  # type: ignore[override]
        """``(H, W, 3)`` uint8: walls, goal region, the way so far and the ball."""
        return draw(self._family.maze, np.array(self._trail), GOAL_RADIUS, self._family.pixels_per_cell)

    def _observe(self) -> dict[str, np.ndarray]:
        return {"state": self.physics().astype(np.float32)}

    def _draw_start(self) -> np.ndarray:
        family, rng = self._family, self.np_random
        position = rng.choice(family.maze.free) + rng.uniform(-family.start_noise, family.start_noise, 2)
        return np.concatenate((position, family.velocity_noise * rng.standard_normal(2)))

    def _checked(self, row: Any) -> np.ndarray:
        physics = np.asarray(row, np.float64)
        if physics.shape != (4,) or not np.isfinite(physics).all():
            raise EnvError(f"'{self._family.name}' starts from 4 finite numbers (position, velocity); found {row}")
        return physics
