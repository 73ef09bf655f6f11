"""The online loop: what it writes, that a killed run comes out as an uninterrupted one, and that it learns."""

from __future__ import annotations

import hashlib
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from maskbench.collect import loop
from maskbench.collect.agent import Agent, Learner
from maskbench.collect.loop import Schedule, State, learn
from maskbench.collect.networks import Sizes
from maskbench.collect.rewards.proto import Proto
from maskbench.collect.rewards.rnd import RND
from maskbench.collect.rollout import returns
from maskbench.envs.base import LoopedBatch
from maskbench.errors import ConfigError, DataError
from maskbench.training import checkpoint
from maskbench.training.interrupt import Interrupted
from maskbench.trajectory import Factor, TrajectorySpec


class Line(gymnasium.Env[Any, Any]):
    """A point on a line, pushed by the action, paid for being near the origin."""

    def __init__(self, horizon: int) -> None:
        self._horizon, self._x, self._t = horizon, 0.0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        self._x, self._t = float(np.random.default_rng(seed).uniform(-1, 1)), 0
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self._x = float(np.clip(self._x + 0.2 * action[0], -1, 1))
        self._t += 1
        return self._observation(), 1.0 - abs(self._x), False, self._t >= self._horizon, {}

    def physics(self) -> np.ndarray:
        return np.array([self._x])

    def _observation(self) -> dict[str, np.ndarray]:
        return {"state": np.array([self._x, 1.0], np.float32)}


class LineFamily:
    """As much of an environment family as the loop asks for."""

    spec = TrajectorySpec(
        (
            Factor("state", "continuous", "state", (2,)),
            Factor("action", "continuous", "action", (1,)),
            Factor("reward", "continuous", "reward", (1,)),
            Factor("physics", "continuous", "simulator", (1,)),
        )
    )

    def __init__(self, horizon: int = 20) -> None:
        self.horizon = horizon

    def make(self) -> Line:
        return Line(self.horizon)

    def make_batch(self, n: int) -> LoopedBatch:
        return LoopedBatch([self.make() for _ in range(n)])


LEARNER = Learner(hidden=16, batch_size=16, repeat=2, update_every=2, warmup_steps=40, capacity=120)
SCHEDULE = Schedule(num_steps=240, seed=5, evaluate_every=60, evaluation_episodes=2, checkpoint_seconds=0.0)
EXPLORERS = {
    "td3": lambda sizes: None,
    "rnd": lambda sizes: RND(sizes, features=4),
    "proto": lambda sizes: Proto(sizes, features=4, prototypes=6, queue=24),
}


def agent(name: str = "td3", learner: Learner = LEARNER) -> Agent:
    torch.manual_seed(0)
    sizes = Sizes(2, 1, learner.hidden)
    return Agent(sizes, learner, EXPLORERS[name](sizes), 0.5)


def go(folder: Path, name: str = "td3", schedule: Schedule = SCHEDULE, learner: Learner = LEARNER) -> State:
    family: Any = LineFamily()
    return learn(folder / "run", folder / "episodes", family, agent(name, learner), schedule, progress=False)


def content(folder: Path) -> dict[str, str]:
    """Hashes of all that a run leaves, clocks apart."""
    files = sorted(
        [*folder.glob("episodes/*"), *folder.glob("run/checkpoints/step*/*.safetensors"), folder / "run/metrics.csv"]
    )
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_every_step_becomes_a_row_of_an_episode_in_the_published_layout(tmp_path: Path) -> None:
    state = go(tmp_path)
    files = sorted((tmp_path / "episodes").iterdir())
    assert [f.name for f in files] == [f"episode_{i:06d}_20.npz" for i in range(12)]
    with np.load(files[3], allow_pickle=False) as archive:
        arrays = dict(archive)
    assert {k: (v.shape, v.dtype.name) for k, v in arrays.items()} == {
        "observation": ((21, 2), "float32"),
        "action": ((21, 1), "float32"),
        "reward": ((21, 1), "float32"),
        "discount": ((21, 1), "float32"),
        "physics": ((21, 1), "float64"),
    }
    np.testing.assert_array_equal(arrays["action"][1::2], arrays["action"][2::2])  # held for two steps
    np.testing.assert_allclose(
        arrays["physics"][1:, 0], np.clip(arrays["physics"][:-1, 0] + 0.2 * arrays["action"][1:, 0], -1, 1)
    )
    assert arrays["action"][0] == arrays["reward"][0] == 0
    assert (state.episode, state.updates) == (12, (240 - 40) // 2)


def test_the_best_weights_are_those_of_the_best_evaluation(tmp_path: Path) -> None:
    state = go(tmp_path)
    assert checkpoint.load_trainer_state(tmp_path / "run", "best")["step"] == state.best_step
    family, best = LineFamily(), agent()
    checkpoint.load_weights(best, tmp_path / "run", "best")
    seeds = [loop.step_seed(SCHEDULE.seed, i, stream=3) % 2**32 for i in range(2)]
    assert returns(family, best.act, seeds).mean() == state.best  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "function", "moment"),
    [
        ("td3", "write_maskdp", 7),
        ("td3", "_save", 3),
        ("td3", "_evaluate", 2),
        ("rnd", "write_maskdp", 9),
        ("proto", "_save", 8),
    ],
)
def test_a_killed_run_resumes_to_the_same_bytes(
    tmp_path: Path, name: str, function: str, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(tmp_path / "whole", name)
    calls, real = iter(range(moment)), getattr(loop, function)

    def until_then(*args: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            raise ZeroDivisionError
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, function, until_then)
        with pytest.raises(ZeroDivisionError):
            go(tmp_path / "killed", name)
    go(tmp_path / "killed", name)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_episodes_after_the_last_checkpoint_are_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rare = replace(SCHEDULE, checkpoint_seconds=1e9)
    go(tmp_path / "whole", schedule=rare)
    real = loop.play

    def play(*args: Any) -> Any:
        if args[4].episode == 8:  # two episodes after the evaluation at 120
            raise ZeroDivisionError
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "play", play)
        with pytest.raises(ZeroDivisionError):
            go(tmp_path / "killed", schedule=rare)
    assert len(list((tmp_path / "killed" / "episodes").iterdir())) == 8
    assert checkpoint.load_trainer_state(tmp_path / "killed" / "run", "last")["collect"]["episode"] == 6
    go(tmp_path / "killed", schedule=rare)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_a_signal_saves_and_tells_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(tmp_path / "whole")
    real = loop.play

    def play(*args: Any) -> Any:
        if args[4].episode == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "play", play)
        with pytest.raises(Interrupted, match="step 120; the same command goes on"):
            go(tmp_path / "cut")
    go(tmp_path / "cut")
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = go(tmp_path)
    before = content(tmp_path)
    assert go(tmp_path) == first
    assert content(tmp_path) == before


def test_learning_ends_at_the_wanted_return(tmp_path: Path) -> None:
    state = go(tmp_path, schedule=replace(SCHEDULE, stop_return=0.1))
    assert state.episode == 3


def test_a_finished_run_goes_on_with_a_longer_schedule(tmp_path: Path) -> None:
    go(tmp_path / "long")
    go(tmp_path / "short", schedule=replace(SCHEDULE, num_steps=120))
    go(tmp_path / "short")
    assert content(tmp_path / "short") == content(tmp_path / "long")


def test_missing_episodes_of_a_run_are_told(tmp_path: Path) -> None:
    go(tmp_path, schedule=replace(SCHEDULE, num_steps=120))
    next((tmp_path / "episodes").iterdir()).unlink()
    with pytest.raises(DataError, match="holds 5 episodes, but the run to be continued has played 6"):
        go(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repeat": 3}, "repeat=3 does not divide the horizon of 20"),
        ({"nstep": 11}, "nstep=11 is longer than an episode of 10 decisions"),
        ({"warmup_steps": 10}, "at least 20"),
    ],
)
def test_what_does_not_fit_the_episodes_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        go(tmp_path, learner=replace(LEARNER, **change))


def test_the_agent_learns_to_stay_at_the_origin(tmp_path: Path) -> None:
    learner = replace(LEARNER, hidden=32, batch_size=64, warmup_steps=100, capacity=10_000, lr=3e-3)
    state = go(tmp_path, schedule=replace(SCHEDULE, num_steps=1600, evaluate_every=400), learner=learner)
    assert state.best is not None
    assert state.best > 17.5  # of 20; random actions earn 10, the shortest way to the origin about 18.8
