"""Success by the number of demonstrations.

    python reproducibility_scripts/vima/data_scaling.py quick   # task 1, 1000 to 11 500; an hour of CPU
    python reproducibility_scripts/vima/data_scaling.py full --launcher slurm   # 0.1, 1, 10 and 100 % of 637 000; GPUs

The published finding is about baselines, too: a tenth of the data suffices to beat them. Judged here: more is better. Every
size takes as many steps, of which few demonstrations are learned by heart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import typer
import vima_study as study
from rich.console import Console

from maskbench.reports.behaviour import swept
from maskbench.reports.comparison import Key, Ordering
from maskbench.reports.style import png
from maskbench.trajectory import EpisodeRecord

#: Training demonstrations; all of them share the validation ones.
SIZES = {"quick": (1000, 3500, 11500), "full": (637, 6370, 63700, 637000)}


def runs(mode: study.Mode, seeds: int) -> dict[str, list[str]]:
    """Overrides by name, ``<model>/<seed>``; the largest size is the model of the other scripts."""
    found = study.lines((study.WHOLE,), mode, seeds)
    for size in SIZES[mode][:-1]:
        extra = [f"dataset.split.train={size}"]
        found |= {f"{size}/{s}": study.line(study.WHOLE, mode, s, extra=extra) for s in range(seeds)}
    return found


def orderings(mode: study.Mode, columns: Sequence[str]) -> list[Ordering]:
    pairs = tuple(((str(more), c), (str(less), c)) for less, more in pairwise(SIZES[mode]) for c in columns)
    return [Ordering("more demonstrations are better", pairs)]


def report(
    cells: Mapping[Key, list[list[EpisodeRecord]]], root: Path, mode: study.Mode, columns: Sequence[str], console: Console
) -> None:
    """Tables, verdicts and curves of what was played, by size and level."""
    success = {key: study.rate(records) for key, records in cells.items()}
    strict = {key: study.rate(records, "strict_success") for key, records in cells.items()}
    curves = {c: {float(size): success[str(size), c] for size in SIZES[mode]} for c in columns}
    title = "Success by demonstrations"
    figure = png(swept(title, curves, x_label="demonstrations", y_label="success"))
    stated = orderings(mode, columns)
    study.publish(root, "data_scaling", title, success, strict, console, orderings=stated, figure=figure)


def main(
    mode: study.ModeArgument = "quick",
    folder: study.Folder = study.RUNS,
    episodes: study.Episodes = 200,
    seeds: study.Seeds = 1,
    workers: study.Workers = 2,
    launcher: study.Launcher = "basic",
) -> None:
    """Trains what is missing, then plays, tabulates, judges and draws."""
    how, console = study.checked(mode), Console(stderr=True)
    root, columns = folder / how, study.levels(how)
    models = study.train(root, runs(how, seeds), workers, console, launcher)
    cells: dict[Key, list[list[EpisodeRecord]]] = {}
    for size in SIZES[how]:
        name = study.WHOLE if size == SIZES[how][-1] else str(size)
        for level in columns:
            cells[str(size), level] = study.played(root, name, models[study.slug(name)], study.Asked(level), episodes)
    report(cells, root, how, columns, console)


if __name__ == "__main__":
    typer.run(main)
