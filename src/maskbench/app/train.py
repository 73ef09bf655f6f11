"""``train.py``: data, model, training, then what the trained model can do."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from maskbench.app.acting import FILMED, Played, make_query, play_model, why_no_films
from maskbench.app.config.combinations.runs import why_not_stacked
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.runs import start_of_seed
from maskbench.app.config.schema import TrainConfig
from maskbench.app.experiment import Model, build_dataset, build_model, build_sampler, load_model, saved_with
from maskbench.app.finetune import finetune
from maskbench.app.results import announce, write_results
from maskbench.app.seeds import seed_folder
from maskbench.app.tasks import build_bank, measure
from maskbench.data.dataset import Dataset
from maskbench.data.labels import complete
from maskbench.envs.base import Environment
from maskbench.errors import ConfigError
from maskbench.models.leakage import prove_no_leak
from maskbench.reports.seeds import write_seeds
from maskbench.training import checkpoint
from maskbench.training.loggers import Logger, build_loggers
from maskbench.training.masked import Alternating, Batches, Epochs, MaskedProblem
from maskbench.training.optim import build_optimizer, build_scheduler
from maskbench.training.problem import OptimizerFactory, SchedulerFactory
from maskbench.training.seeding import seed_everything
from maskbench.training.stack import why_not
from maskbench.training.stacked import Member, fit_stacked, pays
from maskbench.training.trainer import Trainer


@dataclass(frozen=True)
class _World:
    """What the seeds of a run share."""

    environment: Environment
    data: Dataset


def run(config: TrainConfig, run_dir: Path) -> float | None:
    """Trains (``num_cv_runs`` times with consecutive seeds, or the one at ``cv_run_idx``) and reports.

    Returns the mean best validation loss.
    """
    if config.env.text:
        from maskbench.app.text_train import run_text_training

        return run_text_training(config, run_dir)
    alone = config.experiment.cv_run_idx
    seeds = range(config.experiment.num_cv_runs) if alone is None else [alone]
    console = Console(stderr=True)
    world = _build_world(config)
    if alone is None and len(seeds) == 1:
        start = config if config.model.load_dir is None else _started_from(config, config.model.load_dir, 0, 1)
        return _run_once(start, run_dir, world, console)
    children = [(_seed_config(config, i), _seed_folder(config, run_dir, i)) for i in seeds]
    together = len(seeds) > 1 and config.trainer.stack_seeds and config.rl is None
    stacked = _stack(config, children, world, console) if together else None
    losses = stacked or [_run_once(child, folder, world, console) for child, folder in children]
    if os.environ.get("LOCAL_RANK", "0") == "0":
        console.print(write_seeds(run_dir).to_rich())
        console.print(f"seeds: {run_dir}/seeds.csv", soft_wrap=True)
    found = [loss for loss in losses if loss is not None]
    return sum(found) / len(found) if found else None


def _build_world(config: TrainConfig) -> _World:
    seed_everything(config.experiment.seed)
    environment = instantiate(config.env)
    return _World(environment, build_dataset(config.dataset, environment, config.experiment.data_root))


def _seed_config(config: TrainConfig, index: int) -> TrainConfig:
    settings = config.experiment
    own = replace(config, experiment=replace(settings, seed=settings.seed + index, num_cv_runs=1, cv_run_idx=None))
    start = config.model.load_dir
    return own if start is None else _started_from(own, start, index, settings.num_cv_runs)


def _started_from(config: TrainConfig, load_dir: str, index: int, seeds: int) -> TrainConfig:
    model: Any = config.model
    return replace(config, model=replace(model, load_dir=start_of_seed(load_dir, index, seeds)))


def _seed_folder(config: TrainConfig, run_dir: Path, index: int) -> Path:
    """``cv_<index>``, which says by itself how its seed was trained."""
    own = _seed_config(config, index)
    changes: dict[str, Any] = {"experiment.seed": own.experiment.seed, "experiment.num_cv_runs": 1}
    if config.experiment.cv_run_idx is not None:
        changes["experiment.cv_run_idx"] = None
    if own.model.load_dir is not None:
        changes["model.load_dir"] = own.model.load_dir
    return seed_folder(run_dir, f"cv_{index}", changes)


@dataclass(frozen=True)
class _Training:
    """A model and what it takes to train it."""

    config: TrainConfig
    run_dir: Path
    model: Model
    trainer: Trainer
    optimiser: OptimizerFactory
    schedule: SchedulerFactory
    loggers: list[Logger]

    @property
    def resume(self) -> bool:
        return self.config.resume is not None


def _prepare(config: TrainConfig, run_dir: Path, world: _World) -> _Training:
    settings = config.experiment
    seed_everything(settings.seed)
    model = build_model(config, world.environment, world.data)
    goes_on = config.resume is not None and checkpoint.exists(run_dir)
    if config.model.load_dir is not None and not goes_on:
        checkpoint.load_weights(model.network, config.model.load_dir, config.model.which)
    model.network.train()
    trainer, optimiser, schedule = _loop(config, _num_steps(config, world.data, model))
    loggers = build_loggers([config.logger.name], run_dir, project=config.logger.project, mode=config.logger.mode)
    return _Training(config, run_dir, model, trainer, optimiser, schedule, loggers)


def _loop(config: TrainConfig, steps: int) -> tuple[Trainer, OptimizerFactory, SchedulerFactory]:
    settings = config.experiment
    options = {k: v for k, v in asdict(config.trainer).items() if k != "stack_seeds"}
    trainer = Trainer(steps, seed=settings.seed, device=settings.device, **options)  # type: ignore[arg-type]
    warmup = min(config.scheduler.warmup_steps, steps // 10)
    schedule = partial(build_scheduler, num_steps=steps, **{**asdict(config.scheduler), "warmup_steps": warmup})
    return trainer, partial(build_optimizer, **asdict(config.optimizer)), schedule


def _run_once(config: TrainConfig, run_dir: Path, world: _World, console: Console) -> float | None:
    if config.rl is not None:
        loop = _loop(config, config.experiment.num_steps)
        return finetune(config, run_dir, world.environment, world.data, *loop, console)
    t = _prepare(config, run_dir, world)
    _introduce(t, run_dir, world, console)
    problem = _problem(config, world.data, t.model, t.trainer)
    extra = saved_with(t.model)
    result = t.trainer.fit(t.model.network, problem, t.optimiser, t.schedule, run_dir, t.loggers, extra, t.resume)
    if t.trainer.fabric.global_rank == 0:
        report(load_model(str(run_dir), "best", t.trainer.fabric.device), world.data, run_dir, console)
    return result.best_loss


def _stack(
    config: TrainConfig, children: list[tuple[TrainConfig, Path]], world: _World, console: Console
) -> list[float | None] | None:
    """Best losses of all seeds, trained as one; None where that is impossible or, under ``auto``, not faster."""
    reason = why_not_stacked(config)
    if reason is None:
        trainings = [_prepare(child, folder, world) for child, folder in children]
        first, networks = trainings[0], [t.model.network for t in trainings]
        reason = why_not(networks)
        rows, width = config.experiment.batch_size * first.model.layout.num_tokens, getattr(config.model, "n_embd")  # noqa: B009
        if reason is None and config.trainer.stack_seeds == "auto" and not pays(rows, width, first.trainer.fabric.device):
            reason = f"a stack of {rows} tokens of width {width} each is no faster here"
    if reason is not None:
        if config.trainer.stack_seeds is True:
            raise ConfigError(f"trainer.stack_seeds=true: {reason}. Choose auto or false.")
        console.print(f"seeds one after the other: {reason}", soft_wrap=True)
        return None
    _introduce(first, children[0][1].parent, world, console)
    console.print(f"training {len(children)} seeds as one model", highlight=False)
    problem = _problem(config, world.data, first.model, first.trainer)
    members = []
    for t in trainings:
        seed = t.config.experiment.seed
        members.append(Member(seed, t.model.network, problem.with_seed(seed), t.run_dir, t.loggers, saved_with(t.model)))
    results = fit_stacked(first.trainer, members, first.optimiser, first.schedule, first.resume)
    for t in trainings:
        console.rule(t.run_dir.name)
        report(load_model(str(t.run_dir), "best", t.trainer.fabric.device), world.data, t.run_dir, console)
    return [r.best_loss for r in results]


def _introduce(t: _Training, run_dir: Path, world: _World, console: Console) -> None:
    prove_no_leak(t.model.network, t.model.scheme)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        announce(console, t.model, world.data, run_dir)
        point_latest(run_dir)


def report(model: Model, data: Dataset, run_dir: Path, console: Console) -> None:
    """Task losses beside their floors, rollouts beside their references, and the page that shows both."""
    config, device = model.config, next(model.network.parameters()).device
    part = "test" if len(data.split.test) else "validation"
    sampler = build_sampler(config, data, part, model.layout, device, network=model.network)
    window = sampler.fixed(config.evaluation.num_windows, config.evaluation.seed + 1)
    rows = measure(model, build_bank(model, window, config.masking.tasks, config.evaluation.seed + 1))
    played: list[Played] = []
    blind = why_no_films(model.environment) if config.evaluation.rollout else None
    if blind is not None:
        console.print(f"no films: {blind}")
    for name in config.evaluation.rollout if config.experiment.num_eval_eps != 0 else ():
        why = model.refusals(model.environment)[make_query(config.query, name).name]
        if name.endswith("_open") and why is None and model.scheme.attend == "causal":
            why = "a causal model is asked for one step at a time"
        if name == "goal_open" and model.environment.goal(0) is not None and model.environment.horizon > model.layout.length:
            why = "a plan of a whole episode does not fit the window"
        if why is not None:
            console.print(f"no rollouts of {name}: {why}")
            continue
        films = 0 if name.endswith("_open") or blind is not None else FILMED
        args = (model, model.environment, data, config.query, name, config.experiment, run_dir, "best", config.metrics)
        played.append(play_model(*args, films=films, protocol=config.protocol))
    write_results(console, run_dir, model, data, rows, played, video=config.experiment.record_video)


def _problem(config: TrainConfig, data: Dataset, model: Model, trainer: Trainer) -> MaskedProblem:
    device, world = trainer.fabric.device, trainer.fabric.world_size
    if config.experiment.batch_size % world:
        raise ConfigError(f"experiment.batch_size={config.experiment.batch_size} cannot be shared by {world} processes evenly")
    share = replace(config, experiment=replace(config.experiment, batch_size=config.experiment.batch_size // world))
    batches = _batches(share, data, model, device)
    part = "validation" if len(data.split.validation) else "train"
    held_out = build_sampler(config, data, part, model.layout, device, network=model.network)
    window = held_out.fixed(config.evaluation.num_windows, config.evaluation.seed)
    bank = build_bank(model, window, config.masking.tasks, config.evaluation.seed, with_scheme=True)
    settings = share.experiment
    steps = trainer.num_steps * trainer.accumulate
    return MaskedProblem(batches, model.scheme, model.objective, bank, settings.batch_size, settings.seed, world, steps)


def _batches(config: TrainConfig, data: Dataset, model: Model, device: Any) -> Batches:
    """Training windows: drawn, pass after pass, or alternately from episodes that lack nothing and from those that do."""
    ratio, train = config.dataset.unlabelled.ratio, data.split.train
    whole = complete(train, data.known)
    if ratio is None or len(whole) == len(train):
        sampler = build_sampler(config, data, "train", model.layout, device, network=model.network)
        return sampler if config.experiment.num_prior_epochs is None else Epochs(sampler)
    of = partial(build_sampler, config, data, "train", model.layout, device)
    return Alternating(of(whole), of(np.setdiff1d(train, whole)), ratio)


def _num_steps(config: TrainConfig, data: Dataset, model: Model) -> int:
    if config.experiment.num_prior_epochs is None:
        return config.experiment.num_steps
    sampler = build_sampler(config, data, "train", model.layout, "cpu")
    return max(1, math.ceil(config.experiment.num_prior_epochs * sampler.steps_per_epoch))


def point_latest(run_dir: Path) -> None:
    """``train_runs/latest`` names the newest run."""
    root = next((p for p in run_dir.resolve().parents if p.name == "train_runs"), None)
    if root is None:
        return
    link, fresh = root / "latest", root / f".latest-{run_dir.name}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(run_dir.resolve().relative_to(root))
    fresh.replace(link)
