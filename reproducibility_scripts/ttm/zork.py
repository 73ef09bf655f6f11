"""Zork I beside published agents (TTM spec 7.3, T4): imitation of one walkthrough, chance, retrieval, the walkthrough itself.

    python reproducibility_scripts/ttm/zork.py quick   # preset xs, one seed
    python reproducibility_scripts/ttm/zork.py full    # preset s, three seeds

Zork I is played from your own file, ``data/games/zork1.z5`` or ``.z3`` (docs/text_games.md). Where there is none, the Lantern
House, which comes with maskbench, takes its place, says the table, and no published number stands beside it. Chance is fixed as
the solution needs it, so that a student that has learnt the solution by heart gets what it pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import ttm_study as study
import typer
from rich.console import Console

from maskbench.app.text_rollout import as_rollout
from maskbench.app.text_train import TextModel
from maskbench.envs.text.zmachine.family import ZMachine, games_at
from maskbench.policies.text_baselines import Expert, RandomAdmissible, Retrieval
from maskbench.reports.claims import published
from maskbench.reports.comparison import Key
from maskbench.reports.figures import grouped_bars
from maskbench.reports.tables import Cell, Measured, Table
from maskbench.text.rollout import TextRollout, read, write

SEEDS: Mapping[study.Mode, int] = {"quick": 1, "full": 3}
#: Steps of two whole games, or what fits the context.
STEPS: Mapping[study.Mode, int] = {"quick": 120, "full": 1500}
FREE = "lantern_house"
COMMANDS = {"zork": 400, FREE: 40}


def game_of(folder: Path) -> str:
    """``zork`` where the user has its file, else the game that comes with maskbench."""
    return "zork" if any(p.stem == "zork1" and p.is_relative_to(folder) for p in games_at(folder)) else FREE


def opened(game: str, folder: Path, admissible: bool = False) -> ZMachine:
    name = "zork1" if game == "zork" else game
    return ZMachine(name, str(folder), horizon=COMMANDS[game], admissible=admissible)


def walkthrough(root: Path, game: str, folder: Path) -> list[TextRollout]:
    """The solution, played and kept as teacher data."""
    env = opened(game, folder)
    records = study.play(root / game / "walkthrough", env, study.agent(Expert), 1)
    about = {"env": env.name, "policy": "walkthrough", "agent": "walkthrough", "partition": "teacher", "split": "train"}
    rollouts = [as_rollout(r, about) for r in records]
    write(root / game / "teacher/rollouts.jsonl", rollouts)
    return list(read(root / game / "teacher"))


def runs(mode: study.Mode, seeds: int, game: str, root: Path, folder: Path) -> dict[str, list[str]]:
    """Overrides by name, ``<game>/student/<seed>``."""
    size = ["model=text_gpt_xs", "model.n_embd=128"] if mode == "quick" else ["model=text_gpt_s"]
    line = [f"env={game}", f"env.folder={folder}", "masking=text_bc", *size, f"dataset.path={root / game / 'teacher'}"]
    line += ["model.dropout=0.0", "model.context=4096", "text.entities=false", "experiment.batch_size=1", "optimizer.lr=2e-3"]
    line += [f"experiment.num_steps={STEPS[mode]}", "scheduler.final_ratio=0.05"]
    return {f"{game}/student/{s}": [*line, f"experiment.seed={s}"] for s in range(seeds)}


def main(
    mode: study.ModeArgument = "quick",
    folder: study.Folder = study.RUNS,
    stories: Path = Path("data/games"),
    seeds: study.Seeds = None,
    workers: study.Workers = 2,
) -> None:
    """Trains what is missing, then plays, tabulates and draws."""
    how, console = study.checked(mode), Console(stderr=True)
    root, game = folder / how, game_of(stories)
    teacher = walkthrough(root, game, stories)
    students = study.train(root, runs(how, seeds or SEEDS[how], game, root, stories), workers, console)[f"{game}/student"]
    points: dict[str, Measured] = {"walkthrough": Measured(teacher[0].score)}
    points |= _baselines(root, game, stories, teacher)
    for decode in ("admissible", "greedy"):
        points[f"imitation of the walkthrough, {decode}"] = _students(root, game, stories, students, decode)
    rows: list[tuple[Cell, ...]] = [(name, value, None) for name, value in points.items()]
    bars: dict[Key, Measured] = {(name, "points"): value for name, value in points.items()}
    notes: tuple[str, ...] = (
        f"{game}: greatest score {opened(game, stories).max_score:g}, {COMMANDS[game]} commands at most.",
    )
    if game == "zork":
        rows += [(c.row, None, c.value) for c in published("ttm", "zork")]
        bars |= {(c.row, "points"): Measured(c.value) for c in published("ttm", "zork")}
    else:
        notes += (f"There is no Zork I in {stories}: this is the Lantern House, which nobody published numbers of.",)
    table = Table(f"{game}: points", ("player", "points", "published"), tuple(rows), notes)
    study.publish(root, "zork", table, console, grouped_bars(f"{game}: points", bars, unit="points"))


def _baselines(root: Path, game: str, stories: Path, teacher: list[TextRollout]) -> dict[str, Measured]:
    env = opened(game, stories, admissible=True)
    chance = study.play(root / game / "chance", env, study.agent(RandomAdmissible), 10)
    copied = study.play(root / game / "retrieval", opened(game, stories), study.agent(lambda: Retrieval(teacher)), 1)
    mean = study.mean([study.scores(chance, env)])
    top = env.max_score
    random = Measured(mean.value * top, mean.low * top, mean.high * top)
    return {"random admissible": random, "retrieval": Measured(copied[0].episode_return)}


def _students(root: Path, game: str, stories: Path, models: list[TextModel], decode: str) -> Measured:
    env = opened(game, stories, admissible=decode == "admissible")
    played = [
        study.play(root / game / f"student/{s}/played/{decode}", env, study.player(m, decode=decode), 1)[0].episode_return
        for s, m in enumerate(models)
    ]
    return Measured(sum(played) / len(played))


if __name__ == "__main__":
    typer.run(main)
