"""Tasks in a maze: what they share besides their ball, and how an expert's episodes are recorded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from maskbench.envs.base import Environment, numbered
from maskbench.envs.maze2d.batch import MazeBatch, MazeEnv
from maskbench.envs.maze2d.mazes import MAZES, Maze
from maskbench.errors import ConfigError, did_you_mean
from maskbench.trajectory import Episode

#: Drives ``n`` balls: rows (position, velocity, goal) ``(n, 6)`` to forces in [-1, 1] ``(n, 2)``.
Driver = Callable[[np.ndarray], np.ndarray]
#: Makes the driver of episodes that begin in rows ``(n, 6)``, each with its own generator.
DriverFactory = Callable[[np.ndarray, Sequence[np.random.Generator]], Driver]

#: Episodes recorded in lock step.
_LOCKSTEP = 250


class MazeFamily(Environment):
    """A ball in one of ``MAZES``, a goal, and a task that says what is seen and what is rewarded.

    A row ``(6,)`` float64 is the whole world: position, velocity and goal.
    Raises ConfigError for an unknown size or a horizon below 1.
    """

    queries: ClassVar[tuple[str, ...]] = ("bc", "return", "goal")
    events = ("goal",)

    #: Columns of a row that ``state`` shows.
    observed: ClassVar[tuple[int, ...]]
    #: The event ``goal`` is the first step that ends within this distance.
    goal_radius: ClassVar[float]

    def __init__(
        self, name: str, size: str, horizon: int | None, start_noise: float, velocity_noise: float, pixels_per_cell: int
    ) -> None:
        if size not in MAZES:
            raise ConfigError(f"maze2d has no size '{size}'. {did_you_mean(size, MAZES)}")
        self.name, self.size = name, size
        self.maze: Maze = MAZES[size]
        self.horizon = self.maze.horizon if horizon is None else horizon
        if self.horizon < 1:
            raise ConfigError(f"horizon must be at least 1; found {horizon}")
        self.start_noise, self.velocity_noise = start_noise, velocity_noise
        self.pixels_per_cell = pixels_per_cell

    @abstractmethod
    def start(self, env_seed: int) -> np.ndarray:
        """``(6,)`` row that ``env_seed`` begins in."""

    @abstractmethod
    def reward(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """``(n,)`` rewards of steps from distances ``before`` to distances ``after`` ``(n,)`` to the goal."""

    def make(self) -> MazeEnv:
        """One environment; raises MissingExtraError where mujoco is not installed."""
        return MazeEnv(self)

    def make_batch(self, num_slots: int) -> MazeBatch:
        return MazeBatch(self, num_slots)

    def record(
        self, episodes: int | range, seed: int, noise: float, factory: DriverFactory, meta: Mapping[str, Any]
    ) -> Iterator[Episode]:
        """Episodes of ``horizon`` steps. Actions are the driver's plus Gaussian noise, cut to [-1, 1], stored as executed.

        noise: standard deviation per axis. Episode ``i`` draws from a generator of ``(seed, i)`` alone.
        """
        wanted = numbered(episodes)
        batch = self.make_batch(min(len(wanted), _LOCKSTEP))
        for begin in range(0, len(wanted), _LOCKSTEP):
            rngs = [np.random.default_rng([seed, i]) for i in wanted[begin : begin + _LOCKSTEP]]
            n = len(rngs)
            env_seeds = [int(rng.integers(2**32)) for rng in rngs]
            observation = batch.reset(range(n), env_seeds)
            driver = factory(batch.rows()[:n], rngs)
            jitter = np.stack([noise * rng.standard_normal((self.horizon, 2)) for rng in rngs], 1)
            values = {f.name: np.empty((n, self.horizon, *f.shape), f.dtype) for f in self.spec}
            for t in range(self.horizon):
                action = np.clip(driver(batch.rows()[:n]) + jitter[t], -1.0, 1.0).astype(np.float32)
                values["state"][:, t], values["action"][:, t] = observation["state"], action
                values["physics"][:, t] = batch.physics()[:n]
                step = batch.step(range(n), action)
                observation, values["reward"][:, t, 0] = step.observation, step.reward
            for i in range(n):
                cells = {name: value[i] for name, value in values.items()}
                final = {name: value[i] for name, value in observation.items()}
                yield Episode(cells, final, meta={"env": self.name, **meta, "env_seed": env_seeds[i]})
