"""Behavior Transformers along the number of bins: the reproducibility study's sweep and the paper's plateau.

    python reproducibility_scripts/bet/sweep_num_bins.py quick --env pointmass2   # minutes
    python reproducibility_scripts/bet/sweep_num_bins.py quick --env blockpush    # twenty minutes a run, two seeds
    python reproducibility_scripts/bet/sweep_num_bins.py full --env kitchen       # the study's values and three seeds

One bin is the ablation without binning. Two bins on pointmass1, the study's choice, put two of its three kinds of action
into one bin and fail.
Judged is whether the published value is as good as each other one in mean return, within 5 %. Written below ``--folder``:
tables and ``sweep.png``. Run it again to go on after an interruption.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import study
import typer

VALUES = {
    "quick": {
        "blockpush": (1, 8, 24, 64),
        "kitchen": (1, 16, 64),
        "pointmass1": (1, 2, 3, 4, 8),
        "pointmass2": (1, 2, 3, 4, 8),
    },
    "full": {
        "blockpush": (1, 4, 8, 16, 20, 24, 32, 64),
        "kitchen": (1, 3, 4, 5, 16, 60, 64, 68),
        "pointmass1": (1, 2, 3, 4, 8, 16),
        "pointmass2": (1, 2, 3, 4, 8, 16),
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
    root = folder or Path(f"train_runs/bet/sweep_num_bins_{env}_{mode}")
    count, stated = study.seeds_of(mode, seeds, 3), study.PUBLISHED[env][0]
    study.sweep("head.action.num_bins", "bins", env, mode, VALUES[mode][env], count, root, workers, stated)


if __name__ == "__main__":
    typer.run(main)
