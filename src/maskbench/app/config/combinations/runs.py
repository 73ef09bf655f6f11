"""Runs that cannot be named, started or repeated as asked."""

from __future__ import annotations

from pathlib import Path

from maskbench.app.config.decode import KeyMistake
from maskbench.app.config.runs import has_checkpoint, saved_config, start_of_seed
from maskbench.app.config.schema import EvalConfig, RolloutConfig, TrainConfig
from maskbench.app.config.schema_env import Carla
from maskbench.envs.carla import NEEDS


def environment_is_here(c: TrainConfig | EvalConfig | RolloutConfig) -> None:
    """CARLA has a name, and a message that says what it needs."""
    if isinstance(c.env, Carla):
        raise KeyMistake("env", NEEDS)


def name_is_a_folder(c: TrainConfig | EvalConfig | RolloutConfig) -> None:
    """The name of an experiment becomes a folder."""
    name = c.experiment.name
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise KeyMistake("experiment.name", f"names a folder below the run folders; found '{name}'")


def starts_from_one_run(c: TrainConfig) -> None:
    """Each seed starts from one trained run; one that goes on from its own checkpoint needs it no more."""
    if c.model.load_dir is not None:
        seeds = c.experiment.num_cv_runs
        for i in range(seeds):
            if c.resume is None or not has_checkpoint(Path(c.resume) / (f"cv_{i}" if seeds > 1 else "")):
                saved_config(start_of_seed(c.model.load_dir, i, seeds), "model.load_dir")


def seed_is_one_of_the_runs(c: TrainConfig) -> None:
    """A seed that is trained alone must be one of those of the run."""
    index, seeds = c.experiment.cv_run_idx, c.experiment.num_cv_runs
    if index is not None and 1 < seeds <= index:
        raise KeyMistake("experiment.cv_run_idx", f"found {index}; experiment.num_cv_runs={seeds} has 0 to {seeds - 1}")


def seeds_can_be_stacked(c: TrainConfig) -> None:
    """Seeds trained as one model share a process, a device and a log."""
    if c.trainer.stack_seeds is True and c.experiment.num_cv_runs > 1:
        reason = why_not_stacked(c)
        if reason is not None:
            raise KeyMistake("trainer.stack_seeds", f"{reason}; choose auto or false")


def why_not_stacked(c: TrainConfig) -> str | None:
    """None, or the setting that keeps the seeds of a run from being trained as one model."""
    if c.trainer.devices > 1 or c.trainer.strategy == "ddp":
        return "trainer=ddp trains one model on several devices"
    if c.trainer.profile:
        return "trainer.profile records one run"
    if c.logger.name == "wandb":
        return "logger=wandb logs one run at a time"
    return None
