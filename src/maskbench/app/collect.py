"""``python -m maskbench collect``: an agent learns, its episodes and those of its best weights fill a tree of files."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from maskbench.app.config.compose import load
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.schema_collect import CollectConfig
from maskbench.collect.agent import Agent
from maskbench.collect.loop import Schedule, State, learn
from maskbench.collect.networks import Sizes
from maskbench.collect.rollout import SLOTS, rollouts
from maskbench.collect.tree import Part, Tree, quality_of, write_card
from maskbench.data.card import Card
from maskbench.data.importers.maskdp import write_maskdp
from maskbench.envs.dmc import DMControl
from maskbench.errors import ConfigError, DataError
from maskbench.training import checkpoint
from maskbench.training.seeding import seed_everything, step_seed

#: What a run was started with; a continued one must agree.
RUN = "collect.json"
#: Streams of ``step_seed``: rollouts for training, and held-out ones.
_ROLLOUTS: dict[Part, int] = {"train": 5, "eval": 6}


def collect(overrides: Sequence[str], progress: bool = True) -> None:
    """Collects as ``configs/collect.yaml`` and ``overrides`` say; the same command goes on with an interrupted run."""
    config: CollectConfig = load("collect", overrides)
    command = shlex.join(["python", "-m", "maskbench", "collect", *overrides])
    cards = run(config, command, progress)
    table = Table("episodes", "of", "return", "sd", "least", "most")
    for folder, card in cards.items():
        numbers = [f"{card.returns[k]:.1f}" for k in ("mean", "std", "min", "max")] if card.returns else []
        table.add_row(str(card.episodes), str(folder), *numbers)
    console = Console()
    console.print(table)
    console.print(
        f"to train on them: python train.py env={config.env.domain} masking=maskdp dataset.path=<folder>", highlight=False
    )


def run(config: CollectConfig, command: str, progress: bool = True) -> dict[Path, Card]:
    """Learns, rolls out, and writes cards; returns the card of each folder of episodes."""
    torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)  # of the whole process, hence undone
    try:
        return _run(config, command, progress)
    finally:
        torch.set_flush_denormal(False)


def _run(config: CollectConfig, command: str, progress: bool) -> dict[Path, Card]:
    family: DMControl = instantiate(replace(config.env, task=config.task or config.env.task))
    tree, name = Tree(Path(config.out)), config.agent.name
    run_dir = tree.run(config.part, family, name)
    _agree(run_dir, config, family)
    agent = build(config, family)
    quality = quality_of(agent)
    replay = tree.folder(config.part, quality, family, name)
    schedule = Schedule(
        num_steps=config.num_steps,
        seed=config.seed,
        evaluate_every=config.evaluate_every,
        evaluation_episodes=config.evaluation_episodes,
        stop_return=config.stop_return,
        checkpoint_seconds=config.checkpoint_seconds,
    )
    state = learn(run_dir, replay, family, agent, schedule, progress=progress)
    task = f"{family.domain}_{family.task}"
    story = f"{name}, seed {config.seed}, {state.episode * family.horizon} environment steps"
    cards = {replay: write_card(replay, f"{task} {quality}", family.domain, command, f"replay of {story}")}
    if agent.intrinsic is None and config.part == "train":
        checkpoint.load_weights(agent, run_dir, "best")
        story = f"{story}; weights of step {state.best_step}, evaluated at {state.best:.1f}"
        parts: tuple[tuple[Part, int], ...] = (("train", config.rollout.train), ("eval", config.rollout.eval))
        for part, episodes in parts:
            if episodes:
                folder = tree.folder(part, "expert", family, name)
                roll_out(folder, run_dir, family, agent, state, part, episodes, config)
                noise = f"; action noise {config.rollout.noise}"
                cards[folder] = write_card(folder, f"{task} expert", family.domain, command, story + noise)
    return cards


def build(config: CollectConfig, family: DMControl) -> Agent:
    """The agent with its first weights, a function of the seed."""
    seed_everything(config.seed)
    learner = instantiate(config.learner)
    sizes = Sizes(family.body.observation_size, family.body.action_size, learner.hidden)
    intrinsic = None if config.agent.intrinsic is None else instantiate(config.agent.intrinsic, sizes=sizes)
    if (config.agent.bonus is None) != (intrinsic is None):
        raise ConfigError("agent.bonus: an explorer has a share of its intrinsic reward, and only an explorer")
    return Agent(sizes, learner, intrinsic, config.agent.bonus or 0.0)


def roll_out(
    folder: Path, run_dir: Path, family: DMControl, agent: Agent, state: State, part: Part, episodes: int, config: CollectConfig
) -> None:
    """Fills ``folder`` with episodes of the frozen agent; those that are there from the same weights stay."""
    made_by = {"step": state.best_step, "noise": config.rollout.noise, "seed": config.seed}
    marker, files = run_dir / f"rollout_{part}.json", sorted(folder.glob("episode_*.npz"))
    if files and not marker.is_file():
        raise DataError(f"{folder} holds episodes that the run in {run_dir} did not make; give another out=")
    same = marker.is_file() and json.loads(marker.read_text()) == made_by
    for file in files[episodes:] if same else files:
        file.unlink()
    _write_json(marker, made_by)
    first, seed = min(len(files), episodes) if same else 0, step_seed(config.seed, 0, stream=_ROLLOUTS[part])
    while first < episodes:
        indices = range(first, min((first // SLOTS + 1) * SLOTS, episodes))
        write_maskdp(folder, rollouts(family, agent.act, indices, seed=seed, noise=config.rollout.noise), first_index=first)
        first = indices.stop


def _agree(run_dir: Path, config: CollectConfig, family: DMControl) -> None:
    """Refuses to continue a run with settings that make another one."""
    own = {
        "env": {"domain": family.domain, "task": family.task, "horizon": family.horizon},
        "seed": config.seed,
        "agent": asdict(config.agent),
        "learner": asdict(config.learner),
    }
    own = json.loads(json.dumps(own))
    path = run_dir / RUN
    if not path.is_file():
        run_dir.mkdir(parents=True, exist_ok=True)
        _write_json(path, own)
        return
    try:
        saved: Any = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is corrupt: {error}. Remove {run_dir} to start anew.") from error
    differ = [key for key in own if saved.get(key) != own[key]]
    if differ:
        found, expected = ({key: d.get(key) for key in differ} for d in (own, saved))
        raise ConfigError(
            f"{run_dir} holds a run with {expected}; found {found}. Continue with its settings, or give another out="
        )


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1))
    os.replace(temporary, path)
