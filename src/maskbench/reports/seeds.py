"""The seeds ``cv_0``, ``cv_1`` ... of one run in one table: means, and how far seeds spread."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from maskbench.errors import DataError
from maskbench.reports.collect import Run, collect, find_runs
from maskbench.reports.tables import Table


def seed_runs(folder: Path | str) -> list[Path]:
    """Evaluated seeds of a run folder, in order; empty for a plain run."""
    found = [p for p in find_runs(folder) if p.parent == Path(folder) and p.name[:3] == "cv_" and p.name[3:].isdigit()]
    return sorted(found, key=lambda p: int(p.name[3:]))


def seeds_table(folder: Path | str) -> Table:
    """One row a result: mean, sample standard deviation, extremes and number of seeds.

    Best validation loss, the total loss of each task, and the model's rollouts. Raises DataError where the folder holds no
    evaluated seed.
    """
    runs = [collect(path) for path in seed_runs(folder)]
    if not runs:
        raise DataError(f"{folder} holds no evaluated seeds: expected run folders cv_0, cv_1, ... (experiment.num_cv_runs)")
    results = [_results(run) for run in runs]
    rows = []
    for name in dict.fromkeys(n for r in results for n in r):
        values = np.array([r[name] for r in results if name in r])
        spread = float(values.std(ddof=1)) if len(values) > 1 else None
        rows.append((name, float(values.mean()), spread, float(values.min()), float(values.max()), len(values)))
    columns = ("result", "mean", "sd", "least", "most", "seeds")
    return Table(f"{len(runs)} seeds of {folder}", columns, tuple(rows), ("sd: sample standard deviation over seeds",))


def write_seeds(folder: Path | str) -> Table:
    """``seeds_table``, also written to ``seeds.csv`` and ``seeds.md`` of the folder."""
    table = seeds_table(folder)
    for name, text in (("seeds.csv", table.to_csv()), ("seeds.md", table.to_markdown())):
        temporary = Path(folder) / f".{name}"
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, Path(folder) / name)
    return table


def _results(run: Run) -> Mapping[str, float]:
    found = {f"{t.task} loss": t.loss for t in run.task_losses if t.factor == "total"}
    if "validation/loss" in run.curves:
        found = {"best validation loss": float(run.curves["validation/loss"].values.min())} | found
    return found | {f"{r.query} {r.metric.replace('_', ' ')}": r.value for r in run.rollouts if r.policy == "model"}
