"""``train.py``: data, model, training, then what the trained model can do."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from rich.console import Console

from maskbench.app.acting import FILMED, Played, make_query, play_model, why_no_films
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.schema import TrainConfig
from maskbench.app.experiment import Model, build_dataset, build_model, build_sampler, load_model, saved_with
from maskbench.app.results import announce, write_results
from maskbench.app.tasks import build_bank, measure
from maskbench.data.dataset import Dataset
from maskbench.data.labels import complete
from maskbench.errors import ConfigError
from maskbench.models.leakage import prove_no_leak
from maskbench.training import checkpoint
from maskbench.training.loggers import build_loggers
from maskbench.training.masked import Alternating, Batches, Epochs, MaskedProblem
from maskbench.training.optim import build_optimizer, build_scheduler
from maskbench.training.seeding import seed_everything
from maskbench.training.trainer import Trainer


def run(config: TrainConfig, run_dir: Path) -> float | None:
    """Trains (``num_cv_runs`` times with consecutive seeds) and reports; returns the mean best validation loss."""
    if config.experiment.num_cv_runs == 1:
        return _run_once(config, run_dir)
    losses = []
    for i in range(config.experiment.num_cv_runs):
        child, seed = run_dir / f"cv_{i}", config.experiment.seed + i
        shutil.copytree(run_dir / ".hydra", child / ".hydra", dirs_exist_ok=True)
        saved = OmegaConf.load(child / ".hydra" / "config.yaml")
        OmegaConf.update(saved, "experiment", {"seed": seed, "num_cv_runs": 1})
        OmegaConf.save(saved, child / ".hydra" / "config.yaml")
        losses.append(_run_once(replace(config, experiment=replace(config.experiment, seed=seed, num_cv_runs=1)), child))
    found = [loss for loss in losses if loss is not None]
    return sum(found) / len(found) if found else None


def _run_once(config: TrainConfig, run_dir: Path) -> float | None:
    console = Console(stderr=True)
    settings = config.experiment
    seed_everything(settings.seed)
    environment = instantiate(config.env)
    data = build_dataset(config.dataset, environment, settings.data_root)
    model = build_model(config, environment, data)
    if config.model.load_dir is not None:
        checkpoint.load_weights(model.network, config.model.load_dir, config.model.which)
    prove_no_leak(model.network, model.scheme)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        announce(console, model, data, run_dir)
        _point_latest(run_dir)

    steps = _num_steps(config, data, model)
    trainer = Trainer(steps, seed=settings.seed, device=settings.device, **asdict(config.trainer))  # type: ignore[arg-type]
    problem = _problem(config, data, model, trainer)
    warmup = min(config.scheduler.warmup_steps, steps // 10)
    schedule = partial(build_scheduler, num_steps=steps, **{**asdict(config.scheduler), "warmup_steps": warmup})
    optimiser = partial(build_optimizer, **asdict(config.optimizer))
    loggers = build_loggers([config.logger.name], run_dir, project=config.logger.project, mode=config.logger.mode)
    result = trainer.fit(
        model.network.train(),
        problem,
        optimiser,
        schedule,
        run_dir,
        loggers,
        extra_state=saved_with(model),
        resume=config.resume is not None,
    )
    if trainer.fabric.global_rank == 0:
        report(load_model(str(run_dir), "best", trainer.fabric.device), data, run_dir, console)
    return result.best_loss


def report(model: Model, data: Dataset, run_dir: Path, console: Console) -> None:
    """Task losses beside their floors, rollouts beside their references, and the page that shows both."""
    config, device = model.config, next(model.network.parameters()).device
    part = "test" if len(data.split.test) else "validation"
    sampler = build_sampler(config, data, part, model.layout, device)
    window = sampler.fixed(config.evaluation.num_windows, config.evaluation.seed + 1)
    rows = measure(model, build_bank(model, window, config.masking.tasks, config.evaluation.seed + 1))
    played: list[Played] = []
    blind = why_no_films(model.environment) if config.evaluation.rollout else None
    if blind is not None:
        console.print(f"no films: {blind}")
    for name in config.evaluation.rollout if config.experiment.num_eval_eps != 0 else ():
        why = model.refusals(model.environment)[make_query(config.query, name).name]
        if name == "goal_open" and model.environment.goal(0) is not None and model.environment.horizon > model.layout.length:
            why = "a plan of a whole episode does not fit the window"
        if why is not None:
            console.print(f"no rollouts of {name}: {why}")
            continue
        films = 0 if name == "goal_open" or blind is not None else FILMED
        args = (model, model.environment, data, config.query, name, config.experiment, run_dir, "best")
        played.append(play_model(*args, films=films))
    write_results(console, run_dir, model, data, rows, played, video=config.experiment.record_video)


def _problem(config: TrainConfig, data: Dataset, model: Model, trainer: Trainer) -> MaskedProblem:
    device, world = trainer.fabric.device, trainer.fabric.world_size
    if config.experiment.batch_size % world:
        raise ConfigError(f"experiment.batch_size={config.experiment.batch_size} cannot be shared by {world} processes evenly")
    share = replace(config, experiment=replace(config.experiment, batch_size=config.experiment.batch_size // world))
    batches = _batches(share, data, model, device)
    part = "validation" if len(data.split.validation) else "train"
    held_out = build_sampler(config, data, part, model.layout, device)
    window = held_out.fixed(config.evaluation.num_windows, config.evaluation.seed)
    bank = build_bank(model, window, config.masking.tasks, config.evaluation.seed, with_scheme=True)
    settings = share.experiment
    return MaskedProblem(batches, model.scheme, model.objective, bank, settings.batch_size, settings.seed, world)


def _batches(config: TrainConfig, data: Dataset, model: Model, device: Any) -> Batches:
    """Training windows: drawn, pass after pass, or alternately from episodes that lack nothing and from those that do."""
    ratio, train = config.dataset.unlabelled.ratio, data.split.train
    whole = complete(train, data.known)
    if ratio is None or len(whole) == len(train):
        sampler = build_sampler(config, data, "train", model.layout, device)
        return sampler if config.experiment.num_prior_epochs is None else Epochs(sampler)
    of = partial(build_sampler, config, data, "train", model.layout, device)
    return Alternating(of(whole), of(np.setdiff1d(train, whole)), ratio)


def _num_steps(config: TrainConfig, data: Dataset, model: Model) -> int:
    if config.experiment.num_prior_epochs is None:
        return config.experiment.num_steps
    sampler = build_sampler(config, data, "train", model.layout, "cpu")
    return max(1, math.ceil(config.experiment.num_prior_epochs * sampler.steps_per_epoch))


def _point_latest(run_dir: Path) -> None:
    """``train_runs/latest`` names the newest run."""
    root = next((p for p in run_dir.resolve().parents if p.name == "train_runs"), None)
    if root is None:
        return
    link, fresh = root / "latest", root / f".latest-{run_dir.name}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(run_dir.resolve().relative_to(root))
    fresh.replace(link)
