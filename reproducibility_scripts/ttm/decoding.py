"""Ways of decoding, by the imitating models of ``cooking.py`` (TTM spec 7.3, T3).

    python reproducibility_scripts/ttm/decoding.py quick   # no training beyond that of cooking.py quick
    python reproducibility_scripts/ttm/decoding.py full

All play the published validation and test games of level 2. ``admissible`` chooses among the commands that the game accepts
under GATA's filter; ``greedy`` and ``sample`` write freely, and the share of their commands that it accepted is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cooking
import numpy as np
import ttm_study as study
import typer
from rich.console import Console

from maskbench.reports.comparison import Key
from maskbench.reports.figures import grouped_bars
from maskbench.reports.tables import Cell, Measured, Table
from maskbench.trajectory import EpisodeRecord

#: What each row asks of ``policy``.
WAYS: Mapping[str, Mapping[str, object]] = {
    "admissible": {},
    "admissible, mean per token": {"rank": "mean"},
    "admissible, no filter": {"filter": "none"},
    "admissible, temperature 1": {"temperature": 1.0},
    "admissible, loop guard": {"loop_guard": 2},
    "admissible, memory": {"memory": "bm25"},
    "trie": {"decode": "trie"},
    "greedy": {"decode": "greedy"},
    "sample": {"decode": "sample"},
}
LEVEL = 2


def accepted(records: Sequence[EpisodeRecord]) -> float:
    """Share of the commands that were among the admissible ones."""
    found = []
    for record in records:
        assert record.trajectory is not None
        cells = record.trajectory
        found += [str(c) in str(a).split("\n") for c, a in zip(cells["command"], cells["admissible"], strict=False)]
    return float(np.mean(found))


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
    lines = {n: x for n, x in cooking.runs(how, seeds or cooking.SEEDS[how], root).items() if n.startswith("imitation")}
    models = study.train(root, lines, workers, console)["imitation"]
    rows: list[tuple[Cell, ...]] = []
    bars: dict[Key, Measured] = {}
    for name, asked in WAYS.items():
        everything: list[EpisodeRecord] = []
        for split in ("valid", "test"):
            there = study.cooking(LEVEL, split, games)
            slug = name.replace(",", "").replace(" ", "_")
            played = [
                study.play(root / f"imitation/{s}/played/{slug}_{split}", there, study.player(m, **asked))
                for s, m in enumerate(models)
            ]
            bars[name, split] = study.mean([study.scores(records, there) for records in played])
            everything += [r for records in played for r in records]
        rows.append((name, bars[name, "valid"], bars[name, "test"], study.won([everything]), accepted(everything)))
    table = Table(f"Level {LEVEL}: ways of decoding", ("decoding", "valid", "test", "won", "accepted"), tuple(rows))
    study.publish(root, "decoding", table, console, grouped_bars(f"Level {LEVEL}: ways of decoding", bars, unit="score"))


if __name__ == "__main__":
    typer.run(main)
