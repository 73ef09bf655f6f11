"""Text games played by a policy: the plan, the records, the intervals, and the rollouts that training reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from maskbench.app.acting import judged
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.schema import EvalExperiment, RolloutConfig
from maskbench.app.text_players import has_recipe, make_player, with_what_it_needs
from maskbench.envs.text.family import TextGames
from maskbench.errors import ConfigError
from maskbench.policies.text_agents import AgentPolicy, Decision
from maskbench.reports.collect import collect
from maskbench.reports.tables import rollout_table
from maskbench.rollout.metrics import write_metrics
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.records import write_records
from maskbench.rollout.runner import PolicyFactory, RolloutRunner
from maskbench.text.rollout import TextRollout, TextStepRecord, append
from maskbench.trajectory import EpisodeRecord

#: Episodes where nothing else is said and any seed is a game.
EPISODES = 20


def run_text(config: RolloutConfig, run_dir: Path) -> float | None:
    """Plays a text game as configured; returns the mean return, negated: what a sweep minimises."""
    policy = config.policy
    if policy.name == "human":
        from maskbench.app.text_play import play_configured

        return play_configured(config)
    if policy.name == "model":
        from maskbench.app.text_train import play_text_model

        return play_text_model(config, run_dir)
    if policy.meta == "lookahead":
        raise ConfigError("policy.meta=lookahead tries commands in the game; play with: python -m maskbench text play")
    env = with_what_it_needs(config.env, policy)
    environment: TextGames = instantiate(env)
    factory = partial(AgentPolicy, partial(make_player, policy, has_recipe(env)))
    records = play_text(environment, factory, config.experiment, policy.name, run_dir)
    return -float(np.mean([r.episode_return for r in records]))


def play_text(
    environment: TextGames,
    factory: PolicyFactory,
    settings: EvalExperiment,
    policy: str,
    run_dir: Path,
    *,
    query: str = "bc",
    about: Mapping[str, Any] | None = None,
    invariant: bool = False,
) -> list[EpisodeRecord]:
    """Rolls ``factory``'s policy out; writes records, metrics with intervals and the plan to ``run_dir``, and stores the
    rollouts where ``settings.run_id`` says under which experiment.

    about:     more fields of ``TextRollout`` (engine ...).
    invariant: as ``RolloutRunner.invariant``: for policies of a torch model.
    """
    environment.prepare(max(1, settings.num_workers))
    worlds = environment.worlds
    episodes = settings.num_eval_eps or (len(worlds) if worlds is not None else EPISODES)
    plan = EpisodePlan.build(episodes, settings.seed, query, budget=settings.num_eval_steps, worlds=worlds)
    workers, slots = max(1, settings.num_workers), min(settings.num_envs, episodes)
    runner = RolloutRunner(environment, factory, workers, slots, record_trajectories=True, invariant=invariant)
    records = runner.run(plan)
    folder = run_dir / "evaluation"
    write_records(records, folder / query)
    plan.save(folder / query / "plan.json")
    write_metrics(judged(environment, records, policy, {}, "paper", run_dir.name), folder / "rollouts.csv")
    console = Console(stderr=True)
    console.print(rollout_table(collect(run_dir).rollouts, brief=True).to_rich())
    if settings.run_id is not None:
        root = Path(settings.data_root) / "text"
        fields = stored_as(settings, environment, policy) | dict(about or {})
        files = {append(root, as_rollout(record, fields)) for record in records}
        console.print(f"rollouts: {', '.join(map(str, sorted(files)))}", soft_wrap=True)
    return records


def stored_as(settings: EvalExperiment, environment: TextGames, policy: str) -> dict[str, Any]:
    """Under which policy, run, epoch, partition and split rollouts are kept."""
    teacher = policy in ("human", "expert", "walkthrough")
    student = "student_train" if environment.split == "train" else "student_test"
    return {
        "env": environment.name,
        "policy": settings.store,
        "run_id": settings.run_id or 0,
        "epoch": settings.epoch,
        "partition": settings.partition or ("teacher" if teacher else student),
        "split": environment.split,
        "agent": policy,
    }


def as_rollout(record: EpisodeRecord, about: Mapping[str, Any]) -> TextRollout:
    """A recorded episode of a text game as a rollout; the last observation closes it, with an empty command.

    Raises ConfigError where the record has no trajectory.
    """
    cells = record.trajectory
    if cells is None:
        raise ConfigError("a rollout needs the trajectory of its episode; play with record_trajectories=True")
    steps: list[TextStepRecord] = []
    for t in range(record.length):
        decision = Decision.noted(str(cells["command"][t]), str(cells["notes"][t]) if "notes" in cells else "")
        steps.append(_step({name: cells[name][t] for name in _SHOWN}, decision, float(cells["reward"][t])))
    final = {name: cells[f"final.{name}"][()] if name != "points" else cells["final.points"] for name in _SHOWN}
    steps.append(_step(final, Decision(""), 0.0))
    names = [name for _, name in record.events]
    score, most = (float(v) for v in cells["final.points"][:2])
    return TextRollout(
        steps=tuple(steps),
        seed=record.env_seed,
        score=score,
        max_score=most or None,
        won="won" in names,
        lost="lost" in names,
        **about,
    )


_SHOWN = ("obs", "admissible", "inventory", "location", "expert", "points")


def _step(cells: Mapping[str, Any], decision: Decision, reward: float) -> TextStepRecord:
    words = {name: str(cells[name]) for name in ("obs", "admissible", "inventory", "location", "expert")}
    return TextStepRecord(
        obs=words["obs"],
        command=decision.command,
        reward=reward,
        score=float(cells["points"][0]),
        labels=decision.labels,
        texts=decision.texts,
        admissible=tuple(words["admissible"].split("\n")) if words["admissible"] else None,
        inventory=words["inventory"] or None,
        location=words["location"] or None,
        expert=words["expert"] or None,
        noise=decision.noise,
    )


def transcript(steps: Sequence[TextStepRecord]) -> str:
    """What a person would have seen on the screen."""
    return "\n".join(f"{s.obs}\n> {s.command}" if s.command else s.obs for s in steps if not s.system)
