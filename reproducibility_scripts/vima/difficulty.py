"""CoGeLoT's difficulties: more distractors, harder goals, both; and how prompts that are hidden fare there.

    python reproducibility_scripts/vima/difficulty.py quick   # task 1, one model; 15 to 30 CPU-minutes
    python reproducibility_scripts/vima/difficulty.py full --launcher slurm   # 13 tasks, published sizes; GPUs

The model was trained on ``easy`` alone. All difficulties play the same seeds, which are other scenes there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import vima_study as study
from rich.console import Console

from maskbench.envs.tabletop.partitions import DIFFICULTIES
from maskbench.masking.prompt import PromptRule
from maskbench.reports.comparison import Ordering

HIDDEN = ", prompt hidden"


def runs(mode: study.Mode, seeds: int) -> study.Runs:
    """Overrides by name, ``<model>/<seed>``."""
    return study.lines((study.WHOLE,), mode, seeds)


def rows() -> dict[str, study.Asked]:
    """What is asked, by row."""
    shown = {d: study.Asked(difficulty=d) for d in DIFFICULTIES}
    return shown | {f"{d}{HIDDEN}": study.Asked(difficulty=d, prompt=PromptRule(both=0.0)) for d in DIFFICULTIES}


def orderings(columns: Sequence[str]) -> list[Ordering]:
    """The finding: harder variants drop success."""
    return [
        Ordering(f"{harder} is harder than easy", tuple((("easy", c), (harder, c)) for c in columns))
        for harder in DIFFICULTIES[1:]
    ]


def report(cells: study.Cells, root: Path, columns: Sequence[str], console: Console) -> None:
    """Tables, verdicts and bars of what was played, by difficulty and level."""
    study.publish(root, "difficulty", "Success by difficulty", cells, console, orderings=orderings(columns))


def play(stage: study.Stage) -> None:
    """Plays all rows and reports."""
    report(stage.rows(study.WHOLE, rows()), stage.root, stage.columns, stage.console)


if __name__ == "__main__":
    study.run(runs, play, __doc__)
