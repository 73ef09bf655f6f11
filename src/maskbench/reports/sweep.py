"""The jobs of a multirun in one table: what each was, how well it learned, how well it acted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskbench.errors import DataError
from maskbench.reports.collect import Run, collect, find_runs
from maskbench.reports.tables import Cell, Measured, Table, show

#: Rollout metrics worth a column, and those of them that are shown only where an environment has them.
METRICS = ("return", "success", "normalised_score", "goal_distance")


def sweep_table(folder: Path | str, brief: bool = False) -> Table:
    """One row a job of the multirun in ``folder``: the settings that differ, the best validation loss, the model's rollouts.

    brief: all rollouts of a job in one cell, so that the table fits a terminal.

    Losses compare within one masking scheme only; rollouts compare within one environment and query. Raises DataError where
    the folder holds no finished job.
    """
    folder = Path(folder)
    runs = {path: collect(path) for path in find_runs(folder)}
    if not runs:
        raise DataError(f"{folder} holds no finished run")
    settings = {path: _overrides(path) for path in runs}
    keys = tuple(dict.fromkeys(k for s in settings.values() for k in s))
    differing = [k for k in keys if len({s.get(k) for s in settings.values()}) > 1]
    results = {path: _brief_results(run) if brief else _results(run) for path, run in runs.items()}
    columns = tuple(dict.fromkeys(c for r in results.values() for c in r))
    order = sorted(runs, key=lambda p: (len(p.name), p.name))
    rows = tuple(
        (path.relative_to(folder).as_posix(), *(settings[path].get(k, "") for k in differing), *map(results[path].get, columns))
        for path in order
    )
    notes = ("Losses compare within one masking scheme, rollouts within one environment and query.",)
    return Table(f"{len(runs)} jobs of {folder}", ("job", *differing, *columns), rows, notes)


def write_sweep(folder: Path | str) -> Table:
    """``sweep_table`` written to ``summary.csv`` and ``summary.md`` of the folder; returns its brief form."""
    table = sweep_table(folder)
    for name, text in (("summary.csv", table.to_csv()), ("summary.md", table.to_markdown())):
        temporary = Path(folder) / f".{name}"
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, Path(folder) / name)
    return sweep_table(folder, brief=True)


def _overrides(path: Path) -> dict[str, str]:
    """The command line of a job."""
    from omegaconf import OmegaConf

    saved = path / ".hydra" / "overrides.yaml"
    lines: Any = OmegaConf.load(saved) if saved.is_file() else []
    pairs = (str(line).lstrip("+").split("=", 1) for line in lines)
    return {k: v for k, v in pairs if not k.startswith("hydra.")}


def _brief_results(run: Run) -> Mapping[str, Cell]:
    found = dict(_results(run))
    shown = []
    for query in dict.fromkeys(r.query for r in run.rollouts):
        text = f"{query} {show(found.pop(f'{query} return'))}"
        success = found.pop(f"{query} success", None)
        shown.append(f"{text} ({success.value:.0%})" if isinstance(success, Measured) else text)
    kept: dict[str, Cell] = {k: v for k, v in found.items() if k == "validation loss"}
    return kept | {"return (success)": ", ".join(shown)}


def _results(run: Run) -> Mapping[str, Cell]:
    found: dict[str, Cell] = {}
    if "validation/loss" in run.curves:
        found["validation loss"] = float(min(run.curves["validation/loss"].values))
    for r in run.rollouts:
        if r.policy == "model" and r.metric in METRICS and (r.metric != "goal_distance" or r.query.startswith("goal")):
            found[f"{r.query} {r.metric.replace('_', ' ')}"] = Measured(r.value)
    return found
