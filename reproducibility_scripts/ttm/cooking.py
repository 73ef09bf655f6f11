"""Cooking games: normalised score on games never met, beside GATA; and what asking for a value achieves.

    python reproducibility_scripts/ttm/cooking.py quick   # levels 1 and 2, three seeds, kitchens alone
    python reproducibility_scripts/ttm/cooking.py full    # levels 1 to 4, three seeds, preset s, 8000 steps

One model learns to imitate the teacher in fresh games of ``kitchen_lite``; another one learns whatever was done in games, many
of them not won, behind the share of points of each, and is asked for several. They play TextWorld games (made at first use): 20
of the validation and 20 of the test split, and 30 further test games; 50 commands at most, chosen among the admissible ones
without ``look`` and ``examine`` (GATA's filter), with a loop guard, and with entity ids for names (a handicap).

GATA's figures (arXiv:2002.09127, Table 2, 100 training games) are recalled, not checked against the paper; GATA trains on 100
TextWorld games with rewards, this model on none.

Written below ``--folder``: ``cooking.{csv,md,png}``, ``values.{csv,md,png}``. Run it again to go on after an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import ttm_study as study
import typer
from rich.console import Console
from scipy.stats import spearmanr

from maskbench.app.text_train import TextModel
from maskbench.reports.behaviour import swept
from maskbench.reports.claims import published
from maskbench.reports.comparison import Key
from maskbench.reports.figures import grouped_bars
from maskbench.reports.tables import Cell, Measured, Table

SPLITS = ("valid", "test", "fresh")
LEVELS: Mapping[study.Mode, tuple[int, ...]] = {"quick": (1, 2), "full": (1, 2, 3, 4)}
SEEDS: Mapping[study.Mode, int] = {"quick": 3, "full": 3}
#: More than the presets: preset s, all levels, 8000 steps.
FULL = (
    *("model=text_gpt_s", "model.dropout=0.0", "model.context=2048", "experiment.num_steps=8000"),
    *("text.kitchen_levels=[1,2,3,4]", "text.horizon=45"),
)
#: Buckets asked for in the second table.
ASKED = (0, 2, 5, 7, 9)
#: Level of the second table.
VALUED = 2


def runs(mode: study.Mode, seeds: int, root: Path) -> dict[str, list[str]]:
    """Overrides by name, ``<model>/<seed>``; value models go on from imitating ones."""
    more = FULL if mode == "full" else ()
    found = {}
    for s in range(seeds):
        found[f"imitation/{s}"] = ["paper=ttm/cooking_quick", f"experiment.seed={s}", *more]
        start = f"model.load_dir={root / f'imitation/{s}'}"
        found[f"values/{s}"] = ["paper=ttm/values_quick", start, f"experiment.seed={s}", *more]
    return found


def levels(root: Path, models: Sequence[TextModel], mode: study.Mode, games: str, console: Console) -> None:
    """Levels and splits by agents, with GATA's columns."""
    rows: list[tuple[Cell, ...]] = []
    bars: dict[Key, Measured] = {}
    claims = {(c.row, c.column): c.value for c in published("ttm", "cooking")}
    for level in LEVELS[mode]:
        for split in SPLITS:
            there = study.cooking(level, split, games)
            played = [
                study.play(root / f"imitation/{s}/played/level_{level}_{split}", there, study.player(m, loop_guard=2))
                for s, m in enumerate(models)
            ]
            seeds = [study.scores(records, there) for records in played]
            random = study.scores(study.play(root / f"chance/level_{level}_{split}", there, study.chance), there)
            ours, theirs = study.mean(seeds), study.mean([random])
            each = " ".join(f"{values.mean():.2f}" for values in seeds)
            gata = [claims[name, f"level {level}"] for name in ("Tr-DQN (text)", "GATA, observation generation")]
            rows.append((level, split, ours, each, study.won(played), theirs, *gata))
            bars[f"maskbench, {split}", f"level {level}"] = ours
            bars[f"random, {split}", f"level {level}"] = theirs
        bars |= {(row, column): Measured(v) for (row, column), v in claims.items() if column == f"level {level}"}
    columns = ("level", "split", "maskbench", "seeds", "won", "random admissible", "Tr-DQN", "GATA")
    notes = ("fresh: 30 further test games. Tr-DQN and GATA: test games, recalled.",)
    table = Table(f"Cooking: normalised score, {len(models)} seeds", columns, tuple(rows), notes)
    figure = grouped_bars("Cooking games: normalised score", bars, unit="points / greatest score")
    study.publish(root, "cooking", table, console, figure)


def conditioning(root: Path, models: Sequence[TextModel], games: str, console: Console) -> None:
    """Requested against achieved, over validation and test games."""
    achieved: dict[float, Measured] = {}
    found: dict[int, list[np.ndarray]] = {}
    for value in ASKED:
        asked = {"condition": "fixed", "value": value, "loop_guard": 2}
        for split in ("valid", "test"):
            there = study.cooking(VALUED, split, games)
            for s, model in enumerate(models):
                kept = root / f"values/{s}/played/asked_{value}_{split}"
                found.setdefault(value, []).append(study.scores(study.play(kept, there, study.player(model, **asked)), there))
        achieved[value] = study.mean([np.concatenate(found[value][s :: len(models)]) for s in range(len(models))])
    order = spearmanr(ASKED, [achieved[v].value for v in ASKED]).statistic
    gap = achieved[ASKED[-1]].value - achieved[ASKED[0]].value
    notes = (f"highest - lowest: {gap:.2f}; rank correlation of asked and achieved: {order:.2f}",)
    rows = tuple(
        (v, achieved[v], " ".join(f"{np.concatenate(found[v][s :: len(models)]).mean():.2f}" for s in range(len(models))))
        for v in ASKED
    )
    table = Table(f"Level {VALUED}: asked for bucket, achieved score", ("bucket", "score", "seeds"), rows, notes)
    figure = swept(
        f"Level {VALUED}: requested and achieved", {"": achieved}, x_label="bucket asked for", y_label="normalised score"
    )
    study.publish(root, "values", table, console, figure)


def main(
    mode: study.ModeArgument = "quick",
    folder: study.Folder = study.RUNS,
    games: study.Games = study.GAMES,
    seeds: study.Seeds = None,
    workers: study.Workers = 2,
) -> None:
    """Trains what is missing, then plays, tabulates and draws."""
    how, console = study.checked(mode), Console(stderr=True)
    root = folder / how
    models = study.train(root, runs(how, seeds or SEEDS[how], root), workers, console)
    levels(root, models["imitation"], how, games, console)
    conditioning(root, models["values"], games, console)


if __name__ == "__main__":
    typer.run(main)
