"""Success on the test levels, by model: CoGeLoT's configurations, and what needs no prompt.

    python reproducibility_scripts/vima/level_bars.py quick   # task 1, four models; 15 to 30 CPU-minutes each
    python reproducibility_scripts/vima/level_bars.py full --launcher slurm   # 13 tasks, published sizes; GPUs

"prompt-blind" is trained and asked without prompts; "spawn order, prompt-blind" moreover sees objects in the order in which the
benchmark made them: what it reaches, order alone tells. Random actions are uniform. ``quick`` leaves out the pixel models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
import vima_study as study
from rich.console import Console

from maskbench.reports.comparison import Key, Ordering
from maskbench.reports.tables import Measured
from maskbench.trajectory import EpisodeRecord

BLIND = ("prompt-blind", "spawn order, prompt-blind")
MODELS = {
    "quick": (study.WHOLE, "objects, concatenation", *BLIND),
    "full": (study.WHOLE, "objects, concatenation", "patches, cross-attention", "patches, concatenation", *BLIND),
}


def runs(mode: study.Mode, seeds: int) -> dict[str, list[str]]:
    """Overrides by name, ``<model>/<seed>``."""
    return study.lines(MODELS[mode], mode, seeds)


def orderings(columns: Sequence[str]) -> list[Ordering]:
    """What the papers' bars say, as far as the compared models are there."""

    def above(better: str, worse: str, margin: float = 0.0) -> tuple[tuple[tuple[Key, Key], ...], float]:
        return tuple(((better, c), (worse, c)) for c in columns), margin

    statements = {
        "the prompt is used: better than prompt-blind": above(study.WHOLE, "prompt-blind"),
        "better than random actions": above(study.WHOLE, "(random)"),
        "spawn order tells what the prompt says": above("spawn order, prompt-blind", "prompt-blind"),
        "cross-attention is as good as concatenation, within 5 points": above(study.WHOLE, "objects, concatenation", 0.05),
        "objects are better than patches": above(study.WHOLE, "patches, cross-attention"),
    }
    return [Ordering(text, pairs, margin=margin) for text, (pairs, margin) in statements.items()]


def report(
    cells: Mapping[Key, list[list[EpisodeRecord]]], root: Path, columns: Sequence[str], console: Console, paper: bool
) -> None:
    """Tables, verdicts and bars of what was played, by model and level."""
    success = {key: study.rate(records) for key, records in cells.items()}
    strict = {key: study.rate(records, "strict_success") for key, records in cells.items()}
    known = {row for row, _ in cells}
    stated = [o for o in orderings(columns) if all(key[0] in known for pair in o.pairs for key in pair)]
    theirs: dict[Key, Measured] | None = study.claims("cogelot") if paper else None
    study.publish(root, "level_bars", "Success by level", success, strict, console, orderings=stated, paper=theirs)


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
    for name in MODELS[how]:
        for level in columns:
            cells[name, level] = study.played(root, name, models[study.slug(name)], study.Asked(level), episodes)
    whole = study.slug(study.WHOLE)
    for level in columns:
        cells["(random)", level] = [study.play(root / whole / "0", models[whole][0], study.Asked(level), episodes, "random")]
    report(cells, root, columns, console, how == "full")


if __name__ == "__main__":
    typer.run(main)
