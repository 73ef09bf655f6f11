"""What the scripts of TTM share: trainings, games played once and kept, scores over seeds, tables and figures.

``quick`` trains small models for minutes on two CPU cores; ``full`` larger ones of three seeds for hours. Scripts that share a
folder share its models: ``decoding.py`` plays those of ``cooking.py``. Episodes are kept below ``<run>/played``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.app.config.schema_play import PolicyConfig
from maskbench.app.text_train import TextModel, load_text_model, make_text_policy
from maskbench.envs.text.cooking import Cooking
from maskbench.envs.text.family import TextGames
from maskbench.policies.text_agents import AgentPolicy, TextAgent
from maskbench.policies.text_baselines import RandomAdmissible
from maskbench.reports.average import spread
from maskbench.reports.style import png
from maskbench.reports.tables import Measured, Table
from maskbench.rollout.metrics import bootstrap_mean
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.policy import Policy
from maskbench.rollout.records import RECORDS, read_records, write_records
from maskbench.rollout.runner import RolloutRunner
from maskbench.trajectory import EpisodeRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Mode = Literal["quick", "full"]
ModeArgument = Annotated[str, typer.Argument(help="quick | full")]
Folder = Annotated[Path, typer.Option(help="where runs and results go; scripts that share it share their models")]
Games = Annotated[str, typer.Option(help="where TextWorld games lie; missing ones are made")]
Seeds = Annotated[int | None, typer.Option(help="trainings: seeds 0, 1, ...; None = what the mode says")]
Workers = Annotated[int, typer.Option(help="runs at the same time, one core each")]
RUNS = Path("train_runs/ttm/study")
GAMES = "data/generated/cooking"
#: Commands of an episode; GATA's evaluation allows 100.
COMMANDS = 50
#: Test games that the published split has, and how many more are made that nobody ever looked at.
PUBLISHED, FRESH = 20, 30
#: Half the width of a 95 % interval in standard errors.
_Z = 1.96


def checked(mode: str) -> Mode:
    """Refuses another mode."""
    if mode not in ("quick", "full"):
        raise typer.BadParameter(f"mode is quick or full; found '{mode}'")
    return mode  # type: ignore[return-value]


def train(root: Path, runs: Mapping[str, Sequence[str]], workers: int, console: Console) -> dict[str, list[TextModel]]:
    """Trains what is missing below ``root``; models by what stands before the last slash of ``<name>/<seed>``."""
    Campaign(root, runs, workers).run(console)
    found: dict[str, list[TextModel]] = {}
    for name in runs:
        found.setdefault(name.rpartition("/")[0], []).append(load_text_model(str(root / name)))
    return found


def cooking(level: int, split: str, folder: str = GAMES) -> TextGames:
    """Games of a level: ``valid`` and ``test`` of the published split, or ``fresh``: further test games."""
    count = PUBLISHED + FRESH if split == "fresh" else PUBLISHED
    name = "test" if split == "fresh" else split
    games = Cooking(level, split=name, games=count, folder=folder, horizon=COMMANDS)  # type: ignore[arg-type]
    games.prepare()
    if split == "fresh":
        games.worlds = games.worlds[PUBLISHED:]
    return games


def player(model: TextModel, **asked: object) -> Callable[[], Policy]:
    """A model at play, asked as ``configs/policy`` spells it."""
    return partial(make_text_policy, model, replace(PolicyConfig(), **asked), True)  # type: ignore[arg-type]


def chance() -> Policy:
    """Random admissible commands under GATA's filter."""
    return AgentPolicy(RandomAdmissible)


def agent(make: Callable[[], TextAgent]) -> Callable[[], Policy]:
    """A player of one game as a policy."""
    return partial(AgentPolicy, make)


def play(folder: Path, games: TextGames, policy: Callable[[], Policy], episodes: int | None = None) -> list[EpisodeRecord]:
    """An episode of each game (``episodes`` where any seed is one), from ``folder`` where they were played already."""
    if not (folder / RECORDS).is_file():
        number = episodes or len(games.worlds or ())
        plan = EpisodePlan.build(number, 0, worlds=games.worlds)
        runner = RolloutRunner(games, policy, 1, number, record_trajectories=True, progress=False)
        write_records(runner.run(plan), folder)
    return read_records(folder)


def scores(records: Sequence[EpisodeRecord], games: TextGames) -> np.ndarray:
    """``(episodes,)``: points / greatest score."""
    return np.array([r.episode_return for r in records]) / games.max_score


def won(seeds: Sequence[Sequence[EpisodeRecord]]) -> float:
    """Share of episodes that were won."""
    return float(np.mean([any(name == "won" for _, name in r.events) for records in seeds for r in records]))


def mean(seeds: Sequence[np.ndarray]) -> Measured:
    """Mean with its bootstrap interval; over several seeds their spread is added to that of the episodes, which they share."""
    found = [bootstrap_mean(values) for values in seeds]
    if len(found) == 1:
        return Measured(found[0].value, found[0].low, found[0].high)
    value, error = spread([f.value for f in found], [(f.high - f.low) / (2 * _Z) for f in found], shared=True)
    return Measured(value, max(0.0, value - _Z * error), min(1.0, value + _Z * error))


def publish(root: Path, name: str, table: Table, console: Console, figure: Figure | None = None) -> None:
    """Writes ``<root>/<name>.csv, .md`` and ``.png``; prints the table."""
    root.mkdir(parents=True, exist_ok=True)
    table.save(root / name)
    if figure is not None:
        (root / f"{name}.png").write_bytes(png(figure))
    console.print(table.to_rich())
    console.print(f"{root / name}.csv, .md{', .png' if figure is not None else ''}", soft_wrap=True)
