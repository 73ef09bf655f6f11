"""Every clause is seen to fail: each case breaks one rule of a sound environment."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from maskbench.envs.base import BatchEnv, Environment, LoopedBatch, Observation, Start, StepBatch, numbered
from maskbench.errors import EnvError
from maskbench.testing import check_env
from maskbench.trajectory import Episode, Factor, TrajectorySpec

Make = Callable[..., "Drift"]


class DriftEnv(gymnasium.Env[Any, Any]):
    """A point that drifts by action plus its velocity; the simulator row is (position, velocity)."""

    def __init__(self, horizon: int) -> None:
        self.observation_space = gymnasium.spaces.Dict({"place": gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)})
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.render_mode = "rgb_array"
        self.horizon = horizon
        self.row = np.zeros(2)
        self.t = 0

    def observe(self) -> dict[str, np.ndarray]:
        return {"place": self.row[:1].astype(np.float32)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        row = (options or {}).get("simulator")
        self.row = np.array(row if row is not None else self.np_random.normal(size=2), np.float64)
        self.t = 0
        return self.observe(), {"events": ()}

    def step(self, action: Any) -> Any:
        self.t += 1
        self.row = self.row + np.array([float(action[0]) + self.row[1], 0.0])
        return self.observe(), float(-abs(self.row[0])), False, self.t >= self.horizon, {"events": ("moved",)}

    def render(self) -> Any:
        return np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


class Drift(Environment):
    queries = ("bc", "goal")

    def __init__(self) -> None:
        self.name = "drift"
        self.horizon = 15
        self.spec = TrajectorySpec(
            (
                Factor("place", "continuous", "state", shape=(1,)),
                Factor("push", "continuous", "action", shape=(1,)),
                Factor("rtg", "continuous", "return", shape=(1,)),
                Factor("reward", "continuous", "reward", shape=(1,)),
                Factor("row", "continuous", "simulator", shape=(2,)),
            )
        )

    def make(self) -> gymnasium.Env[Any, Any]:
        return DriftEnv(self.horizon)

    def generate(self, episodes: int | range, seed: int, **options: Any) -> Iterator[Episode]:
        for i in numbered(episodes):
            generator = np.random.Generator(np.random.Philox(key=np.array([seed, i], np.uint64)))
            env = DriftEnv(self.horizon)
            env_seed = int(generator.integers(2**31))
            env.reset(seed=env_seed)
            rows, places, pushes, rewards = [], [], [], []
            for _ in range(self.horizon):
                rows.append(env.row)
                places.append(env.observe()["place"])
                pushes.append(generator.uniform(-1, 1, 1).astype(np.float32))
                rewards.append(np.float32([env.step(pushes[-1])[1]]))
            reward = np.stack(rewards)
            yield Episode(
                {
                    "place": np.stack(places),
                    "push": np.stack(pushes),
                    "rtg": reward[::-1].cumsum(0, dtype=np.float64)[::-1].astype(np.float32),
                    "reward": reward,
                    "row": np.stack(rows),
                },
                final=env.observe(),
                meta={"env_seed": env_seed},
            )

    def goal(self, env_seed: int) -> Mapping[str, np.ndarray] | None:
        return {"place": np.zeros(1, np.float32)}


class Wrapped(BatchEnv):
    """A sound batch whose answers subclasses spoil."""

    def __init__(self, inner: BatchEnv) -> None:
        self.inner, self.num_slots = inner, inner.num_slots

    def reset(self, slots: Sequence[int], seeds: Sequence[int], starts: Sequence[Start | None] | None = None) -> Observation:
        return self.inner.reset(slots, seeds, starts)

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        return self.inner.step(slots, actions)

    def render(self, slot: int) -> np.ndarray:
        return self.inner.render(slot)


class Coupled(Wrapped):
    """Reward grows with the number of neighbours."""

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        step = super().step(slots, actions)
        return replace(step, reward=step.reward + np.float32(len(slots)))


class SlotBound(Wrapped):
    """The start depends on the slot."""

    def reset(self, slots: Sequence[int], seeds: Sequence[int], starts: Sequence[Start | None] | None = None) -> Observation:
        return super().reset(slots, [int(s) + slot for s, slot in zip(seeds, slots, strict=True)], starts)


class Counting(Wrapped):
    """Remembers across episodes."""

    calls = 0

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        step = super().step(slots, actions)
        self.calls += 1
        return replace(step, reward=step.reward + np.float32(self.calls))


class Resetting(Wrapped):
    """Begins the next episode by itself, as many vectorised environments do."""

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        step = super().step(slots, actions)
        self.inner.reset([s for s, over in zip(slots, step.truncated, strict=True) if over], [0] * int(step.truncated.sum()))
        return step


class Doubles(Wrapped):
    """Rewards of another type."""

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        step = super().step(slots, actions)
        return replace(step, reward=step.reward.astype(np.float64), events=(("moved",),))


def with_batch(kind: type[Wrapped]) -> Drift:
    class Spoiled(Drift):
        def make_batch(self, num_slots: int) -> BatchEnv:
            return kind(LoopedBatch([self.make() for _ in range(num_slots)]))

    return Spoiled()


def with_env(**attributes: Any) -> Drift:
    class Spoiled(Drift):
        def make(self) -> gymnasium.Env[Any, Any]:
            return type("SpoiledEnv", (DriftEnv,), attributes)(self.horizon)

    return Spoiled()


def with_data(change: Callable[[Episode, int], Episode]) -> Drift:
    class Spoiled(Drift):
        def generate(self, episodes: int | range, seed: int, **options: Any) -> Iterator[Episode]:
            for episode in super().generate(episodes, seed, **options):
                yield change(episode, len(numbered(episodes)))

    return Spoiled()


def edited(**values: Callable[[np.ndarray], np.ndarray]) -> Drift:
    return with_data(lambda e, _: replace(e, values={n: values.get(n, np.array)(v) for n, v in e.values.items()}))


def having(**attributes: Any) -> Drift:
    environment = Drift()
    for name, value in attributes.items():
        setattr(environment, name, value)
    return environment


def flat(self: DriftEnv) -> np.ndarray:
    return np.zeros((4, 4, 3), np.uint8)


def deaf(self: DriftEnv, *, seed: int | None = None, options: Any = None) -> Any:
    return DriftEnv.reset(self, seed=7)


def ignorant(self: DriftEnv, *, seed: int | None = None, options: Any = None) -> Any:
    return DriftEnv.reset(self, seed=seed)


CASES: dict[str, tuple[Drift, str]] = {
    "no name": (having(name=""), "specification: name must be"),
    "no horizon": (having(horizon=0), "specification: horizon must be"),
    "no bc": (having(queries=("goal",)), "specification: queries must include 'bc'"),
    "unknown factor": (
        having(spec=TrajectorySpec(Drift().spec.factors[1:])),
        "specification: spec needs a factor of role state",
    ),
    "two actions": (
        having(spec=TrajectorySpec((*Drift().spec.factors, Factor("pull", "continuous", "action", shape=(1,))))),
        "specification: spec needs exactly one factor of role action",
    ),
    "other width": (
        having(spec=TrajectorySpec((Factor("place", "continuous", "state", shape=(2,)), *Drift().spec.factors[1:]))),
        "spaces: 'place' has shape \\(2,\\)",
    ),
    "escapes its space": (
        with_env(observe=lambda self: {"place": self.row[:1]}),
        "batch shapes: reset gives 'place' as float64; the specification says float32",
    ),
    "gymnasium": (with_env(reset=lambda self, *, seed=None, options=None: self.observe()), "gymnasium: raised"),
    "reward type": (with_batch(Doubles), "batch shapes: step gives reward as float64"),
    "event rows": (with_batch(Doubles), "batch shapes: step gives events"),
    "coupled slots": (with_batch(Coupled), "slots are independent: seed 0 goes another way without neighbours"),
    "slot matters": (with_batch(SlotBound), "slots are independent: an episode depends on the slot"),
    "batch is not single": (with_batch(Coupled), "batch equals single: seed 0 differs at timestep 1"),
    "remembers": (with_batch(Counting), "determinism: equal seeds and actions give different episodes when a slot"),
    "seeds ignored": (with_env(reset=deaf), "seeds differ: ten seeds begin in the same state"),
    "auto-reset": (with_batch(Resetting), "horizon: a step after truncation begins a new episode"),
    "early truncation": (having(make=lambda: DriftEnv(14)), "horizon: truncated after 14 steps; the horizon is 15"),
    "no truncation": (having(make=lambda: DriftEnv(99)), "horizon: not truncated after 15 steps"),
    "goal factor": (having(goal=lambda env_seed: {"push": np.zeros(1)}), "goal: goal\\(\\) names \\['push'\\]"),
    "goal shape": (having(goal=lambda env_seed: {"place": np.zeros(3)}), "goal: goal\\(\\) gives 'place' shape \\(3,\\)"),
    "distance": (having(goal_distance=lambda o, g: np.ones(len(o["place"]))), "goal: goal_distance at the goal"),
    "blank picture": (with_env(render=flat), "render: single render gives a picture of one colour"),
    "no picture": (with_env(render=lambda self: None), "render: raised EnvError"),
    "missing factor": (
        with_data(lambda e, _: replace(e, values={"place": e.values["place"]})),
        "generated episodes: episode 0: holds \\['place'\\]",
    ),
    "data type": (edited(push=lambda v: v.astype(np.float64)), "generated episodes: episode 0: 'push' is float64"),
    "data shape": (edited(push=lambda v: v[:, 0]), "generated episodes: episode 0: 'push' has shape \\(15,\\)"),
    "not finite": (edited(place=lambda v: v * np.float32(np.nan)), "generated episodes: episode 0: 'place' is not finite"),
    "final": (with_data(lambda e, _: replace(e, final={"push": np.zeros(1)})), "final holds 'push', which is no state"),
    "count matters": (
        with_data(lambda e, n: replace(e, values={**e.values, "push": e.values["push"] + np.float32(n)})),
        "generated episodes: episodes differ when generating begins with another one",
    ),
    "returns": (edited(rtg=lambda v: v * np.float32(0.9)), "returns: episode 0: 'rtg' is not the sum"),
    "another world": (
        edited(place=lambda v: v + np.float32(1)),
        "replay: episode 0: replay from env_seed shows another 'place'",
    ),
    "another action": (
        edited(push=lambda v: -v),
        "replay: episode 0: the stored action of timestep 0 leads to another 'place'",
    ),
    "another end": (with_data(lambda e, _: replace(e, terminated=True)), "replay from env_seed has terminated=False"),
    "starts ignored": (with_env(reset=ignorant), "replay: episode 0: a reset to the simulator state of timestep 0"),
}


def test_a_sound_environment_passes() -> None:
    check_env(Drift())


@pytest.mark.parametrize("case", CASES)
def test_violation_is_named(case: str) -> None:
    environment, message = CASES[case]
    with pytest.raises(EnvError, match=message):
        check_env(environment)


def test_every_violation_is_listed_at_once() -> None:
    environment = having(name="", goal=lambda env_seed: {"push": np.zeros(1)})
    with pytest.raises(EnvError, match=r"(?s)name must be.*goal\(\) names"):
        check_env(environment)


def test_goals_may_come_from_recorded_states_instead() -> None:
    check_env(having(goal=lambda env_seed: None))


def test_clauses_can_be_left_out() -> None:
    check_env(with_env(render=flat), render=False)
    check_env(edited(push=lambda v: -v), generates=False)
    check_env(having(make=lambda: DriftEnv(14)), full_horizon=False, generates=False)


def test_too_few_seeds_are_refused() -> None:
    with pytest.raises(EnvError, match="three different seeds"):
        check_env(Drift(), seeds=(0, 0, 1))
