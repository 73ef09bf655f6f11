"""Several seeds of one training: their folders, and an evaluation of each of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from rich.console import Console

from maskbench.app.config.runs import read_overrides, seed_folders
from maskbench.app.config.schema import EvalConfig, RolloutConfig
from maskbench.reports.seeds import write_seeds

C = TypeVar("C", EvalConfig, RolloutConfig)


def seed_folder(run_dir: Path, name: str, changes: Mapping[str, Any]) -> Path:
    """``<run_dir>/<name>`` with the run's own configuration and command line, ``changes`` written into both, so that the
    folder says by itself how it came about."""
    folder = run_dir / name
    shutil.copytree(run_dir / ".hydra", folder / ".hydra", dirs_exist_ok=True)
    saved = OmegaConf.load(folder / ".hydra" / "config.yaml")
    for key, value in changes.items():
        OmegaConf.update(saved, key, value)
    OmegaConf.save(saved, folder / ".hydra" / "config.yaml")
    overrides = folder / ".hydra" / "overrides.yaml"
    lines = read_overrides(overrides) if overrides.is_file() else []
    kept = [o for o in lines if o.lstrip("+").split("=", 1)[0] not in (*changes, "resume", "hydra.run.dir")]
    given = [f"{k}={'null' if v is None else v}" for k, v in changes.items()]
    OmegaConf.save(OmegaConf.create([*kept, *given]), overrides)
    return folder


def for_each_seed(config: C, run_dir: Path, evaluate: Callable[[C, Path], float | None]) -> float | None:
    """``evaluate`` for the run that ``model.load_dir`` names, or into ``cv_0`` ... for each of its seeds, with a table
    of their means and spread; returns the mean."""
    seeds = seed_folders(config.model.load_dir)
    if not seeds:
        return evaluate(config, run_dir)
    found = []
    for seed in seeds:
        own = replace(config, model=replace(config.model, load_dir=str(seed)))
        found.append(evaluate(own, seed_folder(run_dir, seed.name, {"model.load_dir": str(seed)})))
    console = Console(stderr=True)
    console.print(write_seeds(run_dir).to_rich())
    console.print(f"seeds: {run_dir}/seeds.csv", soft_wrap=True)
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None
