"""What a finished run of Behavior Transformers does, drawn without training anything.

    python reproducibility_scripts/bet/figures.py train_runs/bet/paper_params_blockpush_quick/BeT/0
    python reproducibility_scripts/bet/figures.py <run of a point mass> <run of the kitchen> --out figures

Point masses: the routes of 60 rollouts over demonstrated ones. Block push: the ways of effector and blocks, one panel an order.
Kitchen: which task follows which, beside the demonstrations. Where actions lie in a plane and the run has bins, also
``actions.png``: demonstrated actions by bin with the bins' centres, and what the model draws at moments of a held-out episode.
Written to ``<run>/evaluation``, or to ``--out`` under the run's own name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import study
import typer
from rich.console import Console

from maskbench.reports.collect import collect


def main(
    runs: Annotated[list[Path], typer.Argument(help="folders of finished runs")],
    out: Annotated[Path | None, typer.Option(help="where figures go; by default into each run's evaluation folder")] = None,
) -> None:
    """Draws what each run does."""
    console = Console(stderr=True)
    for folder in runs:
        run = collect(folder)
        world = run.config["env"]["name"]
        stem = folder / "evaluation" if out is None else out / folder.name
        stem.mkdir(parents=True, exist_ok=True)
        study.draw_behaviour(run, world, stem / "behaviour.png")
        if study.draw_actions(run, stem / "actions.png"):
            console.print(f"{stem}/behaviour.png, {stem}/actions.png", soft_wrap=True)
        else:
            console.print(f"{stem}/behaviour.png", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
