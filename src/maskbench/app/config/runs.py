"""Run folders as configuration: what a finished run used, and what it was started with."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from maskbench.errors import ConfigError


def saved_config(run: str, key: str) -> DictConfig:
    """The configuration that ``run`` was trained with. ``key`` is the setting that names the folder."""
    config = OmegaConf.load(_hydra_folder(run, key) / "config.yaml")
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{key}: {run}/.hydra/config.yaml holds no configuration")
    return config


def saved_overrides(run: str, key: str) -> list[str]:
    """The command line that started ``run``."""
    return [str(o) for o in OmegaConf.load(_hydra_folder(run, key) / "overrides.yaml")]


def _hydra_folder(run: str, key: str) -> Path:
    folder = Path(run)
    if not folder.is_dir():
        raise ConfigError(f"{key}: the folder '{run}' does not exist; give the folder of a run, e.g. train_runs/latest")
    if not (folder / ".hydra" / "config.yaml").is_file():
        found = [p.parents[1] for depth in ("*", "*/*", "*/*/*") for p in folder.glob(f"{depth}/.hydra/config.yaml")]
        children = sorted(p.relative_to(folder).as_posix() for p in found)
        hint = f"it holds runs: {', '.join(children[:5])}" if children else "expected .hydra/config.yaml inside"
        raise ConfigError(f"{key}: '{run}' is not the folder of a run; {hint}")
    return folder / ".hydra"
