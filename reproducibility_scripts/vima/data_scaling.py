"""Success by the number of demonstrations.

    python reproducibility_scripts/vima/data_scaling.py quick   # task 1, from 1000 up; an hour of CPU
    python reproducibility_scripts/vima/data_scaling.py full --launcher slurm   # 0.1, 1, 10 and 100 % of 637 000; GPUs

The published finding is about baselines, too: a tenth of the data suffices to beat them. Judged here: more is better. Every
size takes as many steps, of which few demonstrations are learned by heart. The largest size is the model of the other scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import vima_study as study
from rich.console import Console

from maskbench.reports.behaviour import swept
from maskbench.reports.comparison import Ordering
from maskbench.reports.style import png

#: Training demonstrations below those of the whole model; all sizes share the validation ones.
SIZES = {"quick": (1000, 3500), "full": (637, 6370, 63700)}


def runs(mode: study.Mode, seeds: int) -> study.Runs:
    """Overrides by name, ``<model>/<seed>``."""
    found = study.lines((study.WHOLE,), mode, seeds)
    for size in SIZES[mode]:
        extra = [f"dataset.split.train={size}"]
        found |= {f"{size}/{s}": study.line(study.WHOLE, mode, s, extra=extra) for s in range(seeds)}
    return found


def demonstrations(whole: study.Trained) -> int:
    """What the whole model was trained on."""
    data = whole.model.config.dataset
    return data.split.train or data.generate.episodes - int(data.split.validation or 0) - int(data.split.test or 0)


def orderings(sizes: Sequence[str], columns: Sequence[str]) -> list[Ordering]:
    pairs = tuple(((more, c), (less, c)) for less, more in pairwise(sizes) for c in columns)
    return [Ordering("more demonstrations are better", pairs)]


def report(cells: study.Cells, root: Path, console: Console) -> None:
    """Tables, verdicts and curves of what was played, by size and level."""
    sizes, columns = (list(dict.fromkeys(key[i] for key in cells)) for i in (0, 1))
    success = study.rates(cells)
    curves = {c: {float(size): success[size, c] for size in sizes} for c in columns}
    title = "Success by demonstrations"
    figure = png(swept(title, curves, x_label="demonstrations", y_label="success"))
    study.publish(root, "data_scaling", title, cells, console, orderings=orderings(sizes, columns), figure=figure)


def play(stage: study.Stage) -> None:
    """Plays all sizes and reports."""
    largest = demonstrations(stage.model(study.WHOLE)[0])
    names = {**{str(size): str(size) for size in SIZES[stage.mode]}, str(largest): study.WHOLE}
    cells = {key: c for size, name in names.items() for key, c in stage.rows(name, {size: study.Asked()}).items()}
    report(cells, stage.root, stage.console)


if __name__ == "__main__":
    study.run(runs, play, __doc__)
