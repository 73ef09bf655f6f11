"""Behavior Transformers along the window: the reproducibility study's sweep and the paper's plateau.

    python reproducibility_scripts/bet/sweep_window_size.py quick --env pointmass2   # minutes
    python reproducibility_scripts/bet/sweep_window_size.py quick --env blockpush    # twenty minutes a run, two seeds
    python reproducibility_scripts/bet/sweep_window_size.py full --env kitchen       # the study's values and three seeds

A window of one is the ablation without history. On pointmass2 all routes meet at (4, 4): a window that does not reach back
to where they part cannot tell which leg comes next.
Judged is whether the published value is as good as each other one in mean return, within 5 %. Written below ``--folder``:
tables and ``sweep.png``. Run it again to go on after an interruption.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import study
import typer

VALUES = {
    "quick": {"blockpush": (1, 5, 10), "kitchen": (1, 10, 20), "pointmass1": (1, 2, 5), "pointmass2": (1, 2, 3, 5)},
    "full": {
        "blockpush": (1, 3, 5, 10),
        "kitchen": (1, 5, 10, 20),
        "pointmass1": (1, 2, 3, 5),
        "pointmass2": (1, 2, 3, 5, 8),
    },
}


def main(
    mode: Annotated[str, typer.Argument(help="quick | full")] = "quick",
    env: Annotated[str, typer.Option(help="blockpush | kitchen | pointmass1 | pointmass2")] = "blockpush",
    folder: Annotated[Path | None, typer.Option(help="where runs and results go")] = None,
    seeds: Annotated[int | None, typer.Option(help="seeds 0, 1, ...; 2 in quick and 3, as in the study, in full")] = None,
    workers: Annotated[int, typer.Option(help="runs at the same time, one core each")] = 2,
) -> None:
    """Trains what is missing, then tabulates, judges and draws."""
    mode, env = study.checked(mode, env)
    root = folder or Path(f"train_runs/bet/sweep_window_size_{env}_{mode}")
    count, stated = study.seeds_of(mode, seeds, 3), study.PUBLISHED[env][1]
    study.sweep("experiment.window_size", "window", env, mode, VALUES[mode][env], count, root, workers, stated)


if __name__ == "__main__":
    typer.run(main)
