"""uniMASK's maze: the goal is shown, the velocity is not, and every step towards the goal is rewarded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from maskbench.envs.base import Observation
from maskbench.envs.maze2d.family import MazeFamily
from maskbench.envs.maze2d.waypoints import WaypointController
from maskbench.errors import EnvError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

#: Resets of one original environment that made its published data, over which its start velocity wandered.
_LEGACY_RESETS = 1000


class MazePOMDP(MazeFamily):
    """Partially observed maze2d (unimask.md section 4.2; paper section 5.2).

    size:    medium or umaze as published, or large.
    horizon: steps of 0.01 s after which an episode is truncated. Nothing terminates one.
    velocity_noise: standard deviation of the start velocity, m/s an axis.
    legacy_velocity_accumulation: the original adds each start's noise to that of all resets before, so that its balls start
        ever faster. A start here depends on its seed alone: True draws it as after 1 to 1000 resets, equally likely.
    start_noise:     half width of the uniform noise on the start position, around a free cell drawn uniformly.
    pixels_per_cell: size of pictures.

    Factors: ``state`` = (row, column, row and column of the goal), ``action`` = force in [-1, 1] along the same axes,
    ``reward`` = decrease of the distance to the goal (a return is the initial distance less the final one), ``physics`` =
    position, velocity and goal. The goal is a free cell's number, never the start's. Event ``goal``: the first step that
    ends within 0.3 of it, the distance by which the calibration of section 4.2 counts arrivals; the original has no event.
    """

    observed: ClassVar[tuple[int, ...]] = (0, 1, 4, 5)
    goal_radius: ClassVar[float] = 0.3
    reach: ClassVar[float] = 0.3
    #: What ``return_target`` asks for, relative to the nearest episode's return: 1.2 in the published code, 1.1 in the paper.
    target_ratio: ClassVar[float] = 1.2

    def __init__(
        self,
        size: str = "medium",
        horizon: int = 200,
        velocity_noise: float = 0.1,
        legacy_velocity_accumulation: bool = False,
        start_noise: float = 0.3,
        pixels_per_cell: int = 32,
    ) -> None:
        super().__init__(f"maze2d_{size}_pomdp", size, horizon, start_noise, velocity_noise, pixels_per_cell)
        self.legacy_velocity_accumulation = legacy_velocity_accumulation
        self.spec = TrajectorySpec(
            (
                Factor("state", "continuous", "state", (4,), parts=(("position", 0, 2), ("goal", 2, 4))),
                Factor("action", "continuous", "action", (2,)),
                Factor("reward", "continuous", "reward", (1,)),
                Factor("physics", "continuous", "simulator", (6,)),
            )
        )

    def start(self, env_seed: int) -> np.ndarray:
        rng = np.random.default_rng(env_seed)
        begin, goal = self.maze.free[rng.choice(len(self.maze.free), 2, replace=False)]
        position = begin + rng.uniform(-self.start_noise, self.start_noise, 2)
        velocity = self.velocity_noise * rng.standard_normal(2)
        if self.legacy_velocity_accumulation:
            velocity *= np.sqrt(rng.integers(1, _LEGACY_RESETS, endpoint=True))
        return np.concatenate((position, velocity, goal))

    def reward(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return before - after

    def generate(  # type: ignore[override]  # named options: a misspelt one is refused
        self, episodes: int | range, seed: int, noise: float = 0.5, gain: float = 10.0, damping: float = 1.0
    ) -> Iterator[Episode]:
        """Episodes of ``horizon`` steps of D4RL's waypoint controller on its way to the goal.

        noise: standard deviation of Gaussian noise on the actions (the paper calls 0.5 the variance), cut to [-1, 1] again.
        """
        meta = {"quality": "expert", "noise": noise, "gain": gain, "damping": damping}
        return self.record(
            episodes, seed, noise, lambda rows, rngs: WaypointController(self.maze, rows, rngs, gain, damping), meta
        )

    def goal(self, env_seed: int) -> Mapping[str, np.ndarray]:
        """The ball at the goal that ``env_seed`` draws."""
        return {"state": np.tile(self.start(env_seed)[4:], 2).astype(np.float32)}

    def return_target(
        self, env_seed: int, observation: Observation, starts: Mapping[str, np.ndarray], returns: np.ndarray
    ) -> float:
        """``RC_auto``: 1.2 times the return of the recorded episode that begins nearest in (3 position, 3 goal, velocity)."""
        if "physics" not in starts:
            raise EnvError(
                f"nearest beginnings in '{self.name}' need velocities and goals: episodes with the simulator factor 'physics', "
                "as generate() makes them"
            )
        scale = np.array([3.0, 3.0, 1.0, 1.0, 3.0, 3.0])
        gaps = np.linalg.norm((starts["physics"] - self.start(env_seed)) * scale, axis=1)
        return self.target_ratio * float(returns[np.argmin(gaps)])
