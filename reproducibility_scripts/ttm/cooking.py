"""Cooking games of levels 1 and 2: normalised score on games never met, beside GATA; and what asking for a value achieves.

    python reproducibility_scripts/ttm/cooking.py quick   # one seed, kitchens alone, minutes on two cores
    python reproducibility_scripts/ttm/cooking.py full    # three seeds, preset s, five times the steps

A model a level learns to imitate the teacher in fresh games of ``kitchen_lite``; another one learns whatever was done in games,
many of them not won, behind the share of points of each, and is asked for several. They play 20 validation and 20 test games of
TextWorld per level (made at first use), 50 commands at most, chosen among the admissible ones without ``look`` and ``examine``
(GATA's filter), with a loop guard, and with entity ids for names (a handicap).

GATA's figures (arXiv:2002.09127, Table 2, Tr-DQN on text, GATA with observation generation, 100 training games) are recalled,
not checked against the paper; GATA trains on 100 TextWorld games with rewards, this model on none.

Written below ``--folder``: ``cooking.{csv,md}``, ``values.{csv,md}``. Run it again to go on after an interruption.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from scipy.stats import spearmanr

from maskbench.app.campaign import Campaign
from maskbench.app.config.schema import PolicyConfig
from maskbench.app.text_train import TextModel, load_text_model, make_text_policy
from maskbench.envs.text.cooking import Cooking
from maskbench.errors import ConfigError
from maskbench.policies.text_agents import AgentPolicy
from maskbench.policies.text_baselines import RandomAdmissible
from maskbench.reports.tables import Cell, Measured, Table
from maskbench.rollout.metrics import bootstrap_mean
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.runner import PolicyFactory, RolloutRunner

LEVELS = (1, 2)
#: Normalised scores on test games: Tr-DQN on text, GATA (observation generation).
PUBLISHED = {1: (0.625, 0.662), 2: (0.32, 0.36)}
#: More than ``quick``: preset s, five times the steps.
FULL = ("model=text_gpt_s", "model.dropout=0.0", "experiment.num_steps=2000")
#: Buckets asked for in the second table.
ASKED = (0, 2, 5, 7, 9)


def scores(factory: PolicyFactory, level: int, split: str, commands: int, folder: str) -> np.ndarray:
    """Normalised score of each of the 20 games of a split."""
    games = Cooking(level, split=split, horizon=commands, folder=folder)  # type: ignore[arg-type]
    games.prepare()
    plan = EpisodePlan.build(20, 0, worlds=games.worlds)
    records = RolloutRunner(games, factory, 1, 20, progress=False).run(plan)
    return np.array([r.episode_return / games.max_score for r in records])


def player(model: TextModel, **asked: object) -> PolicyFactory:
    return partial(make_text_policy, model, replace(PolicyConfig(), **asked), True)  # type: ignore[arg-type]


def measured(values: np.ndarray) -> Measured:
    found = bootstrap_mean(values)
    return Measured(found.value, found.low, found.high)


def main(
    mode: Annotated[str, typer.Argument(help="quick | full")] = "quick",
    folder: Annotated[Path | None, typer.Option(help="where runs and results go")] = None,
    games: Annotated[str, typer.Option(help="where TextWorld games lie")] = "data/generated/cooking",
    seeds: Annotated[int | None, typer.Option(help="seeds 0, 1, ...; 1 in quick, 3 in full")] = None,
    workers: Annotated[int, typer.Option(help="runs at the same time, one core each")] = 2,
) -> None:
    """Trains what is missing, then plays and tabulates."""
    if mode not in ("quick", "full"):
        raise ConfigError(f"mode is quick or full; found '{mode}'")
    root, console = folder or Path(f"train_runs/ttm/cooking_{mode}"), Console(stderr=True)
    count = seeds or (1 if mode == "quick" else 3)
    more = FULL if mode == "full" else ()
    lines: dict[str, tuple[str, ...]] = {}
    for seed in range(count):
        own = (f"experiment.seed={seed}", *more)
        for level in LEVELS:
            where = (f"env=cooking_level_{level}", f"text.kitchen_levels=[{level}]")
            lines[f"level_{level}/{seed}"] = ("paper=ttm/cooking_quick", *where, *own)
        lines[f"values/{seed}"] = ("paper=ttm/values_quick", *own)
    Campaign(root, lines, workers).run(console)
    models = {name: load_text_model(str(root / name)) for name in lines}
    commands = 50
    rows: list[tuple[Cell, ...]] = []
    for level in LEVELS:
        for split in ("valid", "test"):
            ours = np.concatenate(
                [
                    scores(player(models[f"level_{level}/{s}"], loop_guard=2), level, split, commands, games)
                    for s in range(count)
                ]
            )
            chance = scores(partial(AgentPolicy, RandomAdmissible), level, split, commands, games)
            won = float((ours > 1 - 1e-6).mean())
            rows.append((level, split, measured(ours), won, measured(chance), *PUBLISHED[level]))
    columns = ("level", "split", "maskbench", "won", "random admissible", "Tr-DQN", "GATA")
    table = Table(f"Normalised score, seeds: {count}", columns, tuple(rows), ("Tr-DQN and GATA: recalled, test games",))
    asked_rows: list[tuple[Cell, ...]] = []
    means = []
    for value in ASKED:
        found = np.concatenate(
            [
                scores(player(models[f"values/{s}"], condition="fixed", value=value), 2, split, commands, games)
                for s in range(count)
                for split in ("valid", "test")
            ]
        )
        means.append(float(found.mean()))
        asked_rows.append((value, measured(found)))
    order = f"rank correlation of asked and achieved: {spearmanr(ASKED, means).statistic:.2f}"
    values = Table("Level 2: asked for bucket, achieved score", ("bucket", "score"), tuple(asked_rows), (order,))
    for name, content in (("cooking", table), ("values", values)):
        content.save(root / name)
    console.print(table.to_rich(), values.to_rich())


if __name__ == "__main__":
    typer.run(main)
