"""Reads run folders. What a folder lacks is left out; what it holds but cannot be understood is an error.

Files of a run folder: ``config.yaml``, ``metrics.csv`` (``step`` and one column a curve), ``timing.csv`` (alike),
``card.json`` (data set), ``evaluation/task_losses.csv``, ``evaluation/rollouts.csv``, ``evaluation/rollouts_<query>.gif``.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from maskbench.errors import DataError

Row = TypeVar("Row")


@dataclass(frozen=True)
class Curve:
    """One logged quantity: ``steps`` ``(n,)`` and ``values`` ``(n,)``, finite or not, without the blank cells of its column."""

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class TaskLoss:
    """Loss of one factor (``total`` = all of them) under one task, with its interval; ``floor`` = least possible, or None."""

    task: str
    factor: str
    loss: float
    low: float
    high: float
    n: int
    floor: float | None


@dataclass(frozen=True)
class RolloutResult:
    """One metric of one policy asked by one query; bounds are NaN where there is no interval."""

    query: str
    policy: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    definition: str


@dataclass(frozen=True)
class Run:
    """Everything a run folder says. Absent pieces are empty."""

    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    config_text: str = ""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    timing: Mapping[str, Curve] = field(default_factory=dict)
    task_losses: tuple[TaskLoss, ...] = ()
    rollouts: tuple[RolloutResult, ...] = ()
    films: Mapping[str, Path] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``experiment.name`` where configured, else the folder's name."""
        experiment = self.config.get("experiment")
        named = experiment.get("name") if isinstance(experiment, Mapping) else None
        return str(named or self.folder.name)

    def files(self) -> list[tuple[str, int]]:
        """Relative path and bytes of every file of the folder, sorted by path; hidden ones left out."""
        paths = sorted(p for p in self.folder.rglob("*") if p.is_file())
        named = ((p.relative_to(self.folder), p.stat().st_size) for p in paths)
        return [(str(p), size) for p, size in named if not any(part.startswith(".") for part in p.parts)]


@dataclass(frozen=True)
class Matrix:
    """Values ``(rows, columns)``, NaN = blank: training regime x evaluation task. ``floor`` ``(columns,)`` = least possible."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    floor: np.ndarray | None = None

    def normalised(self) -> np.ndarray:
        """Each column divided by its least value (uniMASK Figure 7)."""
        relative: np.ndarray = self.values / np.nanmin(self.values, axis=0)
        return relative

    def excess(self) -> np.ndarray:
        """Values above the floor: what a better model could still gain. Raises DataError where no floor is known."""
        if self.floor is None:
            raise DataError(f"'{self.title}' has no floor to measure the excess from")
        above: np.ndarray = self.values - self.floor
        return above


def collect(folder: Path | str) -> Run:
    """Reads one run folder. Raises DataError where it does not exist or a file of it is malformed."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no run folder at {folder}")
    config_path = folder / "config.yaml"
    prefix = "rollouts_"
    return Run(
        folder=folder,
        config=read_yaml(config_path) if config_path.is_file() else {},
        config_text=config_path.read_text(encoding="utf-8") if config_path.is_file() else "",
        curves=_curves(folder / "metrics.csv"),
        timing=_curves(folder / "timing.csv"),
        task_losses=_rows(folder / "evaluation" / "task_losses.csv", _task_loss),
        rollouts=_rows(folder / "evaluation" / "rollouts.csv", _rollout),
        films={p.stem.removeprefix(prefix): p for p in sorted((folder / "evaluation").glob(f"{prefix}*.gif"))},
        card=_json(folder / "card.json"),
    )


def find_runs(root: Path | str) -> list[Path]:
    """Run folders (those with a ``config.yaml``) at or below ``root``, sorted; hidden folders such as ``.hydra`` left out."""
    root = Path(root)
    found = (p.parent for p in root.rglob("config.yaml"))
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts))


def task_matrix(runs: Mapping[str, Run], title: str = "Loss by task", factor: str = "total") -> Matrix:
    """Heatmap of several runs: one row a label, one column a task in the order of appearance."""
    losses = {(label, loss.task): loss for label, run in runs.items() for loss in run.task_losses if loss.factor == factor}
    tasks = tuple(dict.fromkeys(task for _, task in losses))
    if not tasks:
        raise DataError(f"none of {sorted(runs)} has task losses of factor '{factor}'")
    values = np.array([[losses[r, t].loss if (r, t) in losses else math.nan for t in tasks] for r in runs])
    floors = {task: loss.floor for (_, task), loss in losses.items() if loss.floor is not None}
    floor = np.array([floors[t] for t in tasks]) if len(floors) == len(tasks) else None
    return Matrix(title, tuple(runs), tasks, values, floor)


def _curves(path: Path) -> dict[str, Curve]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        if "step" not in names:
            raise DataError(f"{path} needs a column 'step'; found {names}")
        points: dict[str, list[tuple[float, float]]] = {name: [] for name in names if name != "step"}
        for row in reader:
            step = _number(path, reader.line_num, "step", row)
            for name in points:
                if row[name]:
                    points[name].append((step, _number(path, reader.line_num, name, row)))
    return {name: Curve(*np.array(pairs).T) for name, pairs in points.items() if pairs}


def _rows(path: Path, parse: Callable[[Path, int, Mapping[str, str]], Row]) -> tuple[Row, ...]:
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        return tuple(parse(path, reader.line_num, row) for row in reader)


def _task_loss(path: Path, line: int, row: Mapping[str, str]) -> TaskLoss:
    loss, low, high, n = _numbers(path, line, row, ("loss", "low", "high", "n"))
    floor = _number(path, line, "floor", row) if row.get("floor") else None
    return TaskLoss(_text(path, line, "task", row), _text(path, line, "factor", row), loss, low, high, int(n), floor)


def _rollout(path: Path, line: int, row: Mapping[str, str]) -> RolloutResult:
    value, low, high, n = _numbers(path, line, row, ("value", "low", "high", "n"))
    query, policy, metric = (_text(path, line, name, row) for name in ("query", "policy", "metric"))
    return RolloutResult(query, policy, metric, value, low, high, int(n), row.get("definition") or "")


def _numbers(path: Path, line: int, row: Mapping[str, str], names: Sequence[str]) -> Iterable[float]:
    return (_number(path, line, name, row) for name in names)


def _text(path: Path, line: int, name: str, row: Mapping[str, str]) -> str:
    if row.get(name) is None:
        raise DataError(f"line {line} of {path} has no '{name}'; found columns {list(row)}")
    return row[name]


def _number(path: Path, line: int, name: str, row: Mapping[str, str]) -> float:
    """A cell as a number; blank = NaN."""
    text = _text(path, line, name, row)
    try:
        return float(text) if text else math.nan
    except ValueError as error:
        raise DataError(f"line {line} of {path}: '{name}' must be a number; found '{text}'") from error


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold one object; found {type(content).__name__}")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of one mapping, interpolations kept as text. Raises DataError where it is something else."""
    from omegaconf import OmegaConf
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (YAMLError, OSError) as error:
        raise DataError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold one mapping; found {type(content).__name__}")
    return {str(name): value for name, value in content.items()}
