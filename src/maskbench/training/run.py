"""The moving parts of one ``Trainer.fit``, and the loop that moves them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.training import checkpoint
from maskbench.training.compiling import compile_model, uncompiled
from maskbench.training.ema import Ema
from maskbench.training.interrupt import Interrupted, SignalGuard
from maskbench.training.loggers import TIMING, CsvLogger, Logger
from maskbench.training.meter import LossMeter
from maskbench.training.optim import learning_rate
from maskbench.training.problem import FitResult, OptimizerFactory, Problem, SchedulerFactory
from maskbench.training.profiler import StepProfiler
from maskbench.training.progress import RunProgress
from maskbench.training.seeding import (
    STEP_STREAM,
    VALIDATION_STREAM,
    host_rng_state,
    preserved_host_rng,
    restore_host_rng,
    seed_torch,
    step_seed,
)

if TYPE_CHECKING:
    from maskbench.training.trainer import Trainer


class _Losses(nn.Module):
    """``problem.losses`` as a forward pass, so that autocast and DDP's hooks cover whatever it calls on the model."""

    def __init__(self, model: nn.Module, problem: Problem) -> None:
        super().__init__()
        self.model = model
        self._losses = problem.losses

    def forward(self, step: int, rank: int) -> dict[str, Tensor]:
        return self._losses(self.model, step, rank)


@dataclass
class Pauses:
    """Seconds spent on validation and saving, which are no part of the training speed. Runs that share a process share it."""

    seconds: float = 0.0


class Run:
    """The moving parts of one ``fit``."""

    def __init__(
        self,
        settings: Trainer,
        model: nn.Module,
        problem: Problem,
        optimizer_factory: OptimizerFactory,
        scheduler_factory: SchedulerFactory | None,
        run_dir: Path,
        saved: Mapping[str, Any] | None,
        extra: Mapping[str, Any],
    ) -> None:
        self.settings, self.problem, self.run_dir, self.extra = settings, problem, run_dir, extra
        self.fabric = settings.fabric
        self.rank, self.world = self.fabric.global_rank, self.fabric.world_size
        self.first_process = self.rank == 0
        self.model = model.to(self.fabric.device)
        self.optimizer = optimizer_factory(model)
        self.scheduler = scheduler_factory(self.optimizer) if scheduler_factory else None
        self.ema = Ema(model, settings.ema_decay) if settings.ema_decay is not None else None
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.step = 0
        self.best_loss: float | None = None
        self.best_step: int | None = None
        self.stale = 0
        self.seconds_before = 0.0
        self.pauses = Pauses()
        self.meter = LossMeter()
        self.saved_step: int | None = None
        if self.first_process:
            checkpoint.tidy(run_dir)
        if saved is not None:
            self._restore(saved)
        self.compiled = settings.compile is True or (settings.compile == "auto" and self.fabric.device.type == "cuda")
        if self.compiled:
            graphs = settings.accumulate == 1 and self.world == 1
            compile_model(model, self.fabric.device, graphs)
        self.losses = self.fabric.setup_module(_Losses(model, problem), move_to_device=False)
        self.loggers: list[Logger] = []
        self.progress = RunProgress(settings.num_steps, self.step, enabled=False)
        self.profiler: StepProfiler | None = None

    def _restore(self, saved: Mapping[str, Any]) -> None:
        if self.first_process and self.settings.keep_best and saved["best_step"] == saved["step"]:
            checkpoint.mark_last_as_best(self.run_dir)
        self.fabric.barrier()
        checkpoint.load_weights(self.model, self.run_dir, "last", ema=False)
        checkpoint.load_optimizer(self.run_dir, self.optimizer)
        if self.scheduler is not None and saved["scheduler"] is not None:
            self.scheduler.load_state_dict(saved["scheduler"])
        averages = checkpoint.load_ema(self.run_dir)
        if self.ema is not None and averages is not None:
            self.ema.load_state_dict(averages, saved["ema_updates"])
        restore_host_rng(saved["rng"])
        self.step = self.saved_step = saved["step"]
        self.best_loss, self.best_step, self.stale = saved["best_loss"], saved["best_step"], saved["stale"]
        self.seconds_before = saved["seconds"]
        self.meter = LossMeter(saved["window"])

    def attach(self, loggers: Sequence[Logger], stack: ExitStack) -> None:
        """Opens what only the first process shows and writes."""
        self.loggers = [CsvLogger(self.run_dir, keep_until=self.saved_step), *loggers]
        for logger in self.loggers:
            stack.callback(logger.close)
        self.progress = RunProgress(self.settings.num_steps, self.step, enabled=self.settings.progress)
        stack.callback(self.progress.close)
        if self.saved_step is not None:
            self.progress.note(f"resuming from step {self.saved_step}")
        if self.settings.profile:
            self.profiler = StepProfiler(self.run_dir / "profile.txt")
            stack.callback(self.profiler.close)

    def go(self, guard: SignalGuard) -> FitResult:
        self.begin()
        while self.unfinished:
            self._update()
            self.progress.step(self.step)
            improved, row = self.measure()
            if row:
                self.progress.row(self.step, row)
            # Several processes agree on what one of them wants only where they wait for each other anyway.
            may_ask = self.logging or self.world == 1
            stop = may_ask and self._anyone(guard.received is not None)
            if stop or improved or (may_ask and self._anyone(self.checkpoint_is_old())) or self.checkpoint_is_due():
                self.save(best=improved)
            if stop:
                raise self.interrupted(guard.received or "a signal to another process", self.run_dir)
        return self.end()

    def begin(self) -> None:
        """Starts the clock; a new run validates its first weights."""
        self.started = self.saved_at = self.log_mark = time.perf_counter()
        self.log_paused = self.paused_before = self.pauses.seconds
        self.log_step = self.first_step = self.step
        self.log_data = self._data_seconds()
        if self.saved_step is None and self.settings.validate_every is not None:
            values = self._validate()
            improved = self._judge(values["validation/loss"])
            self._log(values)
            self.progress.row(self.step, values)
            if improved:
                self.save(best=True)

    @property
    def unfinished(self) -> bool:
        """Whether updates are left, and the patience for them."""
        return self.step < self.settings.num_steps and not self._patience_spent()

    @property
    def logging(self) -> bool:
        return self.step == self.settings.num_steps or self.step % self.settings.log_every == 0

    def measure(self) -> tuple[bool, dict[str, float]]:
        """After an update: logs and validates where due. Whether a new best asks for a checkpoint, and the logged row."""
        every, at_end = self.settings.validate_every, self.step == self.settings.num_steps
        row = self._training_row() if self.logging else {}
        improved = False
        if every is not None and (at_end or self.step % every == 0):
            row |= self._validate()
            improved = self._judge(row["validation/loss"])
        if row:
            self._log(row)
        return improved, row

    def interrupted(self, name: str, folder: Path) -> Interrupted:
        return Interrupted(
            f"Stopped by {name} after step {self.step} of {self.settings.num_steps}; the checkpoint is saved. "
            f"To go on: python train.py resume={folder}"
        )

    def end(self) -> FitResult:
        """The last checkpoint, and what the run came to."""
        if self.saved_step != self.step:
            self.save(best=False)
        now = time.perf_counter()
        busy = now - self.started - (self.pauses.seconds - self.paused_before)
        return FitResult(
            step=self.step,
            best_loss=self.best_loss,
            best_step=self.best_step,
            seconds=self.seconds_before + now - self.started,
            samples_per_second=(self.step - self.first_step) * self._samples_per_step() / busy,
        )

    def _update(self) -> None:
        """One optimiser update: step -> step + 1. Nothing here waits for the device."""
        accumulate = self.settings.accumulate
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        for micro in range(accumulate):
            index, last = self.step * accumulate + micro, micro == accumulate - 1
            seed_torch(step_seed(self.settings.seed, index, self.rank, STEP_STREAM), self.fabric.device)
            apart = self.world > 1 and not last
            with self.fabric.no_backward_sync(self.losses) if apart else nullcontext():
                terms = self.losses(index, self.rank)
                self.fabric.backward(terms["loss"] if accumulate == 1 else terms["loss"] / accumulate)
            if not last:
                self.meter.add(self.step + 1, terms)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients, foreach=None)
        if self.settings.grad_clip is not None:
            nn.utils.clip_grads_with_norm_(self.parameters, self.settings.grad_clip, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.updated(terms, norm)
        if self.profiler is not None:
            self.profiler.step()

    def updated(self, terms: Mapping[str, Tensor], norm: Tensor) -> None:
        """What follows new weights: step -> step + 1."""
        self.step += 1
        self.meter.add(self.step, {**terms, "grad_norm": norm})
        self.rate = learning_rate(self.optimizer)
        if self.scheduler is not None:
            self.scheduler.step()
        if self.ema is not None:
            self.ema.update()

    def _training_row(self) -> dict[str, float]:
        """Means since the last row, and how fast they were reached."""
        self._drain()
        row = {f"train/{k}": v for k, v in self.meter.means().items()}
        row["train/lr"] = self.rate
        now, data, steps = time.perf_counter(), self._data_seconds(), self.step - self.log_step
        busy = now - self.log_mark - (self.pauses.seconds - self.log_paused)
        row[f"{TIMING}seconds"] = self.seconds_before + now - self.started
        row[f"{TIMING}samples_per_second"] = steps * self._samples_per_step() / busy
        if data is not None and self.log_data is not None:
            row[f"{TIMING}data_wait"] = (data - self.log_data) / busy
        self.log_mark, self.log_paused, self.log_data, self.log_step = now, self.pauses.seconds, data, self.step
        return row

    def _validate(self) -> dict[str, float]:
        values: dict[str, float] = {}
        with self._pause():
            if self.first_process:
                seed_torch(step_seed(self.settings.seed, 0, 0, VALIDATION_STREAM), self.fabric.device)
                averaged = self.ema.swapped_in() if self.ema is not None else nullcontext()
                as_written = uncompiled(self.fabric.device) if self.compiled else nullcontext()
                apart = preserved_host_rng()
                with averaged, as_written, _evaluating(self.model), apart, torch.no_grad(), self.fabric.autocast():
                    values = self.problem.validate(self.model)
                if "loss" not in values:
                    raise ConfigError(f"validation must report 'loss', which selects the best model; found {sorted(values)}")
            values = self.fabric.broadcast(values)
        return {f"validation/{k}": float(v) for k, v in values.items()}

    def _judge(self, loss: float) -> bool:
        """Whether this validation is the best so far, and so worth a checkpoint."""
        if math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss):
            self.best_loss, self.best_step, self.stale = loss, self.step, 0
            return self.settings.keep_best
        self.stale += 1
        return False

    def _patience_spent(self) -> bool:
        patience = self.settings.early_stop_patience
        return patience is not None and self.stale >= patience

    def checkpoint_is_due(self) -> bool:
        every = self.settings.checkpoint_every
        return every is not None and self.step % every == 0

    def checkpoint_is_old(self) -> bool:
        limit = self.settings.checkpoint_seconds
        return limit is not None and time.perf_counter() - self.saved_at > limit

    def _anyone(self, flag: bool) -> bool:
        if self.world == 1:
            return flag
        return bool(self._mean_over_processes(torch.tensor(float(flag), device=self.fabric.device)) > 0)

    def _drain(self) -> None:
        self.meter.drain(self._mean_over_processes)

    def _mean_over_processes(self, values: Tensor) -> Tensor:
        if self.world == 1:
            return values
        mean = self.fabric.all_reduce(values, reduce_op="mean")
        assert isinstance(mean, Tensor)
        return mean

    def save(self, best: bool) -> None:
        """Saves only finite runs: draining raises Diverged first."""
        with self._pause():
            self._drain()
            if self.first_process:
                state = {
                    "step": self.step,
                    "seed": self.settings.seed,
                    "best_loss": self.best_loss,
                    "best_step": self.best_step,
                    "stale": self.stale,
                    "seconds": self.seconds_before + time.perf_counter() - self.started,
                    "window": self.meter.rows,
                    "scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
                    "ema_updates": self.ema.updates if self.ema is not None else None,
                    "rng": host_rng_state(),
                    "extra": dict(self.extra),
                }
                averages = self.ema.state_dict() if self.ema is not None else None
                checkpoint.save(
                    self.run_dir,
                    model=self.model.state_dict(),
                    optimizer=self.optimizer,
                    state=state,
                    ema=averages,
                    best=best,
                )
        self.saved_step, self.saved_at = self.step, time.perf_counter()

    def _log(self, row: Mapping[str, float]) -> None:
        for logger in self.loggers:
            logger.log(self.step, row)

    def _samples_per_step(self) -> int:
        return self.problem.batch_size * self.settings.accumulate * self.world

    def _data_seconds(self) -> float | None:
        return getattr(self.problem, "data_seconds", None)

    @contextmanager
    def _pause(self) -> Iterator[None]:
        """Keeps validation and saving out of the training speed."""
        start = time.perf_counter()
        yield
        self.pauses.seconds += time.perf_counter() - start


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is back in the mode it was in."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
