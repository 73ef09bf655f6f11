"""MaskDP, Figures 3 and 5: distances to five goals at 12, 24, 36, 48 and 60 steps.

    python reproducibility_scripts/maskdp/goal_multi.py quick --data <tree>   # tiny models, walker_walk; 30 CPU minutes
    python reproducibility_scripts/maskdp/goal_multi.py full --data <tree>    # published sizes, seven tasks; needs a GPU

``--protocol`` says over which states the smallest distance to a goal is taken: fair = all up to its time, for every model;
code = the whole episode for MaskDP and a goal's own segment for baselines (spec maskdp 6.4); paper = random times and five
more steps. ``quick`` differs as in goal_single.py, but for windows of 64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import maskdp_study as study
import typer
from rich.console import Console

from maskbench.reports.comparison import Ordering

MODELS = ("MaskDP", "Goal-GPT", "Goal-MLP")
COLUMNS = tuple(f"waypoint_{i}" for i in range(1, 6))


def runs(mode: study.Mode, task: str, data: Path, protocol: str, seeds: int) -> dict[str, list[str]]:
    """Overrides by name, ``<model>/<seed>``."""
    found = {}
    for model in MODELS:
        asked = "[multi_goal,multi_goal_open]" if model == "MaskDP" else "[multi_goal]"
        extra = [f"protocol={protocol}", "experiment.num_eval_eps=100", f"evaluation.rollout={asked}"]
        extra += ["dataset.window=64"] if mode == "quick" else []
        found |= {f"{model}/{s}": study.line(model, mode, task, data, s, extra) for s in range(seeds)}
    return found


def orderings() -> list[Ordering]:
    """The figure's sentence, goal by goal."""
    pairs = tuple(
        ((ours, c), (theirs, c)) for ours in ("MaskDP closed", "MaskDP open") for theirs in MODELS[1:] for c in COLUMNS
    )
    return [Ordering("MaskDP, even open loop, ends nearer to every goal than the baselines", pairs)]


def main(
    data: study.Data,
    mode: study.ModeArgument = "quick",
    tasks: study.Tasks = "",
    protocol: Annotated[str, typer.Option(help="fair | paper | code")] = "fair",
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ...")] = 1,
    folder: Annotated[Path, typer.Option(help="where runs and results go")] = Path("train_runs/maskdp/goal_multi"),
    workers: study.Workers = 2,
) -> None:
    """Trains what is missing, then tabulates, judges and draws."""
    console, how = Console(stderr=True), study.checked(mode, data)
    rows = study.LOOPS | {m: (m, "") for m in MODELS[1:]}
    for task in study.chosen(how, tasks):
        root = folder / how / protocol / task
        found = study.run_all(root, runs(how, task, data, protocol, seeds), workers, console)
        cells = study.cells_of(found, rows, {c: ("multi_goal", c) for c in COLUMNS}, "MaskDP")
        study.publish(root, "goal_multi", f"Several goals, {task}", cells, orderings(), console)


if __name__ == "__main__":
    typer.run(main)
