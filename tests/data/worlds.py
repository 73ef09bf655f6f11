"""Small specifications and episodes that the data tests share."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskbench.envs.base import numbered
from maskbench.trajectory import Episode, Factor, TrajectorySpec

SPEC = TrajectorySpec(
    (
        Factor("state", "continuous", "state", (3,), parts=(("height", 0, 1), ("velocity", 1, 3))),
        Factor("key", "discrete", "state", classes=1000),
        Factor("action", "discrete", "action", classes=4),
        Factor("reward", "continuous", "reward", (1,)),
        Factor("physics", "continuous", "simulator", (2,)),
    )
)


def episode(index: int, length: int, *, final: bool = True) -> Episode:
    """``state[t] = (100 * index + t, index, t)`` and ``key[t] = 10 * index + t``, so that a window tells where it came from."""
    t = np.arange(length)
    random = np.random.default_rng(index)
    state = np.stack([100 * index + t, np.full(length, index), t], axis=1).astype(np.float32)
    return Episode(
        values={
            "state": state,
            "key": 10 * index + t,
            "action": random.integers(0, 4, length),
            "reward": random.integers(-1, 2, (length, 1)).astype(np.float32),
            "physics": random.normal(size=(length, 2)),
        },
        final={"state": state[-1] + 1, "key": np.int64(7)} if final else {},
        terminated=index % 2 == 0,
        meta={"mode": f"route {index}"},
    )


def episodes(*lengths: int) -> list[Episode]:
    return [episode(i, n) for i, n in enumerate(lengths)]


@dataclass
class CountingEnv:
    """An environment as far as data are concerned; counts how often it had to generate."""

    data_version = 1

    speed: int = 1
    name: str = "counting"
    spec: TrajectorySpec = SPEC
    calls: list[Any] = field(default_factory=list, init=False)

    def recorded_rewards(self, rewards: np.ndarray) -> np.ndarray:
        return rewards

    def import_options(self, format: str) -> dict[str, Any]:
        return {}

    def generate(self, episodes: int | range, seed: int, **options: Any) -> Iterator[Episode]:
        self.calls.append((episodes, seed, options))
        for i in numbered(episodes):
            yield episode(seed + i, 6 + i % 3)
