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
    return read_overrides(_hydra_folder(run, key) / "overrides.yaml")


def read_overrides(path: Path) -> list[str]:
    """Recorded overrides as they were given: interpolations in them (``model.n_hidden=${model.n_embd}``) stay what they are."""
    lines = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(lines, list)
    return [str(line) for line in lines]


def seed_folders(run: str | Path) -> list[Path]:
    """The seeds ``cv_0``, ``cv_1`` ... of a run that was trained several times, in order; empty for a plain run."""
    found = [p for p in Path(run).glob("cv_*") if p.name[3:].isdigit() and (p / ".hydra" / "config.yaml").is_file()]
    return sorted(found, key=lambda p: int(p.name[3:]))


def start_of_seed(run: str, index: int, seeds: int) -> str:
    """The run whose weights seed ``index`` of ``seeds`` starts from: its counterpart in ``run``, or ``run`` itself where that
    is a plain run. Raises ConfigError where ``run`` holds another number of seeds."""
    folders = seed_folders(run)
    if not folders:
        return run
    if len(folders) != seeds:
        raise ConfigError(
            f"model.load_dir: '{run}' holds {len(folders)} seeds; found experiment.num_cv_runs={seeds}. "
            f"Give as many, or start from one of them: model.load_dir={folders[0]}"
        )
    return str(folders[index])


def has_checkpoint(folder: str | Path) -> bool:
    """Whether the run in ``folder`` can go on from a checkpoint of its own."""
    return (Path(folder) / "checkpoints" / "last").exists()


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
