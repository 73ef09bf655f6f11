"""``train.py rl=td3``: offline RL on the trunk of a pretrained or new model, judged by episodes (MaskDP spec 3.4)."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from maskbench.app.acting import judged
from maskbench.app.config.schema import OfflineRL, TrainConfig
from maskbench.app.experiment import Model, build_model, load_model, saved_with
from maskbench.app.results import begin_evaluation
from maskbench.data.dataset import Dataset
from maskbench.data.normalise import Normaliser
from maskbench.envs.base import Environment
from maskbench.errors import ConfigError
from maskbench.models.actor_critic import ActorCritic
from maskbench.policies.actor import ActorPolicy
from maskbench.reports.collect import collect
from maskbench.reports.html import write_report
from maskbench.reports.tables import rollout_table
from maskbench.rollout.metrics import write_metrics
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.policy import Policy, RandomPolicy, ZeroPolicy
from maskbench.rollout.records import write_records
from maskbench.rollout.runner import RolloutRunner
from maskbench.training import checkpoint
from maskbench.training.offline_rl import TD3, TD3Problem, Transitions
from maskbench.training.problem import OptimizerFactory, SchedulerFactory
from maskbench.training.seeding import seed_everything
from maskbench.training.trainer import Trainer
from maskbench.trajectory import EpisodeRecord

#: Episodes of one evaluation during training, and of the final one, where the configuration names none (as published).
EPISODES = 10
#: Added to the run's seed for the episodes of the final evaluation, which training never played.
_FINAL = 1000
CURVE = "returns.csv"


def finetune(
    config: TrainConfig,
    run_dir: Path,
    environment: Environment,
    data: Dataset,
    trainer: Trainer,
    optimiser: OptimizerFactory,
    schedule: SchedulerFactory,
    console: Console,
) -> float | None:
    """Trains an actor-critic in ``run_dir`` and writes how it plays; returns the best mean return, negated.

    Rewards are those of ``environment``'s task, computed anew from saved simulator states where the data hold them.
    """
    s = _settings(config)
    seed_everything(config.experiment.seed)
    start = config.model.load_dir
    trunk = build_model(config, environment, data) if start is None else load_model(start, config.model.which)
    network = _build(s, trunk)
    algorithm = TD3(s.discount, s.rate, s.noise, s.clip, s.timesteps, s.cloning)
    device = trainer.fabric.device
    pieces = transitions(environment, data, trunk.normaliser)
    batches = Transitions(*pieces, s.timesteps, config.experiment.seed, device)
    plan = EpisodePlan.build(
        config.experiment.num_eval_eps or EPISODES, config.experiment.seed, budget=config.experiment.num_eval_steps
    )

    def play(by: Policy, plan: EpisodePlan) -> list[EpisodeRecord]:
        slots = min(len(plan), config.experiment.num_envs)
        return RolloutRunner(environment, lambda: by, num_slots=slots, progress=False).run(plan)

    def acting(found: ActorCritic) -> Policy:
        return ActorPolicy(found.actor, trunk.spec, trunk.normaliser.to(device), len(plan), s.timesteps)

    def evaluate(found: ActorCritic) -> Mapping[str, float]:
        returns = [r.episode_return for r in play(acting(found), plan)]
        return {"return": float(np.mean(returns)), "return_sd": float(np.std(returns))}

    problem = TD3Problem(batches, algorithm, config.experiment.batch_size, evaluate)
    count = sum(p.numel() for p in network.parameters())
    where = "pretrained" if start is not None else "new"
    console.print(f"{type(trunk.network).__name__}, {where}; actor and critic {count:,} parameters; {run_dir}", soft_wrap=True)
    resume = config.resume is not None
    result = trainer.fit(network, problem, optimiser, schedule, run_dir, (), saved_with(trunk), resume)
    checkpoint.load_weights(network, run_dir, "last")
    network.eval()
    final = EpisodePlan.build(len(plan), config.experiment.seed + _FINAL, budget=config.experiment.num_eval_steps)
    action = environment.spec.with_role("action")[0]
    policies: dict[str, Policy] = {
        "model": acting(network),
        "random": RandomPolicy(action, *environment.action_range),
        "zero": ZeroPolicy(action),
    }
    records = {name: play(policy, final) for name, policy in policies.items()}
    _write(run_dir, data, trunk, environment, final, records, console)
    return result.best_loss


def _settings(config: TrainConfig) -> OfflineRL:
    if config.rl is None:
        raise ConfigError("rl: choose one, e.g. rl=td3")
    return config.rl


def _build(rl: OfflineRL, trunk: Model) -> ActorCritic:
    return ActorCritic(trunk.network, rl.attend, rl.target, rl.init, rl.freeze, rl.placed)


def transitions(
    environment: Environment, data: Dataset, normaliser: Normaliser
) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    """States ``(n + 1, S)``, actions and rewards of every training episode, in model units; an episode that does not know its
    last state loses its last action."""
    store = data.store
    state, action = (store.spec.with_role(role)[0].name for role in ("state", "action"))
    rewards = relabelled(environment, data)
    found: tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]] = ([], [], [])
    for e in data.split.train:
        rows = slice(int(store.ends[e] - store.lengths[e]), int(store.ends[e]))
        states, actions, earned = np.array(store.array(state)[rows]), np.array(store.array(action)[rows]), rewards[rows]
        if state in store.finals:
            states = np.concatenate([states, store.finals[state][e][None]])
        else:
            actions, earned = actions[:-1], earned[:-1]
        found[0].append(normaliser.apply(state, torch.from_numpy(states)))
        found[1].append(normaliser.apply(action, torch.from_numpy(actions)))
        found[2].append(torch.from_numpy(np.ascontiguousarray(earned)))
    return found


def relabelled(environment: Environment, data: Dataset) -> np.ndarray:
    """``(N,)`` float32 rewards of the environment's own task: what was recorded for other tasks is computed anew from saved
    simulator states (spec 1.7). The last action of an episode keeps its recorded reward where no state after it is saved.

    Raises ConfigError where there are neither rewards nor states to compute them from.
    """
    store = data.store
    recorded, saved = store.spec.with_role("reward"), store.spec.with_role("simulator")
    relabel = getattr(environment, "relabel", None)
    if not recorded and (relabel is None or not saved):
        raise ConfigError("agents learn from rewards: the data hold neither rewards nor saved simulator states")
    rewards = np.array(store.array(recorded[0].name)[:, 0]) if recorded else np.zeros(store.num_steps, np.float32)
    if relabel is None or not saved:
        return rewards
    name = saved[0].name
    physics, ends = store.array(name), store.ends
    last = np.zeros(store.num_steps, bool)
    last[ends - 1] = True
    arrived = np.flatnonzero(~last)
    rewards[arrived] = relabel(np.asarray(physics[arrived + 1]))
    if name in store.finals:
        rewards[ends - 1] = relabel(store.finals[name])
    return rewards


def _write(
    run_dir: Path,
    data: Dataset,
    trunk: Model,
    environment: Environment,
    plan: EpisodePlan,
    records: Mapping[str, list[EpisodeRecord]],
    console: Console,
) -> None:
    folder = begin_evaluation(run_dir, data)
    judge = partial(judged, environment, modes={}, version="paper", config_hash=run_dir.name)
    rows = [r for name, played in records.items() for r in judge(records=played, policy=name, dataset_hash=trunk.data_hash)]
    write_metrics(rows, folder / "rollouts.csv")
    write_records(records["model"], folder / "bc")
    plan.save(folder / "bc" / "plan.json")
    _write_curve(run_dir, len(plan))
    console.print(rollout_table(collect(run_dir).rollouts, brief=True).to_rich())
    console.print(f"report: {write_report(run_dir)}", soft_wrap=True)


def _write_curve(run_dir: Path, episodes: int) -> None:
    """``evaluation/returns.csv``: mean return and its deviation over episodes at every evaluation."""
    curves = collect(run_dir).curves
    means, spreads = curves["validation/return"], curves["validation/return_sd"]
    with (run_dir / "evaluation" / CURVE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "return", "sd", "episodes"])
        for step, value, sd in zip(means.steps, means.values, spreads.values, strict=True):
            writer.writerow([int(step), value, sd, episodes])
