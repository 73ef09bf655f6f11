"""Success per task and level beside VIMA-200M's and CoGeLoT's.

    python reproducibility_scripts/vima/per_task.py quick   # tasks 1, 3 and 7, two models; 40 CPU-minutes each
    python reproducibility_scripts/vima/per_task.py full --launcher slurm   # 13 training tasks, four of L4; GPUs

Every task has four rows on the same episodes: the model; the same with its prompts hidden; "prompt-blind", trained and asked
without prompts; "random", uniform actions. "all tasks" is a level's score, the mean over its tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import vima_study as study
from rich.console import Console

from maskbench.envs.tabletop.partitions import tasks_of
from maskbench.reports.comparison import Key, Ordering
from maskbench.trajectory import EpisodeRecord

TASKS = {"quick": ("visual_manipulation", "rotate", "novel_noun"), "full": tasks_of("placement_generalization")}
#: Models of ``quick``; in full those of the other scripts.
MODEL, BLIND = "per_task", "per_task_prompt-blind"
#: Rows of a task, by what stands behind its name.
HIDDEN, WITHOUT, RANDOM = " (prompt hidden)", " (prompt-blind)", " (random)"
ALL = "all tasks"


def names(mode: study.Mode) -> tuple[str, str]:
    """The model, and the one without prompts."""
    return (MODEL, BLIND) if mode == "quick" else (study.WHOLE, "prompt-blind")


def runs(mode: study.Mode, seeds: int) -> study.Runs:
    """Overrides by name, ``<model>/<seed>``."""
    pairs = zip(names(mode), (study.WHOLE, "prompt-blind"), strict=True)
    return {
        f"{study.slug(name)}/{s}": study.line(model, mode, s, "three_tasks_quick")
        for name, model in pairs
        for s in range(seeds)
    }


def cells_of(mode: study.Mode) -> dict[Key, study.Asked]:
    """Which cells are played: a task and a level that holds it."""
    found = {}
    for level in study.levels(mode):
        there = tasks_of(study.LEVELS[level])
        chosen = there if level == "L4" else tuple(t for t in TASKS[mode] if t in there)
        found |= {(task, level): study.Asked(level, (task,)) for task in chosen}
    return found


def with_means(cells: study.Cells) -> dict[Key, list[list[EpisodeRecord]]]:
    """The cells and, for every kind of row, all episodes of a level: as many of every task."""
    found = {key: [list(seed) for seed in seeds] for key, seeds in cells.items()}
    for (row, level), seeds in cells.items():
        mean = found.setdefault((ALL + "".join(row.partition(" (")[1:]), level), [[] for _ in seeds])
        for together, records in zip(mean, seeds, strict=True):
            together += records
    return found


def orderings(cells: study.Cells) -> list[Ordering]:
    """What prompts are worth, level by level, over all tasks."""
    columns = tuple(dict.fromkeys(level for _, level in cells))

    def above(worse: str) -> tuple[tuple[Key, Key], ...]:
        return tuple(((ALL, c), (ALL + worse, c)) for c in columns)

    return [
        Ordering("better than random actions", above(RANDOM)),
        Ordering("hidden prompts cost success", above(HIDDEN)),
        Ordering("the prompt is used: better than prompt-blind", above(WITHOUT)),
    ]


def report(cells: study.Cells, root: Path, console: Console) -> None:
    """Tables, verdicts and bars of what was played, by task and level."""
    whole = with_means(cells)
    paper = {key: value for key, value in study.claims("per_task").items() if key in cells}
    strictly = {(t, c): v for (t, c), v in study.claims("cogelot_tasks").items() if c == "L1 strict" and (t, "L1") in cells}
    stated = orderings(whole)
    study.publish(root, "per_task", "Success by task", whole, console, orderings=stated, paper=paper | strictly)


def play(stage: study.Stage) -> None:
    """Plays all rows and reports."""
    model, blind = names(stage.mode)
    cells: dict[Key, Sequence[Sequence[EpisodeRecord]]] = {}
    for (task, level), asked in cells_of(stage.mode).items():
        cells[task, level] = stage.play(model, asked)
        cells[task + HIDDEN, level] = stage.play(model, study.hidden(asked))
        if stage.has(blind):
            cells[task + WITHOUT, level] = stage.play(blind, asked)
        cells[task + RANDOM, level] = stage.chance(model, asked)
    report(cells, stage.root, stage.console)


if __name__ == "__main__":
    study.run(runs, play, __doc__)
