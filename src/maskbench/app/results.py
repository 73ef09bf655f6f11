"""What a run leaves behind: tables on the console, CSV files, films and the report page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from maskbench.app.acting import Played, tabulated
from maskbench.app.experiment import Model
from maskbench.app.tasks import TaskRow, write_task_losses
from maskbench.data.dataset import Dataset
from maskbench.reports.collect import collect
from maskbench.reports.html import write_report
from maskbench.reports.tables import rollout_table, task_loss_table
from maskbench.rollout.metrics import write_metrics
from maskbench.rollout.records import write_records
from maskbench.rollout.video import grid, write_video

#: Inside the folder of a query: how many demonstrations follow each mode.
MODES = "demonstrated_modes.json"


def announce(console: Console, model: Model, data: Dataset, run_dir: Path) -> None:
    """What is about to be trained, in a few lines."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    layout, card, sizes = model.layout, data.store.card, data.split
    parts = f"{len(sizes.train)} train, {len(sizes.validation)} validation, {len(sizes.test)} test"
    streams = [s.name for s in layout.streams]
    named = ", ".join(streams) if len(streams) <= 6 else f"{len(streams)} a timestep"
    tokens = f"{layout.num_tokens} tokens of {layout.length} timesteps ({named})"
    table.add_row("environment", model.environment.name)
    table.add_row("data", f"{card.name} ({card.origin}): {card.episodes} episodes, {card.steps} steps; {parts}")
    for name, has in data.known.items():
        lacking = int((~has[sizes.train]).sum())
        table.add_row("unlabelled", f"{lacking} of {len(sizes.train)} training episodes lack '{name}'")
    table.add_row("masking", f"{type(model.scheme).__name__}, {model.scheme.attend} attention")
    table.add_row("model", f"{type(model.network).__name__}, {model.network.num_parameters:,} parameters; {tokens}")
    table.add_row("checked", "no hidden cell reaches a prediction")
    table.add_row("run folder", str(run_dir))
    console.print(table)


def begin_evaluation(run_dir: Path, data: Dataset) -> Path:
    """``<run_dir>/evaluation``, beside the resolved configuration and the card of the data."""
    folder = run_dir / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    hydra_config = run_dir / ".hydra" / "config.yaml"
    if hydra_config.is_file():
        resolved = OmegaConf.to_yaml(OmegaConf.load(hydra_config), resolve=True)
        (run_dir / "config.yaml").write_text(resolved, encoding="utf-8")
    (run_dir / "card.json").write_text(json.dumps(data.store.card.to_json(), indent=1), encoding="utf-8")
    return folder


def write_results(
    console: Console,
    run_dir: Path,
    model: Model,
    data: Dataset,
    rows: Sequence[TaskRow],
    played: Sequence[Played],
    video: bool = False,
) -> None:
    """Files of ``<run_dir>/evaluation`` and ``report.html``; the tables also go to the console."""
    folder = begin_evaluation(run_dir, data)
    if rows:
        write_task_losses(rows, folder / "task_losses.csv")
    if played:
        write_metrics(tabulated(played), folder / "rollouts.csv")
    for p in played:
        write_records(p.records, folder / p.query)
        p.plan.save(folder / p.query / "plan.json")
        (folder / p.query / "plan_hash.txt").write_text(f"{p.plan.hash()}\n", encoding="utf-8")
        (folder / p.query / MODES).write_text(json.dumps(p.modes, indent=1), encoding="utf-8")
        if p.films:
            frames = grid(p.films)
            fps = 4 if len(frames) < 60 else 15
            write_video(frames, folder / f"rollouts_{p.query}.gif", fps)
            if video:
                write_video(frames, folder / f"rollouts_{p.query}.mp4", fps)
    found = collect(run_dir)
    if found.task_losses:
        console.print(task_loss_table(found.task_losses, brief=True).to_rich())
    if found.rollouts:
        console.print(rollout_table(found.rollouts, brief=True).to_rich())
    console.print(f"report: {write_report(run_dir)}", soft_wrap=True)
