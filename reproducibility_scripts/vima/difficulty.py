"""CoGeLoT's difficulties: more distractors, harder goals, both; and how prompts that are hidden fare there.

    python reproducibility_scripts/vima/difficulty.py quick   # task 1, one model; 15 to 30 CPU-minutes
    python reproducibility_scripts/vima/difficulty.py full --launcher slurm   # 13 tasks, published sizes; GPUs

The model was trained on ``easy`` alone. All difficulties play the same seeds, which are other scenes there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
import vima_study as study
from rich.console import Console

from maskbench.envs.tabletop.partitions import DIFFICULTIES
from maskbench.masking.prompt import PromptRule
from maskbench.reports.comparison import Key, Ordering
from maskbench.trajectory import EpisodeRecord

HIDDEN = ", prompt hidden"


def runs(mode: study.Mode, seeds: int) -> dict[str, list[str]]:
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


def report(cells: Mapping[Key, list[list[EpisodeRecord]]], root: Path, columns: Sequence[str], console: Console) -> None:
    """Tables, verdicts and bars of what was played, by difficulty and level."""
    success = {key: study.rate(records) for key, records in cells.items()}
    strict = {key: study.rate(records, "strict_success") for key, records in cells.items()}
    study.publish(root, "difficulty", "Success by difficulty", success, strict, console, orderings=orderings(columns))


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
    models = study.train(root, runs(how, seeds), workers, console, launcher)[study.slug(study.WHOLE)]
    cells = {
        (row, level): study.played(root, study.WHOLE, models, study.at(asked, level), episodes)
        for row, asked in rows().items()
        for level in columns
    }
    report(cells, root, columns, console)


if __name__ == "__main__":
    typer.run(main)
