import csv
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from maskbench.errors import ConfigError
from maskbench.training import checkpoint
from maskbench.training.interrupt import Interrupted
from maskbench.training.meter import Diverged
from maskbench.training.trainer import Trainer
from tests.training.toy import Regression, parts

STEPS = 40


def settings(**changes) -> Trainer:
    defaults = dict(
        num_steps=STEPS,
        device="cpu",
        log_every=3,
        validate_every=7,
        checkpoint_every=5,
        ema_decay=0.9,
        grad_clip=1.0,
        progress=False,
    )
    return Trainer(**(defaults | changes))


def fit(run: Path, problem: Regression | None = None, resume: bool = False, **changes):
    model, optimizer, scheduler = parts()
    return settings(**changes).fit(model, problem or Regression(), optimizer, scheduler, run, resume=resume), model


def rows(run: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    with open(run / name) as file:
        return list(csv.DictReader(file))


def learned(run: Path) -> list[bytes]:
    """Everything of a finished run that must not depend on interruptions."""
    last, best = ((run / "checkpoints" / w).resolve() for w in ("last", "best"))
    tensors = [
        (f / n).read_bytes() for f in (last, best) for n in ("model.safetensors", "optimizer.safetensors", "ema.safetensors")
    ]
    state = json.loads((last / "trainer.json").read_text())
    del state["seconds"]
    return [*tensors, json.dumps(state).encode(), (run / "metrics.csv").read_bytes()]


def in_child(run: Path, kill_after: float | None, **changes) -> bool:
    """Starts or resumes the run in a forked process, kills that after some seconds, and says whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            fit(run, Regression(delay=0.01), resume=True, **changes)
            os._exit(0)
        finally:
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) == 0


def test_a_run_learns_logs_and_reports(tmp_path):
    result, _ = fit(tmp_path, num_steps=200, log_every=50)
    table = rows(tmp_path)
    assert [r["step"] for r in table if r["train/loss"]] == ["50", "100", "150", "200"]
    assert float(table[-1]["train/loss"]) < 0.9 * float(table[0]["validation/loss"])
    assert set(table[0]) == {"step", "validation/loss", *(f"train/{k}" for k in ("loss", "state", "action", "grad_norm", "lr"))}
    assert set(rows(tmp_path, "timing.csv")[0]) == {"step", "time/seconds", "time/samples_per_second", "time/data_wait"}
    losses = {int(r["step"]): float(r["validation/loss"]) for r in table if r["validation/loss"]}
    assert result.step == 200
    assert (result.best_loss, result.best_step) == min((v, k) for k, v in losses.items())
    assert checkpoint.load_trainer_state(tmp_path, "best")["step"] == result.best_step


def test_killed_at_random_moments_and_resumed_equals_the_uninterrupted_run(tmp_path):
    fit(tmp_path / "whole")
    clock = random.Random(0)
    for _ in range(5):
        assert not in_child(tmp_path / "killed", clock.uniform(0.02, 0.2), checkpoint_every=2)
        if checkpoint.exists(tmp_path / "killed"):
            checkpoint.load_model(tmp_path / "killed", "last")
    assert in_child(tmp_path / "killed", None)
    assert learned(tmp_path / "killed") == learned(tmp_path / "whole")


@pytest.mark.parametrize("stop", [1, 5, 7, 20, 39])
def test_interrupted_after_any_step_and_resumed_equals_the_uninterrupted_run(tmp_path, stop):
    fit(tmp_path / "whole")
    problem = Regression()
    problem.on_step = lambda step: signal.raise_signal(signal.SIGINT) if step == stop - 1 else None
    with pytest.raises(Interrupted, match=f"after step {stop} of 40.*resume="):
        fit(tmp_path / "parts", problem)
    assert checkpoint.load_trainer_state(tmp_path / "parts")["step"] == stop
    fit(tmp_path / "parts", resume=True)
    assert learned(tmp_path / "parts") == learned(tmp_path / "whole")


def test_sigterm_stops_a_process_cleanly_and_signals_work_as_before_afterwards(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    problem = Regression(delay=0.005)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(Interrupted, match="SIGTERM"):
        fit(tmp_path, problem, num_steps=100_000, checkpoint_every=None)
    assert checkpoint.load_trainer_state(tmp_path)["step"] > 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_validation_and_logging_do_not_change_what_is_learned(tmp_path):
    _, often = fit(tmp_path / "a", validate_every=1, log_every=1)
    _, never = fit(tmp_path / "b", validate_every=None, log_every=1000, checkpoint_every=None)
    assert all(torch.equal(a, b) for a, b in zip(often.parameters(), never.parameters(), strict=True))


def test_accumulated_micro_batches_equal_one_big_batch(tmp_path):
    class Halves(Regression):
        def batch(self, step, rank):
            x, y = Regression(16).batch(step // 2, rank)
            half = slice(0, 8) if step % 2 == 0 else slice(8, 16)
            return x[half], y[half]

    def trained(problem, accumulate):
        model, optimizer, scheduler = parts(dropout=0.0)
        settings(num_steps=10, accumulate=accumulate).fit(model, problem, optimizer, scheduler, tmp_path / str(accumulate))
        return torch.nn.utils.parameters_to_vector(model.parameters())

    whole, halves = trained(Regression(16), 1), trained(Halves(8), 2)
    torch.testing.assert_close(whole, halves, rtol=1e-4, atol=1e-6)
    a, b = rows(tmp_path / "1"), rows(tmp_path / "2")
    assert [float(r["train/loss"]) for r in a[1:3]] == pytest.approx([float(r["train/loss"]) for r in b[1:3]], rel=1e-4)


def test_gradients_are_clipped_to_their_norm_and_logged_before_it(tmp_path):
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)

    class Steep:
        batch_size = 1

        def losses(self, model, step, rank=0):
            return {"loss": (model.weight * torch.tensor([[3.0, 4.0]])).sum()}

    def sgd(m):
        return torch.optim.SGD(m.parameters(), lr=1.0)

    settings(num_steps=1, grad_clip=0.5, validate_every=None, ema_decay=None, log_every=1).fit(
        model, Steep(), sgd, None, tmp_path
    )
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[-0.3, -0.4]]), rtol=1e-4, atol=1e-5)
    assert float(rows(tmp_path)[0]["train/grad_norm"]) == pytest.approx(5.0)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(Diverged) as error:
        fit(tmp_path, Regression(bad_step=22), log_every=1000)
    assert error.value.step == 23
    assert set(error.value.terms) >= {"loss", "state"}
    assert "action" not in error.value.terms
    assert "step 23: loss=inf, state=inf" in str(error.value)
    assert checkpoint.load_trainer_state(tmp_path)["step"] in (20, 21)
    assert all(v.isfinite().all() for v in checkpoint.load_model(tmp_path, "last").values())


def test_validation_sees_the_averaged_weights_in_evaluation_mode_and_modes_are_kept(tmp_path):
    model, optimizer, scheduler = parts()
    model.layers[1].eval()
    seen = []

    class Watching(Regression):
        def validate(self, model):
            seen.append((model.layers[0].weight.clone(), model.training, torch.is_grad_enabled()))
            return super().validate(model)

    settings(num_steps=7).fit(model, Watching(), optimizer, scheduler, tmp_path)
    weight, training, grad = seen[-1]
    assert (training, grad) == (False, False)
    assert torch.equal(weight, checkpoint.load_model(tmp_path, "last")["layers.0.weight"])
    assert torch.equal(model.layers[0].weight, checkpoint.load_model(tmp_path, "last", ema=False)["layers.0.weight"])
    assert not torch.equal(weight, model.layers[0].weight)
    assert model.training
    assert not model.layers[1].training


def test_early_stop_counts_validations_and_stays_stopped_on_resume(tmp_path):
    class Worse(Regression):
        calls = 0

        def validate(self, model):
            self.calls += 1
            return {"loss": float(self.calls)}

    result, _ = fit(tmp_path, Worse(), early_stop_patience=3, validate_every=2)
    assert (result.step, result.best_step) == (6, 0)
    assert checkpoint.load_trainer_state(tmp_path, "best")["step"] == 0
    assert fit(tmp_path, Worse(), resume=True, early_stop_patience=3, validate_every=2)[0].step == 6


def test_a_kill_between_last_and_best_is_mended_on_resume(tmp_path, monkeypatch):
    fit(tmp_path / "whole")
    real = checkpoint._point

    def dying(link, target):
        if link.name == "best" and target == "step-000000014":
            raise SystemExit
        real(link, target)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_point", dying)
        with pytest.raises(SystemExit):
            fit(tmp_path / "parts")
    assert checkpoint.load_trainer_state(tmp_path / "parts")["step"] == 14
    assert checkpoint.load_trainer_state(tmp_path / "parts", "best")["step"] < 14
    fit(tmp_path / "parts", resume=True, num_steps=14)
    assert checkpoint.load_trainer_state(tmp_path / "parts", "best")["step"] == 14
    fit(tmp_path / "parts", resume=True)
    assert learned(tmp_path / "parts") == learned(tmp_path / "whole")


def test_without_keep_best_only_the_last_checkpoint_stays(tmp_path):
    result, _ = fit(tmp_path, keep_best=False)
    assert result.best_loss is not None
    assert not checkpoint.exists(tmp_path, "best")


def test_a_finished_run_can_be_prolonged(tmp_path):
    fit(tmp_path / "a", num_steps=20)
    result, _ = fit(tmp_path / "a", num_steps=30, resume=True)
    assert result.step == 30
    assert [r["step"] for r in rows(tmp_path / "a")][-1] == "30"


def test_checkpoints_follow_the_clock_too(tmp_path):
    problem = Regression(delay=0.004)
    saved = []
    problem.on_step = lambda step: saved.append(checkpoint.exists(tmp_path))
    fit(tmp_path, problem, checkpoint_every=None, validate_every=None, checkpoint_seconds=0.05)
    assert not saved[0]
    assert saved[-1]


def test_bf16_computes_in_half_and_keeps_weights_whole(tmp_path):
    seen = set()

    class Watching(Regression):
        def losses(self, model, step, rank=0):
            seen.add(model.layers[0](torch.zeros(1, 4)).dtype)
            return super().losses(model, step, rank)

    _, model = fit(tmp_path, Watching(), precision="bf16", num_steps=3)
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_process_settings_are_left_as_they_were(tmp_path):
    problem, seen = Regression(), []
    problem.on_step = lambda step: seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))
    before = torch.get_num_threads()
    fit(tmp_path, problem, num_steps=1, threads=2, deterministic=True)
    assert seen == [(2, True)]
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_profile_writes_a_table(tmp_path):
    fit(tmp_path, num_steps=20, profile=True)
    assert "aten::addmm" in (tmp_path / "profile.txt").read_text()


def test_extra_state_is_kept_in_the_checkpoint(tmp_path):
    model, optimizer, scheduler = parts()
    settings(num_steps=1).fit(model, Regression(), optimizer, scheduler, tmp_path, extra_state={"config": {"lr": 0.1}})
    assert checkpoint.load_trainer_state(tmp_path)["extra"] == {"config": {"lr": 0.1}}


def test_a_used_folder_and_another_seed_are_refused(tmp_path):
    fit(tmp_path, num_steps=2)
    with pytest.raises(ConfigError, match="resume=True"):
        fit(tmp_path)
    with pytest.raises(ConfigError, match="seed"):
        fit(tmp_path, resume=True, seed=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_steps": 0},
        {"device": "gpu"},
        {"precision": "fp16"},
        {"accumulate": 0},
        {"grad_clip": -1.0},
        {"compile": "yes"},
        {"early_stop_patience": 2, "validate_every": None},
        *([] if torch.cuda.is_available() else [{"device": "cuda"}]),
    ],
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ConfigError):
        settings(**changes)


def test_validation_without_a_loss_is_refused_before_the_first_step(tmp_path):
    class Nameless(Regression):
        def validate(self, model):
            return {"accuracy": 1.0}

    with pytest.raises(ConfigError, match="accuracy"):
        fit(tmp_path, Nameless())
