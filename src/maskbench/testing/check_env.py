"""The contract of an environment family (``maskbench.envs.base``), clause by clause."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np

from maskbench.envs.base import BatchEnv, Environment, Observation, StepBatch
from maskbench.errors import EnvError
from maskbench.testing.check_data import check_episodes, check_replay, check_returns
from maskbench.trajectory import Episode

Clause = Callable[["_Case"], Iterator[str]]


def check_env(
    environment: Environment,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 12,
    episodes: int = 3,
    generate_options: Mapping[str, Any] | None = None,
    distinct_starts: bool = True,
    full_horizon: bool = True,
    generates: bool = True,
    render: bool = True,
    exact_restore: bool = True,
    exact_reward: bool = True,
    atol: float = 1e-4,
) -> None:
    """Checks that ``environment`` keeps every clause of the contract.

    seeds:            of the compared episodes; at least three, all different.
    steps:            of random actions in each compared episode.
    episodes:         to generate, at least two, with ``generate_options``.
    distinct_starts:  False for a family whose every episode begins in the same state.
    full_horizon:     False skips the run to truncation (slow simulators).
    generates:        False skips the clauses on generated data (no expert, or a slow one).
    render:           False skips pictures (no GL on this machine).
    exact_restore:    False where observations read sensors of the step before, as accelerometers do: a restored state may show
                      another observation, and only what follows must agree.
    exact_reward:     False where a reward reads the step before, which a saved state does not hold: the first reward after a
                      restored state may differ.
    atol:             tolerance of replayed observations and rewards of generated data; all else is compared bit for bit.

    Raises EnvError that lists every violated clause. A clause that fails with an exception of its own counts as violated.
    """
    if len(set(seeds)) < 3 or episodes < 2:
        raise EnvError(f"check_env needs three different seeds and two episodes; found seeds={seeds}, episodes={episodes}")
    case = _Case(environment, tuple(seeds), steps, episodes, dict(generate_options or {}))
    clauses: list[tuple[str, Clause]] = [
        ("specification", _specification),
        ("gymnasium", _gymnasium),
        ("spaces", _spaces),
        ("batch shapes", _batch_shapes),
        ("determinism", _determinism),
        ("batch equals single", _batch_equals_single),
        ("slots are independent", _independence),
        ("goal", _goal),
    ]
    if distinct_starts:
        clauses.append(("seeds differ", _seeds_differ))
    if full_horizon:
        clauses.append(("horizon", _truncation))
    if generates:
        clauses += [
            ("generated episodes", lambda c: check_episodes(c.environment, c.generated, c.generate)),
            ("returns", lambda c: check_returns(c.environment, c.generated, atol)),
            ("replay", lambda c: check_replay(c.environment, c.generated, atol, exact_restore, exact_reward)),
        ]
    if render:
        clauses.append(("render", _render))
    violations: list[str] = []
    cause: Exception | None = None
    for name, clause in clauses:
        try:
            for found in clause(case):
                violations.append(f"{name}: {found}")
        except Exception as error:
            violations.append(f"{name}: raised {type(error).__name__}: {error}")
            cause = cause or error
    case.close()
    if violations:
        lines = "\n".join(f"  - {v}" for v in violations)
        raise EnvError(f"environment '{getattr(environment, 'name', environment)}' breaks its contract:\n{lines}") from cause


@dataclass
class _Case:
    """The environment under test and what the clauses share: simulators may be slow to build, experts slow to run."""

    environment: Environment
    seeds: tuple[int, ...]
    steps: int
    episodes: int
    options: Mapping[str, Any]

    @cached_property
    def env(self) -> gymnasium.Env[Any, Any]:
        return self.environment.make()

    @cached_property
    def batch(self) -> BatchEnv:
        """One slot a seed."""
        return self.environment.make_batch(len(self.seeds))

    @cached_property
    def wide(self) -> BatchEnv:
        """One slot more than ``batch``."""
        return self.environment.make_batch(len(self.seeds) + 1)

    @cached_property
    def actions(self) -> np.ndarray:
        """Random actions ``(seeds, steps, *action shape)``."""
        generator = np.random.Generator(np.random.Philox(20))
        return np.array([[_draw(self.env.action_space, generator) for _ in range(self.steps)] for _ in self.seeds])

    @cached_property
    def generated(self) -> list[Episode]:
        return self.generate(self.episodes, 0)

    def generate(self, numbers: int | range, seed: int) -> list[Episode]:
        return list(self.environment.generate(numbers, seed, **self.options))

    def close(self) -> None:
        """Closes what was built."""
        for name in ("env", "batch", "wide"):
            if name in vars(self):
                vars(self)[name].close()

    def stream(self, batch: BatchEnv, rows: Sequence[int], slots: Sequence[int]) -> dict[int, list[Any]]:
        """What episode ``rows[i]`` shows in slot ``slots[i]``: its first observation, then one entry a step until it ends."""
        first = batch.reset(list(slots), [self.seeds[r] for r in rows])
        seen: dict[int, list[Any]] = {r: [_row(first, i)] for i, r in enumerate(rows)}
        live = list(range(len(rows)))
        for t in range(self.steps):
            step = batch.step([slots[i] for i in live], np.stack([self.actions[rows[i], t] for i in live]))
            for at, i in enumerate(live):
                seen[rows[i]].append(_entry(step, at))
            live = [i for at, i in enumerate(live) if not (step.terminated[at] or step.truncated[at])]
            if not live:
                break
        return seen


def _specification(case: _Case) -> Iterator[str]:
    env, spec = case.environment, case.environment.spec
    if not isinstance(env.name, str) or not env.name:
        yield f"name must be a non-empty string; found {env.name!r}"
    if not isinstance(env.horizon, int) or env.horizon < 1:
        yield f"horizon must be a positive integer; found {env.horizon!r}"
    if not spec.with_role("state"):
        yield f"spec needs a factor of role state; found {spec.names}"
    if len(spec.with_role("action")) != 1:
        yield f"spec needs exactly one factor of role action; found {[f.name for f in spec.with_role('action')]}"
    if "bc" not in env.queries:
        yield f"queries must include 'bc', which needs nothing; found {env.queries}"


def _gymnasium(case: _Case) -> Iterator[str]:
    from gymnasium.utils.env_checker import check_env as gymnasium_check

    env = case.environment.make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on bounds and registration; violations are exceptions
        gymnasium_check(env.unwrapped, skip_render_check=True)
    yield from ()


def _spaces(case: _Case) -> Iterator[str]:
    spec, env = case.environment.spec, case.env
    states = {f.name: f for f in spec.with_role("state")}
    if not isinstance(env.observation_space, gymnasium.spaces.Dict):
        yield f"observation space must be a Dict of the state factors; found {env.observation_space}"
    elif set(env.observation_space.spaces) != set(states):
        yield f"observation space has {sorted(env.observation_space.spaces)}; the state factors are {sorted(states)}"
    else:
        for name, factor in states.items():
            yield from _space_differs(factor.name, env.observation_space[name], factor.classes, factor.shape)
    for factor in spec.with_role("action"):
        yield from _space_differs(factor.name, env.action_space, factor.classes, factor.shape)


def _space_differs(name: str, space: gymnasium.Space[Any], classes: int | None, shape: tuple[int, ...]) -> Iterator[str]:
    if classes is not None:
        if not isinstance(space, gymnasium.spaces.Discrete) or space.n != classes or space.start != 0:
            yield f"'{name}' is discrete with {classes} classes; its space is {space}"
    elif space.shape != shape:
        yield f"'{name}' has shape {shape}; its space is {space}"


def _batch_shapes(case: _Case) -> Iterator[str]:
    batch, n = case.batch, len(case.seeds)
    if batch.num_slots != n:
        yield f"make_batch({n}) has num_slots={batch.num_slots}"
    yield from _observation_differs(case.environment, batch.reset(range(n), case.seeds), n, "reset")
    yield from _step_differs(case.environment, batch.step(range(n), case.actions[:, 0]), n)
    yield from _observation_differs(case.environment, batch.reset([1], [case.seeds[0]]), 1, "reset of one slot")
    yield from _step_differs(case.environment, batch.step([2, 0], case.actions[:2, 0]), 2)


def _step_differs(environment: Environment, step: StepBatch, n: int) -> Iterator[str]:
    yield from _observation_differs(environment, step.observation, n, "step")
    for name, dtype in (("reward", np.float32), ("terminated", np.bool_), ("truncated", np.bool_)):
        array = getattr(step, name)
        if not isinstance(array, np.ndarray) or array.shape != (n,) or array.dtype != dtype:
            yield f"step gives {name} as {_kind(array)}; expected {np.dtype(dtype)} ({n},)"
    named = all(isinstance(row, tuple) and all(isinstance(e, str) for e in row) for row in step.events)
    if len(step.events) != n or not named:
        yield f"step gives events {step.events!r}; expected {n} tuples of names"


def _observation_differs(environment: Environment, observation: Observation, n: int, where: str) -> Iterator[str]:
    states = environment.spec.with_role("state")
    if set(observation) != {f.name for f in states}:
        yield f"{where} observes {sorted(observation)}; the state factors are {sorted(f.name for f in states)}"
        return
    for factor in states:
        value = observation[factor.name]
        if not isinstance(value, np.ndarray) or value.shape != (n, *factor.shape):
            yield f"{where} gives '{factor.name}' as {_kind(value)}; expected shape {(n, *factor.shape)}"
        elif factor.kind in ("discrete", "continuous") and value.dtype != factor.dtype:
            yield f"{where} gives '{factor.name}' as {value.dtype}; the specification says {factor.dtype}"
        elif factor.classes is not None and ((value < 0) | (value >= factor.classes)).any():
            yield f"{where} gives '{factor.name}' = {value.tolist()}; it has {factor.classes} classes"


def _determinism(case: _Case) -> Iterator[str]:
    rows = range(len(case.seeds))
    reference = case.stream(case.batch, rows, rows)
    if not _same(reference, case.stream(case.wide, rows, rows)):
        yield "equal seeds and actions give different episodes in two batches"
    if not _same(reference, case.stream(case.batch, rows, rows)):
        yield "equal seeds and actions give different episodes when a slot runs them again"


def _seeds_differ(case: _Case) -> Iterator[str]:
    first = [_row(case.batch.reset([0], [seed]), 0) for seed in range(100, 110)]
    if all(_same(first[0], f) for f in first[1:]):
        yield "ten seeds begin in the same state; pass distinct_starts=False where that is meant"


def _batch_equals_single(case: _Case) -> Iterator[str]:
    env = case.env
    streams = case.stream(case.batch, range(len(case.seeds)), range(len(case.seeds)))
    for row, seed in enumerate(case.seeds):
        alone = [env.reset(seed=seed)[0]]
        for action in case.actions[row][: len(streams[row]) - 1]:
            observation, reward, terminated, truncated, info = env.step(action)
            if "events" not in info:
                yield "info of a single step lacks 'events'"
            alone.append((observation, np.float32(reward), terminated, truncated, tuple(info.get("events", ()))))
        for t, (one, many) in enumerate(zip(alone, streams[row], strict=True)):
            if not _same(one, many):
                yield f"seed {seed} differs at timestep {t}: single {one!r}, batch {many!r}"
                break


def _independence(case: _Case) -> Iterator[str]:
    rows = list(range(len(case.seeds)))
    batch, wide = case.batch, case.wide
    reference = case.stream(batch, rows, rows)
    if not _same(reference, case.stream(batch, rows, rows[::-1])):
        yield "an episode depends on the slot that it runs in"
    if not _same(reference, case.stream(wide, rows[::-1], [r + 1 for r in rows])):
        yield "an episode depends on the number of slots or on the order in which they are named"
    for row in rows:
        if not _same(reference[row], case.stream(batch, [row], [0])[row]):
            yield f"seed {case.seeds[row]} goes another way without neighbours"
    wide.reset([0], [case.seeds[1]])
    case.stream(wide, [2], [1])
    interrupted = case.stream(wide, [0], [2])  # slot 0 has waited while its neighbours ran
    if not _same(reference[0], interrupted[0]):
        yield "an episode depends on what other slots ran before"
    waited = wide.step([0], case.actions[1, :1])
    if not _same(reference[1][1], _entry(waited, 0)):
        yield "a slot moves while only its neighbours are stepped or reset"


def _truncation(case: _Case) -> Iterator[str]:
    """Runs to the horizon under calm actions; an environment that always terminates before is not judged."""
    environment, batch = case.environment, case.batch
    calm = np.zeros_like(case.actions[0, 0])
    policies: tuple[Callable[[int], np.ndarray], ...] = (
        lambda t: calm,
        lambda t: np.asarray(case.actions[t % len(case.seeds), t % case.steps]),
    )
    for action in policies:
        batch.reset([0], [case.seeds[0]])
        ended = terminated = False
        t = 0
        while not ended and t < environment.horizon:
            step = batch.step([0], action(t)[None])
            t += 1
            terminated, ended = bool(step.terminated[0]), bool(step.terminated[0] or step.truncated[0])
        if terminated:
            continue
        if not ended:
            yield f"not truncated after {t} steps, the horizon"
        elif t < environment.horizon:
            yield f"truncated after {t} steps; the horizon is {environment.horizon}"
        else:
            yield from _goes_on(batch, action(t))
        break


def _goes_on(batch: BatchEnv, action: np.ndarray) -> Iterator[str]:
    try:
        step = batch.step([0], action[None])
    except EnvError:
        return  # refusing to step a finished episode is fine
    if not (step.truncated[0] or step.terminated[0]):
        yield "a step after truncation begins a new episode; nothing may reset by itself"


def _goal(case: _Case) -> Iterator[str]:
    environment = case.environment
    goal = environment.goal(case.seeds[0])
    if goal is None:
        if "goal" in environment.queries and not environment.spec.with_role("simulator"):
            yield "queries include 'goal' but goal() gives None, and no simulator factor lets recorded states be goals"
        return
    states = {f.name: f for f in environment.spec.with_role("state")}
    if unknown := set(goal) - set(states):
        yield f"goal() names {sorted(unknown)}; the state factors are {sorted(states)}"
        return
    for name, value in goal.items():
        if np.shape(value) != states[name].shape:
            yield f"goal() gives '{name}' shape {np.shape(value)}; expected {states[name].shape}"
            return
    reached = {name: np.nan_to_num(np.asarray(value))[None] for name, value in goal.items()}
    distance = environment.goal_distance(reached, goal)
    if np.shape(distance) != (1,) or distance[0] != 0:
        yield f"goal_distance at the goal is {distance!r}; expected [0.]"
    distance = environment.goal_distance(case.batch.reset(range(len(case.seeds)), case.seeds), goal)
    if np.shape(distance) != (len(case.seeds),) or not (distance >= 0).all():
        yield f"goal_distance of {len(case.seeds)} observations is {distance!r}; expected as many numbers >= 0"


def _render(case: _Case) -> Iterator[str]:
    case.batch.reset(range(len(case.seeds)), case.seeds)
    case.env.reset(seed=case.seeds[1])
    pictures: dict[str, Any] = {"batch": case.batch.render(1), "single": case.env.render()}
    for name, picture in pictures.items():
        if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            yield f"{name} render gives {_kind(picture)}; expected uint8 (H, W, 3)"
        elif picture.min() == picture.max():
            yield f"{name} render gives a picture of one colour"


def _draw(space: gymnasium.Space[Any], generator: np.random.Generator) -> Any:
    if isinstance(space, gymnasium.spaces.Discrete):
        return np.int64(space.start + generator.integers(space.n))
    if not isinstance(space, gymnasium.spaces.Box):
        raise EnvError(f"actions must be Discrete or Box; found {space}")
    low, high = np.maximum(space.low, -1.0), np.minimum(space.high, 1.0)
    return generator.uniform(low, high).astype(space.dtype)


def _row(observation: Observation, i: int) -> dict[str, np.ndarray]:
    return {name: np.asarray(value)[i].copy() for name, value in observation.items()}


def _entry(step: StepBatch, i: int) -> tuple[Any, ...]:
    return _row(step.observation, i), step.reward[i], step.terminated[i], step.truncated[i], step.events[i]


def _same(a: Any, b: Any) -> bool:
    """Bit equality of nested containers of arrays and names; NaN equals NaN."""
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and set(a) == set(b) and all(_same(v, b[k]) for k, v in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, str):
        return bool(a == b)
    x, y = np.asarray(a), np.asarray(b)
    return x.shape == y.shape and np.array_equal(x, y, equal_nan=np.issubdtype(x.dtype, np.floating))


def _kind(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
