"""Seeds trained as a stack are the seeds trained alone."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from maskbench.data.normalise import Normaliser
from maskbench.data.store import EpisodeStore
from maskbench.data.windows import WindowSampler
from maskbench.envs.doorkey import DoorKey
from maskbench.errors import ConfigError
from maskbench.masking.random import BernoulliMask
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.encoder import Encoder
from maskbench.models.heads import build_heads
from maskbench.models.objective import Objective
from maskbench.tokens.layout import build_layout
from maskbench.training import checkpoint
from maskbench.training.bank import TaskBank
from maskbench.training.interrupt import Interrupted
from maskbench.training.masked import MaskedProblem
from maskbench.training.optim import build_optimizer, build_scheduler
from maskbench.training.stacked import Member, fit_stacked
from maskbench.training.trainer import Trainer

STEPS = 20
SEEDS = (3, 4, 9)


@pytest.fixture(scope="module")
def store() -> EpisodeStore:
    world = DoorKey()
    return EpisodeStore.from_episodes(world.spec, world.generate(40, 0))


def member(store: EpisodeStore, seed: int, folder: Path, dropout: float = 0.0, norm: str = "post") -> Member:
    layout = build_layout(store.spec, 10, "timestep")
    torch.manual_seed(seed)
    model = Encoder(layout, build_heads(layout.spec, 32, {}), 2, 4, 32, 64, dropout, norm=norm)  # type: ignore[arg-type]
    sampler = WindowSampler(store, 10, 16, seed, factors=layout.spec.names, normaliser=Normaliser.fit(store, {}))
    scheme = BernoulliMask()
    bank = TaskBank.build(sampler.fixed(30, 0), {"scheme": scheme}, layout, 0)
    problem = MaskedProblem(sampler, scheme, Objective({"return": 0.0}), bank, 16, seed)
    return Member(seed, model, problem, folder / f"cv_{seed}", extra_state={"seed": seed})


def settings(**changes: Any) -> Trainer:
    defaults: dict[str, Any] = {"log_every": 3, "validate_every": 5, "checkpoint_every": 4, "ema_decay": 0.9, "grad_clip": 0.5}
    return Trainer(**{"num_steps": STEPS, "device": "cpu", "progress": False, **defaults, **changes})


OPTIMIZER = partial(build_optimizer, lr=1e-3, weight_decay=0.1)
SCHEDULER = partial(build_scheduler, name="cosine", warmup_steps=3, num_steps=STEPS)


def stacked(store: EpisodeStore, folder: Path, resume: bool = False, dropout: float = 0.0, **changes: Any) -> list[Member]:
    members = [member(store, s, folder, dropout) for s in SEEDS]
    fit_stacked(settings(**changes), members, OPTIMIZER, SCHEDULER, resume)
    return members


def alone(store: EpisodeStore, folder: Path, seed: int, resume: bool = False, **changes: Any) -> Member:
    m = member(store, seed, folder)
    settings(seed=seed, **changes).fit(m.model, m.problem, OPTIMIZER, SCHEDULER, m.run_dir, (), m.extra_state, resume)
    return m


def table(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], tolerance: float = 1e-5) -> None:
    """Keys' biases cancel in the softmax: their gradient is rounding noise, which Adam blows up and the model ignores."""
    assert a.keys() == b.keys()
    for name in a:
        x, y = a[name], b[name]
        if name.endswith("qkv.bias"):
            x, y = (v.view(3, -1)[[0, 2]] for v in (x, y))
        torch.testing.assert_close(x, y, atol=tolerance, rtol=tolerance, msg=lambda m, name=name: f"{name}: {m}")


def final_bytes(folder: Path) -> list[bytes]:
    out = []
    for seed in SEEDS:
        run = folder / f"cv_{seed}"
        for which in ("last", "best"):
            files = ("model.safetensors", "optimizer.safetensors", "ema.safetensors")
            out += [(run / "checkpoints" / which / f).read_bytes() for f in files]
        out.append((run / "metrics.csv").read_bytes())
    return out


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2, "grad_clip": None}, {"early_stop_patience": 1, "validate_every": 1}])
def test_every_seed_follows_its_single_run(store: EpisodeStore, tmp_path: Path, changes: dict[str, Any]) -> None:
    members = stacked(store, tmp_path / "together", **changes)
    for seed, mine in zip(SEEDS, members, strict=True):
        other = alone(store, tmp_path / "alone", seed, **changes)
        same(mine.model.state_dict(), other.model.state_dict())
        for which in ("last", "best"):
            same(checkpoint.load_model(mine.run_dir, which), checkpoint.load_model(other.run_dir, which))
            same(*(checkpoint.load_ema(m.run_dir, which) or {} for m in (mine, other)))
        states = [checkpoint.load_trainer_state(m.run_dir) for m in (mine, other)]
        for key in ("step", "seed", "best_step", "stale", "scheduler", "ema_updates", "extra"):
            assert states[0][key] == states[1][key]
        tables = [table(m.run_dir) for m in (mine, other)]
        for a, b in zip(*tables, strict=True):
            assert a == pytest.approx(b, rel=1e-4)


def test_a_single_run_goes_on_from_a_stacked_one_and_back(store: EpisodeStore, tmp_path: Path) -> None:
    stacked(store, tmp_path, num_steps=8)
    for seed in SEEDS:
        alone(store, tmp_path, seed, resume=True, num_steps=14)
    for mine in stacked(store, tmp_path, resume=True):
        same(mine.model.state_dict(), alone(store, tmp_path / "whole", mine.seed).model.state_dict())


def test_members_that_are_behind_catch_up(store: EpisodeStore, tmp_path: Path) -> None:
    stacked(store, tmp_path, num_steps=4)
    alone(store, tmp_path, SEEDS[1], resume=True, num_steps=8)
    for mine in stacked(store, tmp_path, resume=True):
        same(mine.model.state_dict(), alone(store, tmp_path / "whole", mine.seed).model.state_dict())


def test_interrupted_and_resumed_equals_the_uninterrupted_stack(store: EpisodeStore, tmp_path: Path) -> None:
    stacked(store, tmp_path / "whole", dropout=0.2)
    members = [member(store, s, tmp_path / "cut", 0.2) for s in SEEDS]
    draw = members[0].problem.draw

    def stopping(layout: Any, step: int, rank: int = 0) -> Any:
        if step == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(layout, step, rank)

    members[0].problem.draw = stopping  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match=f"after step 10 of 20.*resume={tmp_path / 'cut'}$"):
        fit_stacked(settings(), members, OPTIMIZER, SCHEDULER)
    stacked(store, tmp_path / "cut", resume=True, dropout=0.2)
    assert final_bytes(tmp_path / "cut") == final_bytes(tmp_path / "whole")


def test_killed_at_random_moments_and_resumed_equals_the_uninterrupted_stack(store: EpisodeStore, tmp_path: Path) -> None:
    stacked(store, tmp_path / "whole")
    for delay in (0.15, 0.4, 0.6, None):
        child = os.fork()
        if child == 0:
            if delay is not None:
                threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
            stacked(store, tmp_path / "cut", resume=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
    assert status == 0
    for seed in SEEDS:
        a, b = (checkpoint.load_model(tmp_path / w / f"cv_{seed}", "last") for w in ("whole", "cut"))
        same(a, b)
        columns = [[r["step"] for r in table(tmp_path / w / f"cv_{seed}")] for w in ("whole", "cut")]
        assert columns[0] == columns[1]


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"dropout": 0.3}])
def test_half_precision_and_dropout_train_every_seed(store: EpisodeStore, tmp_path: Path, changes: dict[str, Any]) -> None:
    before = [{n: p.clone() for n, p in member(store, s, tmp_path).model.named_parameters()} for s in SEEDS]
    for old, m in zip(before, stacked(store, tmp_path, **changes), strict=True):
        rows = table(m.run_dir)
        assert rows[-1]["validation/loss"] < rows[0]["validation/loss"]
        assert all(p.dtype == torch.float32 for p in m.model.parameters())
        assert (old["trunk.blocks.0.up.weight"] - m.model.get_parameter("trunk.blocks.0.up.weight")).abs().max() > 1e-3


def test_a_checkpoint_of_a_member_is_as_small_as_that_of_a_single_run(store: EpisodeStore, tmp_path: Path) -> None:
    mine, other = stacked(store, tmp_path / "a")[0], alone(store, tmp_path / "b", SEEDS[0])
    sizes = [{f.name: f.stat().st_size for f in (m.run_dir / "checkpoints" / "last").iterdir()} for m in (mine, other)]
    for name in ("model.safetensors", "optimizer.safetensors", "ema.safetensors"):
        assert sizes[0][name] == sizes[1][name]
    optimizers = [json.loads((m.run_dir / "checkpoints/last/trainer.json").read_text())["optimizer"] for m in (mine, other)]
    assert optimizers[0] == optimizers[1]


def test_what_cannot_be_stacked_is_refused(store: EpisodeStore, tmp_path: Path) -> None:
    members = [member(store, s, tmp_path) for s in SEEDS]
    with pytest.raises(ConfigError, match=r"profile.*stack_seeds=false"):
        fit_stacked(settings(profile=True), members, OPTIMIZER, SCHEDULER)
    layout = build_layout(store.spec, 10, "factor")
    other = [replace(m, model=Autoencoder(layout, build_heads(layout.spec, 32, {}), 1, 1, 4, 32)) for m in members]
    with pytest.raises(ConfigError, match="Autoencoder cannot be trained as a stack: 'mask_token'"):
        fit_stacked(settings(), other, OPTIMIZER, SCHEDULER)
