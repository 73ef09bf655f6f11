"""What to roll out: one row an episode, frozen before the first step so that any machine repeats the same evaluation."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maskbench.envs.base import Start
from maskbench.errors import ConfigError, DataError

#: Environment and policy seeds lie in ``[0, 2**31)``: the range that every simulator's seeding accepts.
_SEED_RANGE = 2**31
_FORMAT = 1


Judged = Literal["by_deadline", "segment", "episode"]


@dataclass(frozen=True, eq=False)
class Waypoints:
    """States that an episode is asked to pass through, each at its own time.

    times:  ``(W,)`` int64, ascending: how many actions have been executed by then, at least 1.
    states: state-factor values ``(W, *shape)``.
    judged: over which states the distance to each is the smallest (MaskDP spec 3.2, 6.4): ``by_deadline`` all up to its time,
            ``segment`` those after the time of the one before, ``episode`` all; None = at its time alone.
    grace:  actions after its time that ``by_deadline`` and ``segment`` still count.
    """

    times: np.ndarray
    states: Mapping[str, np.ndarray]
    judged: Judged | None = None
    grace: int = 0

    def __post_init__(self) -> None:
        times = np.asarray(self.times, np.int64)
        object.__setattr__(self, "times", times)
        if times.ndim != 1 or not len(times) or times[0] < 1 or (np.diff(times) < 1).any():
            raise ConfigError(f"waypoints need ascending times from 1 on; found {times.tolist()}")
        lengths = {name: len(value) for name, value in self.states.items()}
        if not lengths or set(lengths.values()) != {len(times)}:
            raise ConfigError(f"{len(times)} waypoints need as many states; found {lengths}")

    def counts(self, step: int) -> np.ndarray:
        """``(W,)`` bool: the waypoints for whose distance the state after ``step`` actions counts; none without ``judged``."""
        if self.judged is None:
            return np.zeros(len(self.times), bool)
        late = self.judged != "episode"
        after = np.concatenate([[0], self.times[:-1]]) if self.judged == "segment" else np.zeros_like(self.times)
        return (step > after) & (~np.bool_(late) | (step <= self.times + self.grace))

    def to_json(self) -> dict[str, Any]:
        states = {name: _encode(value) for name, value in self.states.items()}
        content = {"times": self.times.tolist(), "states": states}
        return content if self.judged is None else {**content, "judged": self.judged, "grace": int(self.grace)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Waypoints:
        states = {name: _decode(value) for name, value in content["states"].items()}
        return cls(content["times"], states, content.get("judged"), content.get("grace", 0))


@dataclass(frozen=True, eq=False)
class PlanRow:
    """One episode to play. Its record is a function of this row, the environment and the policy's weights, of nothing else.

    row:           unique number; records come back in the plan's order.
    env_seed:      seed of the environment's reset.
    policy_seed:   seed of the generator that the policy makes for this episode.
    query:         name of the masking query that the policy is asked by.
    target_return: return to ask for (``return`` query), in the environment's reward units.
    goal:          state-factor values to reach, each ``(*shape)``; NaN entries are not asked for.
    approach:      the states that led to the goal, each ``(n, *shape)``, for models whose goals are several frames.
    waypoints:     states to pass through at given times (``waypoint`` query).
    budget:        executed actions allowed; None = the environment's horizon.
    start:         saved simulator state to begin from, instead of the one that ``env_seed`` draws.
    context:       what happened before ``start``: state and action factors ``(C, *shape)`` of the ``C`` steps that led there
                   (``prompt`` query).
    moment:        timestep of the recorded episode that ``start`` was saved at.
    mode:          mode of the demonstration whose end is the goal (``Environment.mode``).
    """

    row: int
    env_seed: int
    policy_seed: int
    query: str = "bc"
    target_return: float | None = None
    goal: Mapping[str, np.ndarray] | None = None
    budget: int | None = None
    start: Start | None = None
    waypoints: Waypoints | None = None
    context: Mapping[str, np.ndarray] | None = None
    moment: int | None = None
    mode: str | None = None
    approach: Mapping[str, np.ndarray] | None = None

    def __post_init__(self) -> None:
        if min(self.row, self.env_seed, self.policy_seed) < 0:
            raise ConfigError(f"row and seeds must not be negative; found {self.row}, {self.env_seed}, {self.policy_seed}")
        if self.budget is not None and self.budget < 1:
            raise ConfigError(f"row {self.row}: budget must be at least one step; found {self.budget}")
        if self.goal is not None and not self.goal:
            raise ConfigError(f"row {self.row}: an empty goal asks for nothing; use goal=None")
        if self.approach is not None and self.approach.keys() != (self.goal or {}).keys():
            raise ConfigError(f"row {self.row}: the states that lead to a goal must be of the goal's factors")

    def to_json(self) -> dict[str, Any]:
        """Plain types; arrays as ``{"dtype", "values"}`` with null for NaN, so that the text is standard JSON. What came later
        (waypoints, context, moment, mode, approach) is listed only where there is any: hashes of plans without stay."""
        content = {
            "row": int(self.row),
            "env_seed": int(self.env_seed),
            "policy_seed": int(self.policy_seed),
            "query": self.query,
            "target_return": None if self.target_return is None else float(self.target_return),
            "goal": None if self.goal is None else {name: _encode(value) for name, value in self.goal.items()},
            "budget": None if self.budget is None else int(self.budget),
            "start": None if self.start is None else _encode(self.start.simulator),
        }
        if self.waypoints is not None:
            content["waypoints"] = self.waypoints.to_json()
        if self.context is not None:
            content["context"] = {name: _encode(value) for name, value in self.context.items()}
        if self.moment is not None:
            content["moment"] = int(self.moment)
        if self.mode is not None:
            content["mode"] = self.mode
        if self.approach is not None:
            content["approach"] = {name: _encode(value) for name, value in self.approach.items()}
        return content

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> PlanRow:
        goal, start = row["goal"], row["start"]
        return cls(
            row=row["row"],
            env_seed=row["env_seed"],
            policy_seed=row["policy_seed"],
            query=row["query"],
            target_return=row["target_return"],
            goal=None if goal is None else {name: _decode(value) for name, value in goal.items()},
            budget=row["budget"],
            start=None if start is None else Start(_decode(start)),
            waypoints=Waypoints.from_json(row["waypoints"]) if "waypoints" in row else None,
            context={name: _decode(value) for name, value in row["context"].items()} if "context" in row else None,
            moment=row.get("moment"),
            mode=row.get("mode"),
            approach={name: _decode(value) for name, value in row["approach"].items()} if "approach" in row else None,
        )


@dataclass(frozen=True, eq=False)
class EpisodePlan:
    """The rows of one evaluation. Build it from a seed, or construct it from rows for a frozen evaluation set."""

    rows: tuple[PlanRow, ...]

    def __post_init__(self) -> None:
        numbers = [r.row for r in self.rows]
        if not numbers:
            raise ConfigError("a plan needs at least one row")
        if len(set(numbers)) != len(numbers):
            twice = sorted({n for n in numbers if numbers.count(n) > 1})
            raise ConfigError(f"row numbers of a plan must be unique; found more than once: {twice[:5]}")

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[PlanRow]:
        return iter(self.rows)

    @classmethod
    def build(
        cls,
        num_episodes: int,
        seed: int,
        query: str = "bc",
        *,
        target_return: float | None = None,
        goal: Callable[[int], Mapping[str, np.ndarray] | None] | None = None,
        budget: int | None = None,
        starts: Sequence[Start] | None = None,
        worlds: Sequence[int] | None = None,
    ) -> EpisodePlan:
        """``num_episodes`` rows with distinct seeds; a shorter plan is the beginning of a longer one of the same seed.

        worlds: environment seeds to take in turn, over and over, instead of drawn ones: a fixed set of games.
        goal:   goal of an environment seed, e.g. ``environment.goal``.
        starts: one saved simulator state a row.
        Raises ConfigError where ``num_episodes`` < 1, or ``starts`` has another length.
        """
        if num_episodes < 1:
            raise ConfigError(f"a plan needs at least one episode; found {num_episodes}")
        if starts is not None and len(starts) != num_episodes:
            raise ConfigError(f"{num_episodes} episodes need {num_episodes} starts; found {len(starts)}")
        env_stream, policy_stream = np.random.SeedSequence(seed).spawn(2)
        policy_seeds = _distinct(num_episodes, policy_stream)
        env_seeds = (
            _distinct(num_episodes, env_stream) if worlds is None else [worlds[i % len(worlds)] for i in range(num_episodes)]
        )
        return cls(
            tuple(
                PlanRow(
                    row=i,
                    env_seed=env_seeds[i],
                    policy_seed=policy_seeds[i],
                    query=query,
                    target_return=target_return,
                    goal=None if goal is None else goal(env_seeds[i]),
                    budget=budget,
                    start=None if starts is None else starts[i],
                )
                for i in range(num_episodes)
            )
        )

    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the plan's JSON: equal for equal plans, on any machine."""
        return hashlib.sha256(self._text().encode()).hexdigest()[:16]

    def save(self, path: Path | str) -> None:
        """Writes the plan as JSON, under a temporary name first."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(self._text(), encoding="utf-8")
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path | str) -> EpisodePlan:
        """Reads what ``save`` wrote. Raises DataError where the file is absent or is no plan."""
        path = Path(path)
        if not path.is_file():
            raise DataError(f"no episode plan at {path}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise DataError(f"{path} has plan format {content['format']}; this version reads {_FORMAT}")
            return cls(tuple(PlanRow.from_json(row) for row in content["rows"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is no episode plan: {error!r}") from error

    def _text(self) -> str:
        content = {"format": _FORMAT, "rows": [row.to_json() for row in self.rows]}
        return json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _distinct(count: int, stream: np.random.SeedSequence) -> list[int]:
    """The first ``count`` different values of a Philox stream of seeds."""
    generator = np.random.Generator(np.random.Philox(stream))
    seeds: dict[int, None] = {}
    while len(seeds) < count:
        seeds.setdefault(int(generator.integers(_SEED_RANGE)))
    return list(seeds)


def _encode(value: np.ndarray) -> dict[str, Any]:
    array = np.asarray(value)
    cells: Any = array.astype(object)
    if array.dtype.kind == "f":
        cells = np.where(np.isnan(array), None, cells)
    return {"dtype": array.dtype.name, "values": cells.tolist()}


def _decode(value: Mapping[str, Any]) -> np.ndarray:
    return np.array(value["values"], dtype=np.dtype(value["dtype"]))  # null becomes NaN in floating types
