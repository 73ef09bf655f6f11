"""Tiny worlds and policies for rollout tests; importable by spawned workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np

from maskbench.envs.base import Environment, Observation
from maskbench.rollout.plan import PlanRow
from maskbench.trajectory import Episode, Factor, TrajectorySpec


class DriftWorld(gymnasium.Env):
    """A point that moves by its action plus noise of its own generator; terminates where |x| > 3."""

    def __init__(self, broken_seed: int | None) -> None:
        self.observation_space = gymnasium.spaces.Dict({"state": gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)})
        self.broken_seed = broken_seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict]:
        super().reset(seed=seed)
        self.seed, self.t = seed, 0
        self.x = self.np_random.normal(size=3) if options is None else np.array(options["simulator"], np.float64)
        return {"state": self.x.astype(np.float32)}, {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict]:
        if self.seed == self.broken_seed:
            raise ZeroDivisionError("the simulator diverged")
        self.t += 1
        self.x = self.x + 0.3 * np.append(action, 0.0) + 0.1 * self.np_random.normal(size=3)
        far = bool(np.abs(self.x).max() > 3)
        events = ("goal",) if far else (("route:left",) if self.t == 2 and self.x[0] < 0 else ())
        return {"state": self.x.astype(np.float32)}, float(-np.abs(self.x[0])), far, self.t >= 20, {"events": events}

    def render(self) -> np.ndarray:
        return np.full((5, 7, 3), self.t, np.uint8)


class Drift(Environment):
    name, horizon = "drift", 20
    spec = TrajectorySpec((Factor("state", "continuous", "state", (3,)), Factor("action", "continuous", "action", (2,))))

    def __init__(self, broken_seed: int | None = None) -> None:
        self.broken_seed = broken_seed

    def make(self) -> DriftWorld:
        return DriftWorld(self.broken_seed)

    def generate(self, episodes: int | range, seed: int, **options: Any) -> Iterator[Episode]:
        return iter(())

    def goal(self, env_seed: int) -> dict[str, np.ndarray]:
        return {"state": np.array([np.nan, env_seed % 3, 0.5], np.float32)}

    def score(self, episode_return: float) -> dict[str, float]:
        return {"normalised_score": episode_return / 10}


class CounterWorld(gymnasium.Env):
    """Cell ``c`` of a ring of five; the action moves left, not at all or right. It says 'target' at cell 4."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict]:
        super().reset(seed=seed)
        self.cell = int(self.np_random.integers(5))
        return {"cell": np.int64(self.cell)}, {}

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict]:
        self.cell = (self.cell + int(action) - 1) % 5
        hit = self.cell == 4
        return {"cell": np.int64(self.cell)}, float(hit), False, False, {"events": ("target",) if hit else ()}


class Counter(Environment):
    """Discrete; the world never ends by itself, the horizon does."""

    name, horizon = "counter", 6
    spec = TrajectorySpec((Factor("cell", "discrete", "state", classes=5), Factor("move", "discrete", "action", classes=3)))

    def make(self) -> CounterWorld:
        return CounterWorld()

    def generate(self, episodes: int | range, seed: int, **options: Any) -> Iterator[Episode]:
        return iter(())


class RewardOnly(Counter):
    success_events: ClassVar[tuple[str, ...]] = ()


class NetworkPolicy:
    """A small torch network over the last observations, with sampled exploration and a return-to-go input."""

    def __init__(self) -> None:
        import torch

        nn, make = torch.nn, torch.Generator().manual_seed(0)
        into, hidden = nn.Linear(4, 33), nn.Linear(33, 7)
        self.network = nn.Sequential(
            into, nn.GELU(approximate="tanh"), nn.LayerNorm(33), hidden, nn.SiLU(), nn.Linear(7, 2), nn.Tanh()
        )
        for weight in self.network.parameters():
            weight.data = torch.randn(weight.shape, generator=make) * 0.5
        self.togo: dict[int, float] = {}
        self.generators: dict[int, np.random.Generator] = {}

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        for slot, row in zip(slots, rows, strict=True):
            self.togo[int(slot)] = row.target_return or 0.0
            self.generators[int(slot)] = np.random.default_rng(row.policy_seed)

    def act(self, observations: Observation, slots: np.ndarray) -> np.ndarray:
        import torch

        togo = np.array([[self.togo[int(s)]] for s in slots], np.float32)
        with torch.inference_mode():
            mean = self.network(torch.from_numpy(np.concatenate([observations["state"], togo], 1))).numpy()
        return mean + np.stack([self.generators[int(s)].normal(size=2) for s in slots]).astype(np.float32)

    def record(self, slots: np.ndarray, rewards: np.ndarray) -> None:
        for slot, reward in zip(slots, rewards, strict=True):
            self.togo[int(slot)] -= float(reward)
