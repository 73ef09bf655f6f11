"""How far the definition of a metric decides its value: the appendix of the reproducibility study, on finished runs.

    python reproducibility_scripts/bet/metric_variants.py train_runs/bet/paper_params_kitchen_quick/BeT/0
    python reproducibility_scripts/bet/metric_variants.py <run of block push> --rollouts 500 --out figures

Kitchen: how many episodes have at least n tasks, and each task, by how close its joints must come to its goal (24 values from 0
to 1; 0.3 is published, which the study found to treat all tasks alike). Block push: P1 and P2 by how close a block must come to
the centre of a zone (0.05 m is published), and its metrics by their three versions (``metrics.version``).

Demonstrations stand beside rollouts of the run's model, which are played anew to record their states. Nothing is trained. As
in the study, thresholds are applied to recorded states: the kitchen's with their reading noise, and in block push episodes that
end once both blocks lie within 0.05 m, so that P2 for less is low by construction.
Written to ``<run>/evaluation``, or to ``--out`` under the run's own name: ``thresholds.png``, ``thresholds.csv`` and, for block
push, ``versions.csv``, each table as Markdown too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import study
import typer
from rich.console import Console

from maskbench.app.experiment import load_model
from maskbench.envs.blockpush.rules import TOLERANCE
from maskbench.envs.kitchen.tasks import TASKS, THRESHOLD, gaps
from maskbench.reports.collect import Run, collect
from maskbench.reports.style import png
from maskbench.reports.tables import Cell, Table
from maskbench.reports.thresholds import threshold_curves

#: Thresholds of the kitchen (the study's) and of block push in metres.
KITCHEN, BLOCKPUSH = np.linspace(0.0, 1.0, 24), np.linspace(0.02, 0.08, 13)
#: Panel -> metric -> share of episodes at each threshold.
Shares = dict[str, dict[str, np.ndarray]]


def kitchen(episodes: Iterable[np.ndarray]) -> Shares:
    """Shares by threshold of episodes whose states ``(length + 1, 60)`` begin with the 30 positions."""
    nearest = np.stack([gaps(states[:, :30]).min(0) for states in episodes])
    done = nearest[:, None] < KITCHEN[:, None]  # (episodes, thresholds, tasks)
    at_least = {f"p_{n}": (done.sum(-1) >= n).mean(0) for n in range(1, 8)}
    each = {name.replace("_", " "): done[..., i].mean(0) for i, name in enumerate(TASKS)}
    return {"at least n tasks": at_least, "each task": each}


def blockpush(episodes: Iterable[np.ndarray]) -> Shares:
    """Shares by tolerance of episodes whose states are ``(length + 1, 16)``."""
    nearest = np.stack([_distances(states).min(0) for states in episodes])
    within = nearest[:, None] < BLOCKPUSH[:, None, None]  # (episodes, tolerances, blocks, zones)
    straight, crossed = within[..., 0, 0] & within[..., 1, 1], within[..., 0, 1] & within[..., 1, 0]
    return {"blocks that entered a zone": {"P1": within.any((-2, -1)).mean(0), "P2": (straight | crossed).mean(0)}}


def _distances(states: np.ndarray) -> np.ndarray:
    """``(length + 1, 2, 2)``: of each block from each zone."""
    blocks, zones = states[:, (0, 1, 3, 4)].reshape(-1, 2, 1, 2), states[:, (10, 11, 13, 14)].reshape(-1, 1, 2, 2)
    return np.asarray(np.linalg.norm(blocks - zones, axis=-1))


def table_of(title: str, at: np.ndarray, shares: Mapping[str, Shares]) -> Table:
    """One row a threshold, one column a metric and policy."""
    found = {
        f"{metric}, {policy}": values
        for policy, panels in shares.items()
        for metrics in panels.values()
        for metric, values in metrics.items()
    }
    rows = tuple((f"{x:.3f}", *(float(values[i]) for values in found.values())) for i, x in enumerate(at))
    return Table(title, ("threshold", *found), rows)


def versions(run: Run) -> Table:
    """Metrics of a run's own records by their versions."""
    metrics = study.COLUMNS["blockpush"]
    ours = {v: study.numbers(study.judged([run], v), "blockpush") for v in ("paper", "strict", "repstudy_legacy")}
    rows: list[tuple[Cell, ...]] = [(m, *(found.get(m) for found in ours.values())) for m in metrics]
    return Table("Block push: the same rollouts by three definitions", ("metric", *ours), tuple(rows))


def main(
    runs: Annotated[list[Path], typer.Argument(help="folders of finished runs in the kitchen or block push")],
    out: Annotated[Path | None, typer.Option(help="where results go; by default into each run's evaluation folder")] = None,
    rollouts: Annotated[int, typer.Option(help="rollouts to play")] = 200,
) -> None:
    """Draws and tabulates what each run and its demonstrations score by other thresholds."""
    console = Console(stderr=True)
    found = [collect(folder) for folder in runs]
    worlds = [str(run.config["env"]["name"]) for run in found]
    for folder, world in zip(runs, worlds, strict=True):
        if world not in ("kitchen", "blockpush"):
            raise typer.BadParameter(f"runs in the kitchen or block push have such metrics; {folder} is of '{world}'")
    for folder, run, world in zip(runs, found, worlds, strict=True):
        at, score = (KITCHEN, kitchen) if world == "kitchen" else (BLOCKPUSH, blockpush)
        model = load_model(str(folder))
        shares = {
            "rollouts": score(study.walked(record) for record in study.played(model, rollouts)),
            "demonstrations": score(study.demonstrated_states(model)),
        }
        panels = {
            panel: {metric: {who: shares[who][panel][metric] for who in shares} for metric in metrics}
            for panel, metrics in shares["rollouts"].items()
        }
        stem = folder / "evaluation" if out is None else out / folder.name
        stem.mkdir(parents=True, exist_ok=True)
        unit = "distance of a task's joints from its goal" if world == "kitchen" else "distance from the zone's centre, m"
        stated = THRESHOLD if world == "kitchen" else TOLERANCE
        title = f"{world}: {rollouts} rollouts and the demonstrations by threshold"
        (stem / "thresholds.png").write_bytes(png(threshold_curves(title, at, panels, x_label=unit, published=stated)))
        table_of(title, at, shares).save(stem / "thresholds")
        if world == "blockpush":
            table = versions(run)
            table.save(stem / "versions")
            console.print(table.to_rich())
        console.print(f"{stem}/thresholds.png", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
