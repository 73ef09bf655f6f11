"""Success on the test levels, by model: CoGeLoT's configurations, and what needs no prompt.

    python reproducibility_scripts/vima/level_bars.py quick   # task 1, four models; 15 to 30 CPU-minutes each
    python reproducibility_scripts/vima/level_bars.py full --launcher slurm   # 13 tasks, published sizes; GPUs

"prompt-blind" is trained and asked without prompts; "spawn order, prompt-blind" moreover sees objects in the order in which the
benchmark made them: what it reaches, order alone tells. Random actions are uniform. ``quick`` leaves out the pixel models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import vima_study as study
from rich.console import Console

from maskbench.reports.comparison import Key, Ordering
from maskbench.reports.tables import Measured

BLIND = ("prompt-blind", "spawn order, prompt-blind")
MODELS = {
    "quick": (study.WHOLE, "objects, concatenation", *BLIND),
    "full": (study.WHOLE, "objects, concatenation", "patches, cross-attention", "patches, concatenation", *BLIND),
}


def runs(mode: study.Mode, seeds: int) -> study.Runs:
    """Overrides by name, ``<model>/<seed>``."""
    return study.lines(MODELS[mode], mode, seeds)


def orderings(columns: Sequence[str]) -> list[Ordering]:
    """What the papers' bars say."""

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


def report(cells: study.Cells, root: Path, columns: Sequence[str], console: Console, paper: bool) -> None:
    """Tables, verdicts and bars of what was played, by model and level."""
    theirs: dict[Key, Measured] | None = study.claims("cogelot") if paper else None
    study.publish(root, "level_bars", "Success by level", cells, console, orderings=orderings(columns), paper=theirs)


def play(stage: study.Stage) -> None:
    """Plays all models and chance, and reports."""
    cells = {key: c for name in MODELS[stage.mode] for key, c in stage.rows(name, {name: study.Asked()}).items()}
    cells |= {("(random)", level): stage.chance(study.WHOLE, study.Asked(level)) for level in stage.columns}
    report(cells, stage.root, stage.columns, stage.console, stage.mode == "full")


if __name__ == "__main__":
    study.run(runs, play, __doc__)
