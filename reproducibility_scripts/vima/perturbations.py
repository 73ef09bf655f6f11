"""CoGeLoT's heat map: what changed instructions, hidden prompts and objects in another order do to success, level by level.

    python reproducibility_scripts/vima/perturbations.py quick   # task 1, two models; 15 to 30 CPU-minutes each
    python reproducibility_scripts/vima/perturbations.py full --launcher slurm   # 13 tasks, published sizes; GPUs

All rows play the same episodes, so that differences to the first row are paired. "spawn order" was trained on objects in the
order in which the benchmark makes them, and is also asked with slots shuffled at every observation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
import vima_study as study
from rich.console import Console

from maskbench.masking.prompt import PromptRule
from maskbench.reports.comparison import Key, Ordering
from maskbench.reports.rates import rate_map
from maskbench.reports.style import png
from maskbench.reports.tables import Measured
from maskbench.trajectory import EpisodeRecord

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
MODELS = (study.WHOLE, SPAWN)


def runs(mode: study.Mode, seeds: int) -> dict[str, list[str]]:
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
        Ordering("shuffled slots hurt who learned spawn order", pairs(SPAWN, SHUFFLED)),
    ]


def report(cells: Mapping[Key, list[list[EpisodeRecord]]], root: Path, columns: Sequence[str], console: Console) -> None:
    """Tables, verdicts and heat map of what was played, by row and level."""
    success = {key: study.rate(records) for key, records in cells.items()}
    strict = {key: study.rate(records, "strict_success") for key, records in cells.items()}
    bases = {row: SPAWN if row in ORDERED else "none" for row, _ in cells}
    differences: dict[Key, Measured] = {
        (row, level): study.difference(records, cells[bases[row], level])
        for (row, level), records in cells.items()
        if row != bases[row]
    }
    title = "Success under changed prompts and slots"
    figure = png(rate_map(title, success, reference="none"))
    stated = orderings(columns)
    study.publish(
        root, "perturbations", title, success, strict, console, orderings=stated, differences=differences, figure=figure
    )


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
    for model, rows in ((study.WHOLE, CHANGES), (SPAWN, ORDERED)):
        for row, asked in rows.items():
            for level in columns:
                cells[row, level] = study.played(root, model, models[study.slug(model)], study.at(asked, level), episodes)
    report(cells, root, columns, console)


if __name__ == "__main__":
    typer.run(main)
