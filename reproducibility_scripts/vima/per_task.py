"""Success per task and level beside VIMA-200M's and CoGeLoT's.

    python reproducibility_scripts/vima/per_task.py quick   # tasks 1, 3 and 7 by one model; 40 CPU-minutes
    python reproducibility_scripts/vima/per_task.py full --launcher slurm   # 13 training tasks, four of L4; GPUs

Rows "(random)" are uniform actions on the same episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer
import vima_study as study
from rich.console import Console

from maskbench.envs.tabletop.partitions import tasks_of
from maskbench.reports.comparison import Key
from maskbench.trajectory import EpisodeRecord

TASKS = {"quick": ("visual_manipulation", "rotate", "novel_noun"), "full": tasks_of("placement_generalization")}
MODEL = "per_task"


def runs(mode: study.Mode, seeds: int) -> dict[str, list[str]]:
    """Overrides by name, ``<model>/<seed>``; in full the model of the other scripts."""
    if mode == "full":
        return study.lines((study.WHOLE,), mode, seeds)
    return {f"{MODEL}/{s}": study.line(study.WHOLE, mode, s, "three_tasks_quick") for s in range(seeds)}


def cells_of(mode: study.Mode) -> dict[Key, study.Asked]:
    """Which cells are played: a task and a level that holds it."""
    found = {}
    for level in study.levels(mode):
        there = tasks_of(study.LEVELS[level])
        chosen = there if level == "L4" else tuple(t for t in TASKS[mode] if t in there)
        found |= {(task, level): study.Asked(level, (task,)) for task in chosen}
    return found


def report(
    cells: Mapping[Key, list[list[EpisodeRecord]]], chance: Mapping[Key, list[EpisodeRecord]], root: Path, console: Console
) -> None:
    """Tables and bars of what was played, by task and level."""
    success = {key: study.rate(records) for key, records in cells.items()}
    strict = {key: study.rate(records, "strict_success") for key, records in cells.items()}
    success |= {(f"{task} (random)", level): study.rate([records]) for (task, level), records in chance.items()}
    known = {key for key in cells}
    paper = {key: value for key, value in study.claims("per_task").items() if key in known}
    strictly = {(t, c): v for (t, c), v in study.claims("cogelot_tasks").items() if c == "L1 strict" and (t, "L1") in known}
    study.publish(root, "per_task", "Success by task", success, strict, console, paper=paper | strictly)


def main(
    mode: study.ModeArgument = "quick",
    folder: study.Folder = study.RUNS,
    episodes: study.Episodes = 200,
    seeds: study.Seeds = 1,
    workers: study.Workers = 2,
    launcher: study.Launcher = "basic",
) -> None:
    """Trains what is missing, then plays, tabulates and draws."""
    how, console = study.checked(mode), Console(stderr=True)
    root = folder / how
    ((name, models),) = study.train(root, runs(how, seeds), workers, console, launcher).items()
    asked = cells_of(how)
    cells = {key: study.played(root, name, models, a, episodes) for key, a in asked.items()}
    chance = {key: study.play(root / name / "0", models[0], a, episodes, "random") for key, a in asked.items()}
    report(cells, chance, root, console)


if __name__ == "__main__":
    typer.run(main)
