"""What to ask for in rollouts: seeds, returns, goals from the environment's own task or from held-out episodes, waypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maskbench.app.config.schema_play import FAIR, Protocol
from maskbench.app.config.schema_play import Query as QueryConfig
from maskbench.app.held_out import goal_pairs, multi_goal_rows, prompt_rows
from maskbench.data.dataset import Dataset
from maskbench.data.store import EpisodeStore
from maskbench.envs.base import Environment, Start
from maskbench.errors import ConfigError
from maskbench.policies.queries import waypoint_spacing
from maskbench.rollout.plan import EpisodePlan, PlanRow, Waypoints

#: What ``query.target=expert`` asks for: this quantile of the returns of the training episodes.
EXPERT_QUANTILE = 0.95
#: Episodes whose beginnings are looked at together.
_SLOTS = 64


def build_plan(
    environment: Environment,
    data: Dataset | None,
    query: QueryConfig,
    name: str,
    episodes: int,
    seed: int,
    budget: int | None,
    window: int | None = None,
    protocol: Protocol = FAIR,
    baseline: bool = False,
    goal_frames: int = 1,
) -> tuple[EpisodePlan, dict[int, np.ndarray]]:
    """Rows for query ``name``, and for goals and waypoints from held-out episodes the recorded actions that reach them.

    data:   the episodes of the run; needed for targets from the data, for waypoints, and for goals where the environment has
            none of its own.
    window: timesteps that the model sees, which space the waypoints; None = whole episodes.
    protocol, baseline: how goals and prompts of held-out episodes are taken, and for which kind of model.
    goal_frames: last states of a demonstration that make its end a goal.
    Raises ConfigError where there is nothing to ask for.
    """
    if name == "return" and query.target == "nearest":
        return nearest_targets(environment, data, EpisodePlan.build(episodes, seed, name, budget=budget)), {}
    if name == "return":
        target = wanted_return(data, query.target)
        return EpisodePlan.build(episodes, seed, name, target_return=target, budget=budget), {}
    if name == "goal" and query.goals == "demonstrated":
        return demonstrated_goals(environment, data, episodes, seed, budget, goal_frames)
    if name == "goal" and (query.goals == "near" or environment.goal(0) is None):
        if query.goals == "own":
            raise ConfigError(f"'{environment.name}' has no goal of its own: try query.goals=demonstrated")
        if data is None or not data.store.spec.with_role("simulator"):
            raise ConfigError(
                f"query=goal needs something to reach: '{environment.name}' has no goal of its own or is not to use it, and "
                "goals inside held-out episodes need data with saved simulator states (physics); try query.goals=demonstrated"
            )
        return goal_pairs(data, episodes, seed, protocol, baseline)
    if name in ("multi_goal", "prompt"):
        if data is None or not data.store.spec.with_role("simulator"):
            raise ConfigError(
                f"query={name} starts inside held-out episodes: it needs data with saved simulator states (physics)"
            )
        if name == "multi_goal":
            return multi_goal_rows(data, episodes, seed, protocol, baseline)
        return prompt_rows(data, episodes, seed, query.context, query.forecast, protocol)
    if name == "waypoint":
        return waypoint_rows(environment, data, episodes, seed, budget, window)
    goal = environment.goal if name == "goal" else None
    return EpisodePlan.build(episodes, seed, name, goal=goal, budget=budget), {}


def wanted_return(data: Dataset | None, target: float | str | None) -> float:
    """The number behind ``query.target``: itself, a high return among the training episodes (``expert``), or that much of the
    way from their least return to their greatest (``90%``; MTM asks for 60 to 110 %)."""
    if isinstance(target, str) and target.endswith("%"):
        returns = _training(data, target)[1]
        return float(returns.min() + float(target[:-1]) / 100 * (returns.max() - returns.min()))
    return expert_return(data) if target in (None, "expert") else float(target)  # type: ignore[arg-type]


def expert_return(data: Dataset | None) -> float:
    """A high return among the training episodes."""
    return float(np.quantile(_training(data, "expert")[1], EXPERT_QUANTILE))


def nearest_targets(environment: Environment, data: Dataset | None, plan: EpisodePlan) -> EpisodePlan:
    """``plan`` with a target of its own in every row, from the training episode that begins most alike.

    What is alike, and how much of that episode's return to ask for, is the environment's ``return_target``.
    """
    store, returns, begins = _training(data, "nearest")
    starts = {f.name: np.asarray(store.array(f.name)[begins]) for f in store.spec.with_role("state", "simulator")}
    batch = environment.make_batch(min(len(plan), _SLOTS))
    rows = []
    for first in range(0, len(plan), batch.num_slots):
        some = plan.rows[first : first + batch.num_slots]
        observations = batch.reset(range(len(some)), [r.env_seed for r in some])
        for i, row in enumerate(some):
            observation = {name: value[i] for name, value in observations.items()}
            target = environment.return_target(row.env_seed, observation, starts, returns)
            rows.append(replace(row, target_return=target))
    batch.close()
    return EpisodePlan(tuple(rows))


def _training(data: Dataset | None, target: str) -> tuple[EpisodeStore, np.ndarray, np.ndarray]:
    """The store, and the returns and first rows ``(n,)`` of its training episodes."""
    if data is None or not data.store.spec.with_role("reward"):
        raise ConfigError(f"query.target={target} needs episodes with rewards; give a number: query.target=<return>")
    begins = data.store.ends - data.store.lengths
    reward = data.store.array(data.store.spec.with_role("reward")[0].name)[:, 0].astype(np.float64)
    return data.store, np.add.reduceat(reward, begins)[data.split.train], begins[data.split.train]


def waypoint_times(length: int, window: int | None) -> Sequence[int]:
    """When an episode of ``length`` steps passes its waypoints: a whole episode in the window at a third, two thirds and its
    last timestep, as the ``waypoint`` task of training has it; a longer one as densely, all along."""
    spacing = waypoint_spacing(length if window is None else window)
    if window is not None and window < length:
        return range(spacing, length, spacing)
    return sorted({length // 3, 2 * length // 3, length - 1} - {0})


def waypoint_rows(
    environment: Environment, data: Dataset | None, episodes: int, seed: int, budget: int | None, window: int | None
) -> tuple[EpisodePlan, dict[int, np.ndarray]]:
    """Held-out episodes from their beginnings, which ask for the states that they passed, and their actions.

    Where goals come from held-out episodes too (simulators in which a recording cannot be replayed for long), a row is a
    window of one, from anywhere in it. More rows than held-out episodes go through these again, with other policy seeds.
    Raises ConfigError where the data do not say how an episode begins.
    """
    chosen = [] if data is None else _held_out(data, seed)
    if data is None or not chosen:
        raise ConfigError(
            "query=waypoint takes its states from held-out episodes: it needs dataset.split.test or validation, and data with "
            "the environment's seeds or saved simulator states"
        )
    store, rows, replayed = data.store, [], {}
    near = environment.goal(0) is None and bool(store.spec.with_role("simulator"))
    rng = np.random.Generator(np.random.Philox(seed))
    for i in range(episodes):
        episode = chosen[i % len(chosen)]
        whole = int(store.lengths[episode])
        length = min(whole, budget or (window if near else None) or whole)
        if length < 2:
            raise ConfigError(f"waypoints need episodes and budgets of at least 2 steps; found {length}")
        policy_seed, skipped = int(rng.integers(2**31)), int(rng.integers(whole - length + 1)) if near else 0
        row, actions = _recorded_row(store, i, episode, skipped, length)
        times = np.array(waypoint_times(length, window))
        at = store.ends[episode] - whole + skipped + times
        points = Waypoints(times, {f.name: np.array(store.array(f.name)[at]) for f in store.spec.with_role("state")})
        rows.append(replace(row, policy_seed=policy_seed, query="waypoint", waypoints=points))
        replayed[i] = actions
    return EpisodePlan(tuple(rows)), replayed


def demonstrated_goals(
    environment: Environment, data: Dataset | None, episodes: int, seed: int, budget: int | None, frames: int = 1
) -> tuple[EpisodePlan, dict[int, np.ndarray]]:
    """Held-out episodes from their beginnings, which ask for the last ``frames`` states of each, and their actions (C-BeT's
    evaluation).

    Rows know the mode of their episode, so that records can say how much of it they repeat. More rows than held-out episodes
    go through these again, with other policy seeds. Raises ConfigError where the data do not say how an episode begins, or
    not where it ends.
    """
    chosen = [] if data is None else _held_out(data, seed)
    if data is None or not chosen or not data.store.finals:
        raise ConfigError(
            "query.goals=demonstrated asks for the ends of held-out episodes: it needs dataset.split.test or validation, and "
            "data with the environment's seeds or saved simulator states, and with the state after the last action"
        )
    store, rows, replayed = data.store, [], {}
    rng = np.random.Generator(np.random.Philox(seed))
    for i in range(episodes):
        episode = chosen[i % len(chosen)]
        row, actions = _recorded_row(store, i, episode, 0, int(store.lengths[episode]))
        states, end = store.spec.with_role("state"), int(store.ends[episode])
        goal = {f.name: np.array(store.finals[f.name][episode]) for f in states}
        before = slice(end - min(frames - 1, int(store.lengths[episode])), end)
        approach = {f.name: np.array(store.array(f.name)[before]) for f in states} if frames > 1 else None
        mode, asked = environment.mode(store.episode(episode)) or None, int(rng.integers(2**31))
        rows.append(replace(row, policy_seed=asked, query="goal", budget=budget, goal=goal, approach=approach, mode=mode))
        replayed[i] = actions
    return EpisodePlan(tuple(rows)), replayed


def recorded_plan(data: Dataset, episodes: int, seed: int) -> tuple[EpisodePlan, dict[int, np.ndarray]] | None:
    """Held-out episodes to play again as they were recorded: how well the data's own policy did. None where the data say
    neither the seed of an episode nor the simulator state that it began in."""
    lengths = data.store.lengths
    found = [_recorded_row(data.store, i, e, 0, int(lengths[e])) for i, e in enumerate(_held_out(data, seed)[:episodes])]
    return (EpisodePlan(tuple(row for row, _ in found)), {row.row: actions for row, actions in found}) if found else None


def _held_out(data: Dataset, seed: int) -> list[int]:
    """Held-out episodes in random order; none where the data do not say how an episode begins."""
    held_out = data.split.test if len(data.split.test) else data.split.validation
    known = data.store.spec.with_role("simulator") or (len(held_out) and "env_seed" in data.store.meta(int(held_out[0])))
    return [int(e) for e in np.random.Generator(np.random.Philox(seed)).permutation(held_out)] if known else []


def _recorded_row(store: EpisodeStore, row: int, episode: int, skipped: int, length: int) -> tuple[PlanRow, np.ndarray]:
    """``length`` steps of a recorded episode after the ``skipped`` first ones (which needs saved simulator states), and their
    actions."""
    first = int(store.ends[episode] - store.lengths[episode]) + skipped
    simulator, action = store.spec.with_role("simulator"), store.spec.with_role("action")[0].name
    start = Start(np.array(store.array(simulator[0].name)[first])) if simulator else None
    env_seed = int(store.meta(episode).get("env_seed", 0))
    return PlanRow(row, env_seed, 0, budget=length, start=start), np.array(store.array(action)[first : first + length])
