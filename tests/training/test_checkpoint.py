import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from maskbench.errors import ConfigError, DataError
from maskbench.training import checkpoint
from maskbench.training.optim import build_optimizer


def make(value: float = 0.0, width: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, width), nn.LayerNorm(width))
    optimizer = build_optimizer(model, weight_decay=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    nn.init.constant_(model[0].weight, value)
    return model, optimizer


def put(run: Path, step: int, best: bool = False, ema: bool = False) -> None:
    model, optimizer = make(float(step))
    averages = {"0.weight": torch.full((3, 2), -1.0)} if ema else None
    checkpoint.save(run, model=model.state_dict(), optimizer=optimizer, state={"step": step}, ema=averages, best=best)


def value(run: Path, which: str) -> float:
    return checkpoint.load_model(run, which)["0.weight"][0, 0].item()


def folders(run: Path) -> set[str]:
    return {p.name for p in (run / "checkpoints").iterdir()}


def test_last_and_best_are_kept_and_nothing_else(tmp_path):
    for step, best in ((1, True), (2, False), (3, True), (4, False), (5, False)):
        put(tmp_path, step, best)
    assert (value(tmp_path, "last"), value(tmp_path, "best")) == (5.0, 3.0)
    assert folders(tmp_path) == {"last", "best", "step-000000003", "step-000000005"}
    assert checkpoint.load_trainer_state(tmp_path)["step"] == 5


def test_best_falls_back_to_last_where_nothing_was_validated(tmp_path):
    put(tmp_path, 7)
    assert value(tmp_path, "best") == 7.0


def test_ema_weights_are_what_is_loaded_unless_refused(tmp_path):
    put(tmp_path, 7, ema=True)
    assert value(tmp_path, "last") == -1.0
    assert checkpoint.load_model(tmp_path, "last", ema=False)["0.weight"][0, 0].item() == 7.0


def test_a_failure_at_any_system_call_leaves_a_whole_last_and_best(tmp_path, monkeypatch):
    """Fails the n-th disk operation of a save, for every n, as a crash there would."""
    outcomes = set()
    for n in range(100):
        run = tmp_path / str(n)
        put(run, 1, best=True)
        calls = iter(range(1000))

        def failing(real, calls=calls, n=n):
            def call(*args, **kwargs):
                if next(calls) >= n:
                    raise OSError("crash")
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for module, name in (
                (os, "fsync"),
                (os, "rename"),
                (os, "symlink"),
                (os, "replace"),
                (Path, "mkdir"),
                (shutil, "rmtree"),
            ):
                patch.setattr(module, name, failing(getattr(module, name)))
            try:
                put(run, 2, best=True)
                finished = True
            except OSError:
                finished = False
        last, best = value(run, "last"), value(run, "best")
        checkpoint.load_optimizer(run, make()[1])
        assert last in (1.0, 2.0)
        assert best <= last
        outcomes.add((last, best))
        checkpoint.tidy(run)
        assert folders(run) == {"last", "best"} | {f"step-{int(v):09d}" for v in (last, best)}
        if finished:
            break
    assert finished
    assert outcomes == {(1.0, 1.0), (2.0, 1.0), (2.0, 2.0)}


def test_tidy_removes_what_a_killed_save_left(tmp_path):
    put(tmp_path, 1)
    (tmp_path / "checkpoints" / ".tmp-123").mkdir()
    (tmp_path / "checkpoints" / ".tmp-123" / "model.safetensors").write_bytes(b"half")
    shutil.copytree(tmp_path / "checkpoints" / "step-000000001", tmp_path / "checkpoints" / "step-000000002")
    checkpoint.tidy(tmp_path)
    assert folders(tmp_path) == {"last", "step-000000001"}


def test_a_copy_without_links_loads_and_can_be_continued(tmp_path):
    put(tmp_path / "a", 1, best=True)
    shutil.copytree(tmp_path / "a", tmp_path / "b", symlinks=False)
    assert value(tmp_path / "b", "best") == 1.0
    checkpoint.tidy(tmp_path / "b")
    put(tmp_path / "b", 2)
    assert (value(tmp_path / "b", "last"), value(tmp_path / "b", "best")) == (2.0, 1.0)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "truncated"),
        (lambda p: p.write_bytes(p.read_bytes()[:-1] + bytes([p.read_bytes()[-1] ^ 1])), "corrupt"),
        (lambda p: p.unlink(), "missing"),
    ],
)
def test_damaged_tensors_are_refused(tmp_path, name, damage, message):
    put(tmp_path, 1)
    damage((tmp_path / "checkpoints" / "last" / name).resolve())
    with pytest.raises(DataError, match=message):
        checkpoint.load_model(tmp_path, "last") if name.startswith("model") else checkpoint.load_optimizer(tmp_path, make()[1])


def test_damaged_state_another_version_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="no checkpoint"):
        checkpoint.load_model(tmp_path)
    put(tmp_path, 1)
    path = tmp_path / "checkpoints" / "last" / "trainer.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"format": 99}))
    with pytest.raises(DataError, match="format 99"):
        checkpoint.load_trainer_state(tmp_path)
    path.write_text(path.read_text()[:20])
    with pytest.raises(DataError, match="corrupt"):
        checkpoint.load_trainer_state(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"trainer\.json is missing"):
        checkpoint.load_trainer_state(tmp_path)


def test_optimizer_round_trip_is_exact_and_keeps_its_own_implementation(tmp_path):
    put(tmp_path, 1)
    model, optimizer = make(1.0)
    other = build_optimizer(model, lr=9.0, fused=False)
    checkpoint.load_optimizer(tmp_path, other)
    saved, loaded = optimizer.state_dict(), other.state_dict()
    assert saved["state"].keys() == loaded["state"].keys()
    for index, entries in saved["state"].items():
        assert all(torch.equal(entries[k], loaded["state"][index][k]) for k in entries)
    assert [g["lr"] for g in loaded["param_groups"]] == [g["lr"] for g in saved["param_groups"]]
    assert loaded["param_groups"][0]["betas"] == (0.9, 0.999)
    assert not other.param_groups[0]["fused"]


def test_optimizer_of_another_model_is_refused(tmp_path):
    put(tmp_path, 1)
    with pytest.raises(DataError, match="shape"):
        checkpoint.load_optimizer(tmp_path, make(width=4)[1])
    with pytest.raises(DataError, match="groups"):
        checkpoint.load_optimizer(tmp_path, build_optimizer(nn.Linear(2, 3, bias=False)))


def test_tied_weights_survive(tmp_path):
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 3, bias=False))
    model[1].weight = model[0].weight
    checkpoint.save(tmp_path, model=model.state_dict(), optimizer=build_optimizer(model), state={"step": 0})
    weights = checkpoint.load_model(tmp_path)
    assert torch.equal(weights["0.weight"], weights["1.weight"])


def test_finetuning_names_every_tensor_that_does_not_fit(tmp_path):
    put(tmp_path, 5)
    same = make()[0]
    assert checkpoint.load_weights(same, tmp_path) == []
    assert same[0].weight[0, 0].item() == 5.0
    other = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 1))
    with pytest.raises(ConfigError) as error:
        checkpoint.load_weights(other, tmp_path)
    assert "1.weight: the model has (3, 3), the checkpoint (3,)" in str(error.value)
    assert "2.bias: the model has (1,), the checkpoint lacks it" in str(error.value)
    assert "0.weight" not in str(error.value)
    assert checkpoint.load_weights(other, tmp_path, strict=False) == ["1.weight", "2.bias", "2.weight"]
    assert other[0].weight[0, 0].item() == 5.0
    with pytest.raises(ConfigError):
        checkpoint.load_weights(nn.Conv1d(1, 1, 1), tmp_path, strict=False)


def test_no_file_of_a_checkpoint_is_a_pickle(tmp_path):
    put(tmp_path, 1, ema=True)
    files = sorted(p.name for p in (tmp_path / "checkpoints" / "last").iterdir())
    assert files == ["ema.safetensors", "model.safetensors", "optimizer.safetensors", "trainer.json"]
