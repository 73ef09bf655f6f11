"""``python -m maskbench collect``: from nothing to episodes that a model trains on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from maskbench.__main__ import app
from maskbench.app.collect import build, collect, run
from maskbench.app.config.compose import load
from maskbench.app.config.instantiate import instantiate
from maskbench.collect.tree import read_card
from maskbench.errors import ConfigError, DataError

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")

ROOT = Path(__file__).resolve().parents[2]

TINY = [
    "env.horizon=20",
    "num_steps=160",
    "evaluate_every=80",
    "evaluation_episodes=2",
    "learner.hidden=16",
    "learner.batch_size=16",
    "learner.warmup_steps=40",
    "rollout.train=3",
    "rollout.eval=2",
]


def folders(out: Path) -> dict[str, int]:
    found = sorted({f.parent for f in out.rglob("episode_*.npz")})
    return {f.relative_to(out).as_posix(): len(list(f.glob("*.npz"))) for f in found}


def files(out: Path) -> dict[str, bytes]:
    return {f.relative_to(out).as_posix(): f.read_bytes() for f in sorted(out.rglob("episode_*.npz"))}


def test_td3_leaves_its_replay_and_episodes_of_its_best_weights(tmp_path: Path) -> None:
    collect(["env=cheetah", "task=run_backward", f"out={tmp_path}", *TINY], progress=False)
    assert folders(tmp_path) == {
        "maskdp_train/cheetah/sup/cheetah_run_backward": 8,
        "maskdp_train/cheetah/expert/cheetah_run_backward": 3,
        "maskdp_eval/expert/cheetah_run_backward": 2,
    }
    train, held_out = (
        np.load(next((tmp_path / part / "cheetah_run_backward").glob("episode_000000*")))["physics"][0]
        for part in ("maskdp_train/cheetah/expert", "maskdp_eval/expert")
    )
    assert not np.array_equal(train, held_out)
    card = read_card(tmp_path / "maskdp_train/cheetah/expert/cheetah_run_backward")
    assert card is not None
    assert (card.name, card.env, card.episodes, card.steps) == ("cheetah_run_backward expert", "cheetah", 3, 60)
    assert re.search(
        r"td3, seed 42, 160 environment steps; weights of step \d+, evaluated at .*; action noise 0.2", card.provenance
    )
    assert card.command.startswith("python -m maskbench collect env=cheetah task=run_backward")


@pytest.mark.parametrize("agent", ["rnd", "icm_apt", "proto"])
def test_an_explorer_leaves_unsup_and_with_a_task_semi(tmp_path: Path, agent: str) -> None:
    small = ["agent.intrinsic.features=8"]
    collect(["env=walker", f"agent={agent}", f"out={tmp_path}", *TINY, *small], progress=False)
    collect(
        ["env=quadruped", "task=jump", f"agent={agent}", "agent.bonus=0.5", f"out={tmp_path}", *TINY, *small], progress=False
    )
    assert folders(tmp_path) == {
        f"maskdp_train/walker/unsup/{agent}": 8,
        f"maskdp_train/quadruped/semi/quadruped_jump/{agent}": 8,
    }


def test_held_out_replay_goes_to_the_other_half_of_the_tree(tmp_path: Path) -> None:
    collect(["env=walker", "agent=rnd", "part=eval", "seed=7", f"out={tmp_path}", *TINY], progress=False)
    assert folders(tmp_path) == {"maskdp_eval/unsup/walker/rnd": 8}


def test_the_same_command_changes_nothing_and_more_rollouts_keep_the_first(tmp_path: Path) -> None:
    command = ["env=cheetah", f"out={tmp_path}", *TINY]
    collect(command, progress=False)
    before = files(tmp_path)
    collect(command, progress=False)
    assert files(tmp_path) == before
    collect([*command, "rollout.train=42"], progress=False)
    after = files(tmp_path)
    assert len(after) == len(before) + 39
    assert {k: after[k] for k in before} == before
    collect([*command, "rollout.noise=0.1"], progress=False)
    assert sum(files(tmp_path)[k] != before[k] for k in before) == 5


def test_episodes_of_other_origin_are_left_alone(tmp_path: Path) -> None:
    command = ["env=cheetah", f"out={tmp_path}", *TINY]
    foreign = tmp_path / "maskdp_train/cheetah/expert/cheetah_run/episode_000000_20.npz"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"published")
    with pytest.raises(DataError, match="did not make"):
        collect(command, progress=False)
    assert foreign.read_bytes() == b"published"
    other = tmp_path / "maskdp_train/cheetah/sup/cheetah_run_backward/episode_000000_20.npz"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"published")
    with pytest.raises(DataError, match="did not make"):
        collect([*command, "task=run_backward"], progress=False)
    assert other.read_bytes() == b"published"


def test_explorers_learn_from_one_decision_at_a_time() -> None:
    assert load("collect", ["agent=rnd", "learner=paper"]).learner.nstep == 1
    assert load("collect", ["agent=td3"]).learner.nstep == 3
    assert load("collect", ["agent=proto", "learner.nstep=2"]).learner.nstep == 2


def test_other_settings_do_not_continue_a_run(tmp_path: Path) -> None:
    command = ["env=cheetah", f"out={tmp_path}", *TINY]
    collect(command, progress=False)
    with pytest.raises(ConfigError, match=r"holds a run with \{'seed': 42\}; found \{'seed': 43\}"):
        collect([*command, "seed=43"], progress=False)
    with pytest.raises(ConfigError, match="learner"):
        collect([*command, "learner.lr=0.1"], progress=False)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["env=walker", "task=wlak"], "has no task 'wlak'. Did you mean 'walk'"),
        (["env=doorkey"], "cannot be used here"),
        (["agent=td4"], "no option 'td4'. Did you mean 'td3'"),
        (["learner.lr=-1"], "above 0"),
        (["learner.hiden=3"], "Did you mean 'hidden'"),
        (["agent.bonus=0.5"], "only an explorer"),
        (["agent=rnd", "agent.bonus=null"], "only an explorer"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        collect([*overrides, f"out={tmp_path}", *TINY] if "env=doorkey" not in overrides else overrides, progress=False)


def test_the_papers_learner_is_exorls() -> None:
    learner = instantiate(load("collect", ["learner=paper"]).learner)
    published = {"hidden": 1024, "batch_size": 1024, "lr": 1e-4, "gamma": 0.99, "tau": 0.01, "noise": 0.2, "noise_clip": 0.3}
    assert {k: getattr(learner, k) for k in published} == published
    assert (learner.repeat, learner.update_every, learner.warmup_steps, learner.capacity) == (1, 2, 4000, 100_000)


def test_first_weights_are_a_function_of_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        config = load("collect", [f"seed={seed}", "learner.hidden=8"])
        return torch.nn.utils.parameters_to_vector(build(config, instantiate(config.env)).actor.parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_command_verifies_and_relabels_what_it_collects(tmp_path: Path) -> None:
    config = load("collect", ["env=walker", "task=stand", f"out={tmp_path / 'a'}", *TINY])
    run(config, "a command", progress=False)
    cli = CliRunner()
    result = cli.invoke(app, ["data", "verify", str(tmp_path / "a")])
    assert result.exit_code == 0
    assert "13 episodes simulated again: observations differ by up to 0, rewards by up to" in result.stdout
    result = cli.invoke(app, ["data", "relabel", str(tmp_path / "a"), str(tmp_path / "b"), "--task", "walker_run"])
    assert "13 episodes; as walker_run they return" in result.stdout
    assert cli.invoke(app, ["data", "verify", str(tmp_path / "b"), "--task", "run", "--every", "3"]).exit_code == 0
    result = cli.invoke(app, ["data", "verify", str(tmp_path / "b")])  # the folders still say walker_stand
    assert result.exit_code != 0
    assert "from that of walker_stand" in result.stdout
    assert "13 of 13 episodes" in str(result.exception)


@pytest.mark.slow
def test_collected_episodes_train_maskdp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = ["env.horizon=60", "num_steps=240", "evaluate_every=120", "learner.hidden=16", "learner.warmup_steps=60"]
    collect(["env=walker", f"out={tmp_path}", *tiny, "rollout.train=6", "rollout.eval=0"], progress=False)
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *("env=walker", "masking=maskdp", f"dataset.path={tmp_path / 'maskdp_train/walker'}", "env.horizon=60"),
        *("experiment.num_steps=3", "experiment.batch_size=4", "experiment.num_eval_eps=2", "dataset.split.validation=2"),
        *("dataset.split.test=0", "model.n_embd=16", "model.n_head=2", f"hydra.run.dir={tmp_path / 'run'}"),
        *("evaluation.num_windows=4", f"experiment.data_root={tmp_path / 'data'}"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    card = json.loads(next((tmp_path / "data").rglob("card.json")).read_text())
    assert card["episodes"] == 4 + 6


def started(out: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "maskbench",
        "collect",
        "env=cheetah",
        f"out={out}",
        *TINY,
        "num_steps=1200",
        "checkpoint_seconds=0.1",
    ]
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_is_continued_by_the_same_command(tmp_path: Path, number: signal.Signals) -> None:
    killed = started(tmp_path / "killed")
    episodes = tmp_path / "killed" / "maskdp_train/cheetah/sup/cheetah_run"
    while len(list(episodes.glob("*.npz"))) < 10 and killed.poll() is None:
        time.sleep(0.02)
    killed.send_signal(number)
    message = killed.communicate()[1]
    assert killed.returncode == (-9 if number == signal.SIGKILL else 130)
    assert number == signal.SIGKILL or "the same command goes on from there" in message
    assert 10 <= len(list(episodes.glob("*.npz"))) < 60
    for name in ("whole", "killed"):
        assert started(tmp_path / name).wait() == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
