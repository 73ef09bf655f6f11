"""``python -m maskbench text``: make games, collect a teacher's rollouts, play, judge. Further commands: ``text_cli``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from maskbench.app.data_commands import data_root
from maskbench.app.text_cli import text_app

__all__ = ["text_app"]

Folder = Annotated[Path, typer.Option("--root", help="data folder", default_factory=data_root)]
Flavour = Literal["gata", "ttm"]


@text_app.command("make-games")
def make_games_command(
    root: Folder,
    levels: Annotated[str, typer.Option(help="levels, separated by commas")] = "1,2,3,4",
    flavour: Annotated[Flavour, typer.Option(help="gata: ingredients are to be found; ttm: the player holds them")] = "gata",
    train: Annotated[int, typer.Option(help="games with training foods", min=0)] = 100,
    valid: Annotated[int, typer.Option(help="games with validation foods", min=0)] = 20,
    test: Annotated[int, typer.Option(help="games with test foods", min=0)] = 20,
    jobs: Annotated[int, typer.Option(help="processes", min=1)] = 2,
) -> None:
    """Makes TextWorld's cooking games, about 2 s each; goes on where it was interrupted."""
    from rich.console import Console
    from rich.progress import track

    from maskbench.envs.text.cooking.files import Collection, make_games
    from maskbench.errors import ConfigError

    if not all(level.strip() in ("1", "2", "3", "4") for level in levels.split(",")):
        raise ConfigError(f"--levels: expected some of 1,2,3,4; found '{levels}'")
    console = Console(stderr=True)
    for level in map(int, levels.split(",")):
        for split, count in (("train", train), ("valid", valid), ("test", test)):
            games = Collection(root / "generated" / "cooking", level, flavour, split)  # type: ignore[arg-type]
            made = make_games(games, count, jobs) if count else iter(())
            what = f"level {level}, {flavour}, {split}"
            total = len(games.missing(count))
            list(track(made, what, total=total, console=console, disable=not console.is_terminal))
            typer.echo(f"{what}: {count} games in {games.folder} ({total} made now)")


@text_app.command("collect")
def collect_command(
    overrides: Annotated[list[str], typer.Argument(help="the environment, as for run_on_env.py: env=cooking_level_2 ...")],
    root: Folder,
    mix: Annotated[str, typer.Option(help="clean, default, value, or epsilon:episodes pairs: 0:1,0.2:3,random:2")] = "default",
    games: Annotated[int | None, typer.Option(help="games; by default all of the split, or 100", min=1)] = None,
    store: Annotated[str, typer.Option(help="folder of <root>/text")] = "expert",
    run_id: Annotated[int, typer.Option("--run_id", min=0)] = 0,
    epoch: Annotated[int, typer.Option(min=0)] = 0,
    seed: Annotated[int, typer.Option(help="of the noise, and of games where any seed is one")] = 0,
    workers: Annotated[int, typer.Option(help="processes", min=1)] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace rollouts that are there")] = False,
) -> None:
    """Rollouts of the environment's own teacher, clean and with noise."""
    from maskbench.app.config.compose import load
    from maskbench.app.text_collect import collect_rollouts, read_mix
    from maskbench.app.text_collect import store as keep
    from maskbench.errors import ConfigError

    config = load("run_on_env", [*overrides, "policy=expert", f"experiment.data_root='{root}'"])
    if not config.env.text:
        raise ConfigError(f"env={config.env.name} is no text game; generate its data with: python -m maskbench data generate")
    about = {"policy": store, "run_id": run_id, "epoch": epoch}
    rollouts = collect_rollouts(config.env, read_mix(mix), about, games=games, seed=seed, workers=workers)
    file = keep(rollouts, root / "text", f"python -m maskbench {shlex.join(sys.argv[1:])}", overwrite)
    won = sum(r.won for r in rollouts)
    typer.echo(f"{file}: {len(rollouts)} rollouts, {won} won, {len(rollouts) - won} not")


@text_app.command("play")
def play_command(
    root: Folder,
    overrides: Annotated[list[str] | None, typer.Argument(help="more settings of run_on_env.py: policy.meta=lookahead")] = None,
    policy: Annotated[str, typer.Option(help="folder of <root>/text that stores the rollouts")] = "mine",
    meta_policy: Annotated[
        str, typer.Option("--meta_policy", help="who plays: human, expert, random_admissible ...")
    ] = "human",
    env: Annotated[
        str, typer.Option(help="cooking_level_2, kitchen_lite, lantern_house, zork, or a story file")
    ] = "lantern_house",
    split: Annotated[str, typer.Option(help="train, valid or test")] = "train",
    run_id: Annotated[int, typer.Option("--run_id", min=0)] = 0,
    epoch: Annotated[int, typer.Option(min=0)] = 0,
    partition: Annotated[Literal["teacher", "student_train", "student_test"], typer.Option()] = "teacher",
    max_rollouts: Annotated[int, typer.Option("--max_rollouts", help="episodes", min=1)] = 1,
    max_actions: Annotated[int, typer.Option("--max_actions", help="commands of an episode", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="of games and players", min=0)] = 1000,
    labels: Annotated[bool, typer.Option(help="ask for hindsight summaries")] = True,
) -> None:
    """Plays at the terminal, by the flags of the original's play.py."""
    from maskbench.app.config.compose import load
    from maskbench.app.text_play import env_overrides, play_configured

    named = "human" if Path(meta_policy).is_dir() else meta_policy
    given = [f"policy={named}", f"policy.labels={labels}", *env_overrides(env, split)]
    fields = {"run_id": run_id, "epoch": epoch, "partition": partition, "store": policy, "seed": seed}
    fields |= {"num_eval_eps": max_rollouts, "num_eval_steps": max_actions}
    given += [f"experiment.{name}={value}" for name, value in fields.items()]
    play_configured(load("run_on_env", [*given, *(overrides or ()), f"experiment.data_root='{root}'"]), name=meta_policy)


@text_app.command("judge")
def judge_command(
    path: Annotated[Path, typer.Argument(help="a rollouts.jsonl, or a folder of them")],
    type: Annotated[
        Literal["summary", "novel_expectation"],
        typer.Option(help="summary: is what a machine wrote accurate? novel_expectation: what should it have foretold?"),
    ] = "summary",
    run_id: Annotated[int | None, typer.Option("--run_id", help="only this one")] = None,
    epoch: Annotated[int | None, typer.Option(help="only this one")] = None,
    env: Annotated[str | None, typer.Option(help="only this one")] = None,
    partition: Annotated[str | None, typer.Option(help="only these, separated by commas")] = None,
) -> None:
    """A person judges what machines wrote about their own play."""
    from maskbench.app.text_judge import Wanted, judge
    from maskbench.app.text_play import ConsoleTerminal

    partitions = tuple(partition.split(",")) if partition else None
    judge(path, type, Wanted(run_id, epoch, env, partitions), ConsoleTerminal())
