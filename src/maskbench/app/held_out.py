"""MaskDP's evaluations: goals and prompts taken from held-out episodes, frozen in a plan (MaskDP spec 1.5, 3.1 - 3.3).

recorded episode   ... s_i  s_i+1 ... s_i+T ...     single goal: from s_i to s_i+T
                       s_i .. s_i+12 .. s_i+24 ..   several goals, each at its own time
     s_i-C a_i-C ... a_i-1 s_i | a_i ...            prompt: C steps are shown, then the model acts as the expert did

Every row starts in the simulator state saved at ``s_i``. Rows are a function of data, split and seed alone. Beside each plan
stand the recorded actions: the oracle that shows that every index is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskbench.app.config.schema_play import FAIR, Protocol
from maskbench.data.dataset import Dataset
from maskbench.data.store import EpisodeStore
from maskbench.envs.base import Start
from maskbench.errors import ConfigError
from maskbench.rollout.plan import EpisodePlan, PlanRow, Waypoints
from maskbench.trajectory import Role

Planned = tuple[EpisodePlan, dict[int, np.ndarray]]


@dataclass(frozen=True)
class _Moment:
    """A timestep of a held-out episode: its row in the store, and its place in the episode."""

    row: int
    place: int


def goal_pairs(data: Dataset, episodes: int, seed: int, protocol: Protocol = FAIR, baseline: bool = False) -> Planned:
    """Pairs of a start and the state some steps later in the same held-out episode.

    ``protocol.extra_steps`` lengthen the budget; a model that plans, plans with them.
    """
    least, most = protocol.goal_steps
    extra = protocol.extra_steps_causal if baseline else protocol.extra_steps
    rng = np.random.Generator(np.random.Philox(seed))
    store, rows, actions = data.store, [], {}
    choose = _Chooser(data, most, protocol.latest_start)
    for row in range(episodes):
        episode = choose.episode(rng)
        steps = int(rng.integers(least, most + 1))
        at = choose.start(rng, episode, steps)
        seeds = rng.integers(2**31, size=2)
        goal = _states(store, at.row + steps)
        rows.append(_row(store, row, seeds, "goal", at, steps + extra, goal=goal))
        actions[row] = _actions(store, at.row, steps)
    return EpisodePlan(tuple(rows)), actions


def multi_goal_rows(data: Dataset, episodes: int, seed: int, protocol: Protocol = FAIR, baseline: bool = False) -> Planned:
    """Several states of the same held-out episode, to be passed one after the other."""
    last = max(protocol.waypoints)
    rng = np.random.Generator(np.random.Philox(seed))
    store, rows, actions = data.store, [], {}
    choose = _Chooser(data, last, protocol.latest_waypoint_start)
    judged = protocol.judged_causal if baseline else protocol.judged
    for row in range(episodes):
        at = choose.start(rng, choose.episode(rng), last)
        offsets = np.array(protocol.waypoints)
        if protocol.random_waypoints:
            offsets = np.sort(rng.choice(np.arange(12, last), len(offsets), replace=False))
        seeds = rng.integers(2**31, size=2)
        slower = protocol.segment_steps_causal * np.arange(1, len(offsets) + 1) if baseline else 0
        times = offsets + slower
        states = {name: np.stack([_states(store, at.row + int(t))[name] for t in offsets]) for name in _names(store, "state")}
        points = Waypoints(times, states, judged, protocol.grace)
        budget = int(times[-1]) + protocol.grace
        rows.append(_row(store, row, seeds, "multi_goal", at, budget, waypoints=points))
        actions[row] = _actions(store, at.row, int(offsets[-1]))
    return EpisodePlan(tuple(rows)), actions


def prompt_rows(data: Dataset, episodes: int, seed: int, context: int, forecast: int, protocol: Protocol = FAIR) -> Planned:
    """``context`` steps of a held-out episode to be shown, and ``forecast`` steps to act for from where they end."""
    rng = np.random.Generator(np.random.Philox(seed))
    store, rows, actions = data.store, [], {}
    choose = _Chooser(data, forecast, protocol.latest_start, earliest=max(context, protocol.prompt_start))
    for row in range(episodes):
        at = choose.start(rng, choose.episode(rng), forecast)
        seeds = rng.integers(2**31, size=2)
        before = slice(at.row - context, at.row)
        shown = {name: np.array(store.array(name)[before]) for name in _names(store, "state") + _names(store, "action")}
        rows.append(_row(store, row, seeds, "prompt", at, forecast, context=shown))
        actions[row] = _actions(store, at.row, forecast)
    return EpisodePlan(tuple(rows)), actions


class _Chooser:
    """Held-out episodes that are long enough, and where in them to start."""

    def __init__(self, data: Dataset, steps: int, latest: int | None, earliest: int = 0) -> None:
        held_out = data.split.test if len(data.split.test) else data.split.validation
        self.store, self.latest, self.earliest = data.store, latest, earliest
        self.episodes = [int(e) for e in held_out if data.store.lengths[e] > earliest + steps]
        if not self.episodes:
            raise ConfigError(
                f"goals and prompts need held-out episodes longer than {earliest + steps} steps: raise dataset.split.test"
            )

    def episode(self, rng: np.random.Generator) -> int:
        return self.episodes[rng.integers(len(self.episodes))]

    def start(self, rng: np.random.Generator, episode: int, steps: int) -> _Moment:
        """Uniform over the timesteps that have ``steps`` recorded states after them."""
        end = int(self.store.lengths[episode]) - steps
        end = end if self.latest is None else max(min(end, self.latest), self.earliest + 1)
        place = self.earliest + int(rng.integers(end - self.earliest))
        return _Moment(int(self.store.ends[episode] - self.store.lengths[episode]) + place, place)


def _row(store: EpisodeStore, row: int, seeds: np.ndarray, query: str, at: _Moment, budget: int, **asked: Any) -> PlanRow:
    simulator = store.spec.with_role("simulator")[0].name
    start = Start(np.array(store.array(simulator)[at.row]))
    return PlanRow(row, int(seeds[0]), int(seeds[1]), query, budget=budget, start=start, moment=at.place, **asked)


def _names(store: EpisodeStore, role: Role) -> list[str]:
    return [f.name for f in store.spec.with_role(role)]


def _states(store: EpisodeStore, row: int) -> Mapping[str, np.ndarray]:
    return {name: np.array(store.array(name)[row]) for name in _names(store, "state")}


def _actions(store: EpisodeStore, row: int, steps: int) -> np.ndarray:
    return np.array(store.array(_names(store, "action")[0])[row : row + steps])
