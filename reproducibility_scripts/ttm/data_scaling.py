"""Score against the number of teacher games (TTM spec 7.3, F4).

    python reproducibility_scripts/ttm/data_scaling.py quick   # 1, 20 and 100 kitchens of level 2, one seed, minutes
    python reproducibility_scripts/ttm/data_scaling.py full    # 1, 20, 100 and 1000, three seeds, preset s

Each size learns from the default mix of its games (one clean episode, three with a fifth of the commands random, two with half,
one of chance) for the same number of steps; ``endless`` is the model of ``cooking.py``, which met no game twice. All play the
published validation and test games of TextWorld at that level. Games are kitchens with invented names and entity ids.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import cooking
import ttm_study as study
import typer
from rich.console import Console

from maskbench.app.config.compose import load
from maskbench.app.config.schema_env import EnvNode
from maskbench.app.text_collect import collect_rollouts, read_mix, store
from maskbench.reports.behaviour import swept
from maskbench.reports.tables import Measured, Table

SIZES: Mapping[study.Mode, tuple[int, ...]] = {"quick": (1, 20, 100), "full": (1, 20, 100, 1000)}
SEEDS: Mapping[study.Mode, int] = {"quick": 1, "full": 3}
LEVEL = 2
#: Where the curve ends: more games than anybody counts.
ENDLESS = math.inf


def data(root: Path, games: int) -> Path:
    """Teacher data of ``games`` games, collected at first use."""
    line = ["env=kitchen_lite", "env.foods=invented", f"env.level={LEVEL}", "policy=expert"]
    node: EnvNode = load("run_on_env", line).env
    place = root / f"teacher_{games}"
    if not any(place.rglob("rollouts.jsonl")):
        about = {"policy": "expert", "run_id": 0, "epoch": 0}
        store(collect_rollouts(node, read_mix("default"), about, games=games), place, f"data_scaling.py, {games} games")
    return place


def runs(mode: study.Mode, seeds: int, root: Path) -> dict[str, list[str]]:
    """Overrides by name, ``games_<n>/<seed>``."""
    more = ["experiment.num_steps=500"] if mode == "quick" else [*cooking.FULL, "text.kitchen_levels=[2]"]
    return {
        f"games_{n}/{s}": [
            *("paper=ttm/cooking_quick", "env=kitchen_lite", f"env.level={LEVEL}", "text.kitchen=0"),
            *(f"dataset.path={root / f'teacher_{n}'}", f"experiment.seed={s}", *more),
        ]
        for n in SIZES[mode]
        for s in range(seeds)
    }


def main(
    mode: study.ModeArgument = "quick",
    folder: study.Folder = study.RUNS,
    games: study.Games = study.GAMES,
    seeds: study.Seeds = None,
    workers: study.Workers = 2,
) -> None:
    """Collects, trains what is missing, plays, tabulates and draws."""
    how, console = study.checked(mode), Console(stderr=True)
    root, count = folder / how, seeds or SEEDS[how]
    for n in SIZES[how]:
        data(root, n)
    endless = {name: line for name, line in cooking.runs(how, count, root).items() if name.startswith("imitation")}
    models = study.train(root, runs(how, count, root) | endless, workers, console)
    curves: dict[str, dict[float, Measured]] = {}
    for split in ("valid", "test"):
        there = study.cooking(LEVEL, split, games)
        for name, own in models.items():
            at = ENDLESS if name == "imitation" else int(name.removeprefix("games_"))
            where = [root / f"{name}/{s}/played/level_{LEVEL}_{split}" for s in range(len(own))]
            played = [study.play(place, there, study.player(m, loop_guard=2)) for place, m in zip(where, own, strict=True)]
            curves.setdefault(split, {})[at] = study.mean([study.scores(r, there) for r in played])
    sizes = [*SIZES[how], ENDLESS]
    rows = tuple(("endless" if n == ENDLESS else str(n), *(curve[n] for curve in curves.values())) for n in sizes)
    table = Table(f"Level {LEVEL}: normalised score by teacher games", ("games", *curves), rows)
    figure = swept(f"Level {LEVEL}: score by teacher games", curves, x_label="teacher games", y_label="normalised score")
    study.publish(root, "data_scaling", table, console, figure)


if __name__ == "__main__":
    typer.run(main)
