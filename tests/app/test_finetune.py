"""Offline RL from the command line's configuration: relabelled rewards, curves, records; baselines answer their queries."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hydra import compose
from omegaconf import DictConfig, OmegaConf

from maskbench.app import train
from maskbench.app.config.compose import load, opened
from maskbench.app.config.folder import config_folder
from maskbench.app.config.instantiate import instantiate
from maskbench.app.experiment import build_dataset
from maskbench.app.finetune import relabelled, transitions
from maskbench.data.importers.maskdp import write_tree
from maskbench.data.store import write_store
from maskbench.errors import DataError

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")

SMALL = (
    *("env=walker", "env.horizon=40", "dataset.generate.episodes=6", "dataset.split.validation=2", "dataset.window=8"),
    *("experiment.num_steps=4", "experiment.batch_size=8", "experiment.num_eval_eps=2", "model.n_embd=16"),
    *("trainer.validate_every=2", "evaluation.num_windows=8", "experiment.device=cpu"),
)


def settings(root: Path, *overrides: str):
    return load("train", [*SMALL, f"experiment.data_root={root}", *overrides])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Where all tests keep the six generated episodes."""
    return tmp_path_factory.mktemp("data")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rewards_of_the_recorded_task_come_out_as_recorded_and_those_of_others_do_not(root: Path) -> None:
    config = settings(root, "masking=maskdp")
    walk = instantiate(config.env)
    data = build_dataset(config.dataset, walk, str(root))
    stored = data.store.array("reward")[:, 0]
    assert np.abs(relabelled(walk, data) - stored).max() < 1e-6
    run = instantiate(settings(root, "masking=maskdp", "env.task=run").env)
    assert np.abs(relabelled(run, data) - stored).max() > 0.01
    states, actions, rewards = transitions(walk, data, data.normaliser)
    assert len(states) == len(data.split.train)
    assert [len(s) - len(a) for s, a in zip(states, actions, strict=True)] == [1] * len(states)
    assert [len(r) for r in rewards] == [len(a) for a in actions]


@pytest.mark.slow
@pytest.mark.parametrize("masking", ["maskdp", "maskdp_gpt"])
def test_an_agent_starts_from_a_pretrained_trunk_and_leaves_its_curve(root: Path, tmp_path: Path, masking: str) -> None:
    overrides = [f"masking={masking}", "evaluation.rollout=[]"]
    run = tmp_path / "pretrained"
    (run / ".hydra").mkdir(parents=True)
    OmegaConf.save(composed(f"experiment.data_root={root}", *overrides), run / ".hydra" / "config.yaml")
    train.run(settings(root, *overrides), run)
    folder = tmp_path / "agent"
    config = settings(root, f"masking={masking}", "rl=td3", f"model.load_dir={run}", "trainer.ema_decay=null")
    assert train.run(config, folder) is not None
    curve = read(folder / "evaluation" / "returns.csv")
    assert [row["step"] for row in curve] == ["0", "2", "4"]
    rows = read(folder / "evaluation" / "rollouts.csv")
    assert {row["policy"] for row in rows} == {"model", "random", "zero"}
    assert (folder / "evaluation" / "bc" / "plan.json").is_file()


def composed(*overrides: str) -> DictConfig:
    """The configuration as Hydra leaves it in a run folder."""
    with opened(config_folder()):
        return compose("train", [*SMALL, *overrides])


def test_a_tree_is_chosen_from_by_task_and_quality_and_stores_refuse_that(root: Path, tmp_path: Path) -> None:
    config = settings(root, "masking=maskdp")
    walk = instantiate(config.env)
    data = build_dataset(config.dataset, walk, str(root))
    episodes = [data.store.episode(e) for e in range(6)]
    write_tree(tmp_path / "tree", episodes[:3], "walker", "walk", "expert")
    write_tree(tmp_path / "tree", episodes[3:], "walker", "walk", "unsup")
    split = ("dataset.split.validation=1", "dataset.split.seed=null")
    keys = ("masking=maskdp", f"dataset.path={tmp_path / 'tree'}", *split)

    def count(*more: str) -> int:
        chosen = settings(tmp_path, *keys, *more)
        return build_dataset(chosen.dataset, walk, str(tmp_path)).store.num_episodes

    assert count() == 6
    assert count("dataset.qualities=[unsup]") == 3
    assert count("dataset.tasks=[walker_walk]") == 3
    assert count("dataset.limit=2") == 2
    about = {"env": "walker", "origin": "generated", "command": "", "licence": "MIT", "provenance": ""}
    store = write_store(tmp_path / "store", data.store.spec, episodes, name="a", **about)
    chosen = settings(tmp_path, "masking=maskdp", f"dataset.path={store.path}", "dataset.limit=2")
    with pytest.raises(DataError, match="is a store"):
        build_dataset(chosen.dataset, walk, str(tmp_path))
