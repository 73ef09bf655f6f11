"""MaskDP by the number of training episodes: distances to single goals.

    python reproducibility_scripts/maskdp/data_size.py quick --data <tree>   # 2 to 32 episodes, tiny models; 12 CPU minutes
    python reproducibility_scripts/maskdp/data_size.py full --data <tree>    # 1, 10 and 100 %, published size; needs a GPU

Beside the numbers that a derivative repository gives for finetuning on 1, 10 and 100 % of walker_run's near-expert
episodes (claims maskdp/pretraining_data, row "none": from scratch; its test episodes may have been trained on). The sentence
that is judged: more episodes are better, within 5 %.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import maskdp_study as study
import typer
from rich.console import Console

from maskbench.reports.behaviour import swept
from maskbench.reports.claims import published
from maskbench.reports.comparison import Ordering, comparison_table
from maskbench.reports.style import png

SIZES = {"quick": ("2", "8", "32"), "full": ("0.01", "0.1", "null")}
LABELS = {"quick": "training episodes", "full": "share of the training episodes"}
SHARES = {"0.01": "1 %", "0.1": "10 %", "null": "100 %"}


def runs(mode: study.Mode, task: str, data: Path, seeds: int) -> dict[str, list[str]]:
    """Overrides by name, ``<episodes>/<seed>``; validation takes the same eight (a fifth) of them whatever the size."""
    shared = ["experiment.num_eval_eps=300", "evaluation.rollout=[goal,goal_open]"]
    shared += ["experiment.num_steps=4000"] if mode == "quick" else []
    return {
        f"{size}/{s}": study.line("MaskDP", mode, task, data, s, [*shared, f"dataset.split.train={size}"])
        for size in SIZES[mode]
        for s in range(seeds)
    }


def main(
    data: study.Data,
    mode: study.ModeArgument = "quick",
    tasks: study.Tasks = "",
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ...")] = 1,
    folder: Annotated[Path, typer.Option(help="where runs and results go")] = Path("train_runs/maskdp/data_size"),
    workers: study.Workers = 2,
) -> None:
    """Trains what is missing, then tabulates, judges and draws."""
    console, how = Console(stderr=True), study.checked(mode, data)
    sizes = SIZES[how]
    for task in study.chosen(how, tasks or ("walker_run" if how == "full" else "")):
        root = folder / how / task
        found = study.run_all(root, runs(how, task, data, seeds), workers, console)
        rows = {f"{size} episodes": (size, "") for size in sizes}
        cells = study.cells_of(found, rows, study.DISTANCES, sizes[0])
        pairs = tuple(
            ((f"{more} episodes", loop), (f"{less} episodes", loop))
            for less, more in pairwise(sizes)
            for loop in study.DISTANCES
        )
        at = {s: 1.0 if s == "null" else float(s) for s in sizes}
        curves = {loop: {at[s]: cells[f"{s} episodes", loop] for s in sizes} for loop in study.DISTANCES}
        ordering = Ordering("more episodes are better", pairs, tolerance=0.05)
        study.publish(root, "data_size", f"Training episodes, {task}", cells, [ordering], console)
        figure = swept(f"Training episodes, {task}", curves, x_label=LABELS[how], y_label="distance to the goal")
        (root / "data_size_curve.png").write_bytes(png(figure))
        if how == "full":
            claims = [c for c in published("maskdp", "pretraining_data") if c.row == "none"]
            ours = {("none", f"{loop} {SHARES[s]}"): cells[f"{s} episodes", loop] for s in sizes for loop in study.DISTANCES}
            beside = comparison_table("From scratch on a share of the episodes, walker_run", claims, ours)
            beside.save(root / "data_size_claims")
            console.print(beside.to_rich())


if __name__ == "__main__":
    typer.run(main)
