"""CoGeLoT's heat map: what changed instructions, hidden prompts and objects in another order do to success, level by level.

    python reproducibility_scripts/vima/perturbations.py quick   # task 1, three models; 15 to 30 CPU-minutes each
    python reproducibility_scripts/vima/perturbations.py full --launcher slurm   # 13 tasks, published sizes; GPUs

All rows play the same episodes, so that differences to the first row are paired. "spawn order" was trained on objects in the
order in which the benchmark makes them, and is also asked with slots shuffled at every observation. "trained without prompts"
never saw one (``masking=vima_disable_both``), and is asked without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import vima_study as study
from rich.console import Console

from maskbench.masking.prompt import PromptRule
from maskbench.reports.comparison import Key, Ordering
from maskbench.reports.rates import rate_map
from maskbench.reports.style import png
from maskbench.reports.tables import Measured

SPAWN, SHUFFLED = "spawn order", "spawn order, slots shuffled"
#: Rows of the whole model: changes to instructions, parts that are shown, slots that change places.
CHANGES: Mapping[str, study.Asked] = {
    "none": study.Asked(),
    "reworded": study.Asked(perturb=("reworded",)),
    "gobbledygook words": study.Asked(perturb=("gobbledygook_word",)),
    "gobbledygook tokens": study.Asked(perturb=("gobbledygook_tokens",)),
    "textual": study.Asked(perturb=("textual",)),
    "textual, no noun": study.Asked(perturb=("textual_no_noun",)),
    "textual, no texture": study.Asked(perturb=("textual_no_texture",)),
    "textual, generic noun": study.Asked(perturb=("textual_generic_noun",)),
    "textual, gobbledygook words": study.Asked(perturb=("textual", "gobbledygook_word")),
    "different instruction": study.Asked(perturb=("different_instruction",)),
    "words hidden": study.Asked(prompt=PromptRule(text=0.0)),
    "pictures hidden": study.Asked(prompt=PromptRule(visual=0.0)),
    "prompt hidden": study.Asked(prompt=PromptRule(both=0.0)),
    "slots shuffled": study.Asked(shuffle=True),
}
#: Rows of the model of the spawn order.
ORDERED: Mapping[str, study.Asked] = {SPAWN: study.Asked(), SHUFFLED: study.Asked(shuffle=True)}
#: The row of the model that was trained without prompts.
WITHOUT = "trained without prompts"
BLIND = "prompt-blind"
MODELS = (study.WHOLE, BLIND, SPAWN)


def runs(mode: study.Mode, seeds: int) -> study.Runs:
    """Overrides by name, ``<model>/<seed>``."""
    return study.lines(MODELS, mode, seeds)


def orderings(columns: Sequence[str]) -> list[Ordering]:
    """CoGeLoT's findings, as trends."""

    def pairs(better: str, worse: str) -> tuple[tuple[Key, Key], ...]:
        return tuple(((better, c), (worse, c)) for c in columns)

    return [
        Ordering("gobbledygook words hurt by 10 points at most", pairs("gobbledygook words", "none"), margin=0.1),
        Ordering("gobbledygook tokens hurt by 10 points at most", pairs("gobbledygook tokens", "none"), margin=0.1),
        Ordering("without the prompt half of the success remains", pairs("prompt hidden", "none"), tolerance=0.5),
        Ordering(
            "shuffled slots cost who learned with them 5 points at most",
            pairs("slots shuffled", "none"),
            margin=0.05,
        ),
        Ordering("training with prompts is better than without", pairs("none", WITHOUT)),
        Ordering("shuffled slots hurt who learned spawn order", pairs(SPAWN, SHUFFLED)),
    ]


def report(cells: study.Cells, root: Path, columns: Sequence[str], console: Console) -> None:
    """Tables, verdicts and heat map of what was played, by row and level."""
    bases = {row: SPAWN if row in ORDERED else "none" for row, _ in cells}
    differences: dict[Key, Measured] = {
        (row, level): study.difference(records, cells[bases[row], level])
        for (row, level), records in cells.items()
        if row != bases[row]
    }
    title = "Success under changed prompts and slots"
    figure = png(rate_map(title, study.rates(cells), reference="none"))
    stated = orderings(columns)
    study.publish(root, "perturbations", title, cells, console, orderings=stated, differences=differences, figure=figure)


def play(stage: study.Stage) -> None:
    """Plays all rows and reports."""
    rows = {study.WHOLE: CHANGES, BLIND: {WITHOUT: study.Asked()}, SPAWN: ORDERED}
    cells = {key: c for model, asked in rows.items() for key, c in stage.rows(model, asked).items()}
    report(cells, stage.root, stage.columns, stage.console)


if __name__ == "__main__":
    study.run(runs, play, __doc__)
