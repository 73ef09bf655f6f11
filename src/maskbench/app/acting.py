"""A trained model and its reference policies playing the same plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from maskbench.app.config.schema import EvalExperiment, Experiment
from maskbench.app.config.schema_play import FAIR, Metrics, Protocol
from maskbench.app.config.schema_play import Query as QueryConfig
from maskbench.app.experiment import Model, load_model
from maskbench.app.plans import build_plan, recorded_plan
from maskbench.data.dataset import Dataset
from maskbench.data.labels import complete
from maskbench.data.modes import mode_counts
from maskbench.data.normalise import Mode, Normaliser
from maskbench.envs.base import Environment, MetricsVersion
from maskbench.errors import ConfigError, EnvError, did_you_mean
from maskbench.masking.prompt import PromptRule
from maskbench.policies.model import ModelPolicy
from maskbench.policies.queries import AHEAD, OPEN, QUERIES, Query
from maskbench.policies.recall import Memory, RecallPolicy
from maskbench.rollout.metrics import MetricRow, summarise
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.policy import RandomPolicy, ReplayPolicy, ZeroPolicy
from maskbench.rollout.runner import PolicyFactory, RolloutRunner
from maskbench.trajectory import EpisodeRecord

#: Episodes shown side by side in a GIF, and the most pictures of each.
FILMED, MOST_FRAMES = 6, 100
#: Ends the names of results whose goals are the ends of demonstrations.
_DEMONSTRATED = "_demonstrated"


@dataclass(frozen=True)
class Played:
    """Rollouts of one query. ``modes``: how many training episodes follow each mode."""

    query: str
    plan: EpisodePlan
    records: list[EpisodeRecord]
    metrics: list[MetricRow]
    films: list[list[np.ndarray]]
    modes: dict[str, int]


def make_query(config: QueryConfig, name: str) -> Query:
    """The query that ``name`` stands for: a named one, ``goal_open`` for an open-loop plan, ``bc_two_stage`` or
    ``return_two_stage`` for planned states. Tasks that ask for no next action are refused with the list of those that do."""
    base = _base(name)
    if base not in QUERIES:
        raise ConfigError(f"query={base} asks for no next action, so it cannot be rolled out. {did_you_mean(base, QUERIES)}")
    mode: Literal["closed", "open", "two_stage"] = "two_stage" if name.endswith("_two_stage") else "closed"
    if base in OPEN:
        mode = "open" if name.endswith("_open") else "open" if config.mode == "open" and base == config.name else "closed"
    shared = {f.name: getattr(config, f.name) for f in fields(Query) if f.name not in ("name", "mode", "prompt")}
    return Query(base, mode, prompt=PromptRule(**asdict(config.prompt)), **shared)


def _base(name: str) -> str:
    """The query behind a name of results: ``prompt_40_open`` -> ``prompt``."""
    base = name.removesuffix("_open").removesuffix("_two_stage").removesuffix(_DEMONSTRATED)
    return "prompt" if base.startswith("prompt") else base


def asked_for(config: QueryConfig, name: str) -> QueryConfig:
    """``config`` with what ``name`` asks for: ``prompt_40`` goes on for 40 steps, ``goal_demonstrated`` names its goals."""
    if _DEMONSTRATED in name:
        return replace(config, goals="demonstrated")
    steps = name.removeprefix("prompt_").removesuffix("_open")
    return replace(config, forecast=int(steps)) if name.startswith("prompt_") and steps.isdigit() else config


def rollout_name(config: QueryConfig) -> str:
    """The name under which a query's results are kept: the inverse of ``make_query``."""
    goals = _DEMONSTRATED if config.name == "goal" and config.goals == "demonstrated" else ""
    return f"{config.name}{goals}" if config.mode == "closed" else f"{config.name}{goals}_{config.mode}"


def why_no_films(environment: Environment) -> str | None:
    """None where the environment can draw itself on this machine, else what is missing."""
    batch = environment.make_batch(1)
    batch.reset([0], [0])
    try:
        batch.render(0)
    except EnvError as error:
        return str(error)
    finally:
        batch.close()
    return None


def default_episodes(environment: Environment, name: str, goals: str | None = None) -> int:
    """About 10 000 environment steps; waypoints from held-out episodes, and goals from these unless they are their ends, lie a
    few steps ahead."""
    if name in ("multi_goal", "prompt"):
        return 100
    near = name in ("goal", "waypoint") and environment.goal(0) is None and goals in (None, "near")
    return max(10, min(1000, 10_000 // (FAIR.goal_steps[-1] if near else environment.horizon)))


def play_model(
    model: Model,
    environment: Environment,
    data: Dataset | None,
    query: QueryConfig,
    name: str,
    settings: Experiment | EvalExperiment,
    run_dir: Path,
    which: str,
    metrics: Metrics,
    references: bool = True,
    films: int = 0,
    protocol: Protocol = FAIR,
) -> Played:
    """Rolls the model of ``run_dir`` out, and reference policies on the same rows.

    metrics:    whose definitions the environment's published numbers follow.
    references: also play uniformly random actions; for ``bc`` held-out episodes as recorded (``data``); for goals from
                held-out episodes the recorded actions (``replay``), and zero actions where goals are near; for waypoints and
                the ends of demonstrations the recorded ones and the same model without them (``bc``). Those that the query
                names (``query.references``) always play.
    films:      how many episodes to film.
    protocol:   how goals and prompts are taken and judged; its ``history`` holds where the query leaves it open.
    """
    query = asked_for(query, name)
    asked = make_query(query, name)
    if asked.name in AHEAD and asked.history is None:
        asked = replace(asked, history=protocol.history)
    model.policy(asked, 1, environment)  # refuses before any work starts
    episodes = settings.num_eval_eps or default_episodes(environment, asked.name, query.goals)
    steps, window = settings.num_eval_steps, model.layout.length
    baseline, frames = model.scheme.attend == "causal", max(1, model.config.dataset.sampling.goal_frames)
    plan, recorded = build_plan(
        environment, data, query, asked.name, episodes, settings.seed, steps, window, protocol, baseline, frames
    )
    ends = asked.name == "goal" and query.goals == "demonstrated"  # which lie beyond any window
    near = bool(recorded) and not ends and asked.name in OPEN
    needed = _timesteps(plan) if near else None
    plan = EpisodePlan(tuple(replace(row, query=name) for row in plan))
    slots = min(settings.num_envs, episodes)

    def acting(by: Query) -> PolicyFactory:
        if settings.num_workers == 0:
            return partial(model.policy, by, slots, environment, needed)
        return partial(load_policy, str(run_dir), which, by, slots, environment, needed)

    factories = {"model": acting(asked)}
    if references:
        action = environment.spec.with_role("action")[0]
        factories["random"] = partial(RandomPolicy, action, *environment.action_range)
        if near:
            factories["zero"] = partial(ZeroPolicy, action)
        if asked.name == "waypoint" or (ends and model.refusals(environment)["bc"] is None):
            factories["bc"] = acting(replace(asked, name="bc", mode="closed"))
        if recorded:
            factories["replay"] = partial(ReplayPolicy, recorded)
    if query.references:
        memory = _memory(data, window if asked.history is None else min(window, asked.history + 1))
        factories |= {kind: partial(RecallPolicy, memory, kind) for kind in query.references}
    filmed, spreads = [r.row for r in plan][:films], None if data is None else _spreads(data, plan)
    records: dict[str, list[EpisodeRecord]] = {}
    pictures: list[list[np.ndarray]] = []
    for policy, factory in factories.items():
        workers = max(1, settings.num_workers)
        shown = filmed if policy == "model" else ()
        every = max(1, environment.horizon // MOST_FRAMES)
        runner = RolloutRunner(environment, factory, workers, slots, frames=shown, frame_every=every, spreads=spreads)
        records[policy] = runner.run(plan)
        pictures += [list(film) for film in runner.films.values()]
    again = recorded_plan(data, episodes, settings.seed) if references and data is not None and name == "bc" else None
    if again is not None:
        replay = partial(ReplayPolicy, again[1])
        records["data"] = RolloutRunner(environment, replay, max(1, settings.num_workers), slots).run(again[0])
    modes = {} if data is None else mode_counts(environment, data.store, data.split.train)
    rows = [
        row
        for policy, played in records.items()
        for row in judged(environment, played, policy, modes, metrics.version, run_dir.name, model.data_hash)
    ]
    return Played(name, plan, records["model"], rows, pictures, modes)


def _spreads(data: Dataset, plan: EpisodePlan) -> dict[str, np.ndarray] | None:
    """Deviations over the training episodes of what the plan's goals hold, where that is numbers.

    Of a walker's state 97 % of the squared norm are joint velocities: a plain distance hardly sees the posture.
    """
    held = {name for row in plan for name in row.goal or ()}
    modes: dict[str, Mode] = {name: "standard" for name in sorted(held) if data.spec[name].kind == "continuous"}
    if not modes:
        return None
    fitted = Normaliser.fit(data.store, modes, data.split.train, known=data.known)
    return {name: fitted.scale(name) for name in modes}


def judged(
    environment: Environment,
    records: Sequence[EpisodeRecord],
    policy: str,
    modes: Mapping[str, int],
    version: MetricsVersion,
    config_hash: str = "",
    dataset_hash: str = "",
) -> list[MetricRow]:
    """All statistics of one policy's records; ``modes`` = how many demonstrations follow each."""
    return summarise(
        records,
        policy,
        events=environment.events,
        known_modes=modes or (),
        measures=partial(environment.measures, version=version),
        config_hash=config_hash,
        dataset_hash=dataset_hash,
    )


def _memory(data: Dataset | None, length: int) -> Memory:
    """Histories of the training episodes, as long as those that the model sees."""
    if data is None:
        raise ConfigError("query.references compare with training episodes, and there are no data")
    return Memory.fit(data.store, complete(data.split.train, data.known), length)


def load_policy(
    run_dir: str, which: str, query: Query, slots: int, environment: Environment, timesteps: int | None = None
) -> ModelPolicy:
    """The model of a run folder acting; what each worker process builds for itself."""
    torch.set_num_threads(1)
    return load_model(run_dir, which).policy(query, slots, environment, timesteps)


def _timesteps(plan: EpisodePlan) -> int:
    """Timesteps of a window that holds everything which any row shows and asks: the budget and the state it ends in, or the
    prompt and the budget."""
    return max((row.budget or 0) + (1 if row.context is None else len(next(iter(row.context.values())))) for row in plan)


def tabulated(played: Sequence[Played]) -> list[MetricRow]:
    """Metric rows of all queries, in order."""
    return [row for p in played for row in p.metrics]
