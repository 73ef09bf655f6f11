"""D4RL's maze2d: push a ball through a maze to a fixed goal that the observation does not show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from maskbench.envs.maze2d.family import Driver, MazeFamily
from maskbench.errors import ConfigError
from maskbench.trajectory import Episode, Factor, TrajectorySpec


class Maze2D(MazeFamily):
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

    observed: ClassVar[tuple[int, ...]] = (0, 1, 2, 3)
    goal_radius: ClassVar[float] = 0.5
    data_version: ClassVar[int] = 2

    def __init__(
        self,
        size: str,
        horizon: int | None = None,
        start_noise: float = 0.1,
        velocity_noise: float = 0.1,
        pixels_per_cell: int = 32,
    ) -> None:
        super().__init__(f"maze2d_{size}", size, horizon, start_noise, velocity_noise, pixels_per_cell)
        self.spec = TrajectorySpec(
            (
                Factor("state", "continuous", "state", (4,), parts=(("position", 0, 2), ("velocity", 2, 4))),
                Factor("action", "continuous", "action", (2,)),
                Factor("reward", "continuous", "reward", (1,)),
                Factor("physics", "continuous", "simulator", (4,)),
            )
        )

    def start(self, env_seed: int) -> np.ndarray:
        rng = np.random.default_rng(env_seed)
        position = rng.choice(self.maze.free) + rng.uniform(-self.start_noise, self.start_noise, 2)
        return np.concatenate((position, self.velocity_noise * rng.standard_normal(2), self.maze.goal))

    def reward(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return after <= self.goal_radius

    def generate(  # type: ignore[override]  # named options: a misspelt one is refused
        self,
        episodes: int | range,
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

        def to_the_task(begin: np.ndarray, rngs: Sequence[np.random.Generator]) -> Driver:
            return lambda rows: self.maze.expert(rows[:, :4], rows[:, 4:], gain, damping)

        def to_random_goals(begin: np.ndarray, rngs: Sequence[np.random.Generator]) -> Driver:
            wanted = np.array([self._draw_goal(rng) for rng in rngs])

            def drive(rows: np.ndarray) -> np.ndarray:
                for i in np.flatnonzero(np.linalg.norm(rows[:, :2] - wanted, axis=1) <= 0.1).tolist():
                    wanted[i] = self._draw_goal(rngs[i])
                return self.maze.expert(rows[:, :4], wanted, gain, damping)

            return drive

        meta = {"quality": "expert", "goals": goals, "noise": noise, "gain": gain, "damping": damping}
        return self.record(episodes, seed, noise, to_the_task if goals == "task" else to_random_goals, meta)

    def goal(self, env_seed: int) -> Mapping[str, np.ndarray]:
        """The task's position, the same for every seed; no velocity is asked for."""
        return {"state": np.array([*self.maze.goal, np.nan, np.nan], np.float32)}

    def score(self, episode_return: float) -> Mapping[str, float]:
        """D4RL's normalised score of ``maze2d-<size>-v1``; comparable at the published horizon only."""
        low, high = self.maze.scores
        return {"normalised_score": 100.0 * (float(episode_return) - low) / (high - low)}

    def _draw_goal(self, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(rng.choice(self.maze.free) + rng.uniform(-0.1, 0.1, 2))
