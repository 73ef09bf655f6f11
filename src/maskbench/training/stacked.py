"""Trains several seeds of one model in one process: one forward and backward pass for all of them.

    step s:  seed 0's windows and masks |
             seed 1's windows and masks |-> one batch -> stacked model -> a loss each -> backward -> clip each -> one update
             seed 2's windows and masks |

Every seed is a ``Run`` of its own: data order, masks, validation, schedule, averages, best checkpoint and files are those of
training it alone. Only what torch's global generator draws (dropout) differs: it is drawn for the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskSet
from maskbench.models.sequence import SequenceModel
from maskbench.training.compiling import compile_model
from maskbench.training.interrupt import SignalGuard
from maskbench.training.loggers import TIMING, Logger
from maskbench.training.masked import MaskedProblem
from maskbench.training.problem import FitResult, OptimizerFactory, SchedulerFactory
from maskbench.training.progress import RunProgress
from maskbench.training.run import Pauses, Run
from maskbench.training.seeding import STEP_STREAM, seed_torch, step_seed
from maskbench.training.stack import StackedOptimizer, clip_gradients, split_terms, stack_models
from maskbench.training.trainer import Trainer
from maskbench.trajectory import Window

#: Largest tokens x width of one seed's batch at which stacking was measured to be faster on a CPU.
CPU_LIMIT = 32_000


@dataclass(frozen=True)
class Member:
    """One seed of a stack: the arguments that ``Trainer.fit`` would take for it."""

    seed: int
    model: SequenceModel
    problem: MaskedProblem
    run_dir: Path
    loggers: Sequence[Logger] = ()
    extra_state: Mapping[str, Any] = field(default_factory=dict)


def fit_stacked(
    trainer: Trainer,
    members: Sequence[Member],
    optimizer_factory: OptimizerFactory,
    scheduler_factory: SchedulerFactory | None,
    resume: bool = False,
) -> list[FitResult]:
    """``trainer.fit`` for every member at once; ``trainer.seed`` is not used.

    Without dropout a member follows its single run to float tolerance. A run folder is that of a single run and can be resumed
    alone as well. Members that are behind (after a kill between two saves) catch up first.

    Raises ConfigError for several devices, a profile, and models or optimisers that cannot be stacked (``stack.why_not``);
    everything that ``Trainer.fit`` raises. If one member diverges, all stop at their last checkpoints.
    """
    if trainer.devices > 1 or trainer.strategy == "ddp" or trainer.profile:
        raise ConfigError("several devices and trainer.profile need seeds one after the other: set trainer.stack_seeds=false")
    with ExitStack() as stack:
        stack.enter_context(trainer.process_settings())
        guard = stack.enter_context(SignalGuard())
        runs, pauses = [], Pauses()
        for m in members:
            settings = replace(trainer, seed=m.seed, compile=False, progress=False)
            settings.fabric = trainer.fabric
            saved = settings.saved_state(m.run_dir, resume)
            run = Run(settings, m.model, m.problem, optimizer_factory, scheduler_factory, m.run_dir, saved, m.extra_state)
            run.pauses = pauses
            run.attach(m.loggers, stack)
            runs.append(run)
        progress = RunProgress(trainer.num_steps, min(r.step for r in runs), enabled=trainer.progress)
        stack.callback(progress.close)
        return _go(trainer, runs, progress, guard)


def pays(rows: int, width: int, device: torch.device) -> bool:
    """Whether a stack is expected to be faster than its seeds one after the other.

    rows: tokens of one seed's batch. On accelerators small models wait for launches, which a stack shares. On a CPU only the
    smallest steps do; above ``CPU_LIMIT`` nothing was gained (benchmarks/stacked_seeds.py).
    """
    return device.type == "cuda" or (device.type == "cpu" and rows * width <= CPU_LIMIT)


def _go(trainer: Trainer, runs: Sequence[Run], progress: RunProgress, guard: SignalGuard) -> list[FitResult]:
    resumed = [r.saved_step for r in runs if r.saved_step is not None]
    if resumed:
        progress.note(f"resuming {len(resumed)} of {len(runs)} seeds from step {min(resumed)}")
    for run in runs:
        run.begin()
    stack: _Stack | None = None
    for group in _groups(runs):
        if stack is None or stack.runs != group:
            stack = _Stack(trainer, group)
        stack.update()
        step = group[0].step
        progress.step(step)
        measured = [run.measure() for run in group]
        if measured[0][1]:
            progress.row(step, _summary([row for _, row in measured]))
        stop = guard.received is not None
        # All save together, so that after a kill they go on as the same stack.
        if stop or group[0].checkpoint_is_due() or any(r.checkpoint_is_old() for r in group) or any(b for b, _ in measured):
            for run, (improved, _) in zip(group, measured, strict=True):
                run.save(best=improved)
        if stop:
            for run in runs:
                run.end()
            raise group[0].interrupted(str(guard.received), Path(os.path.commonpath([r.run_dir for r in runs])))
    return [run.end() for run in runs]


def _groups(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Per update the unfinished runs that are furthest behind."""
    while unfinished := [r for r in runs if r.unfinished]:
        step = min(r.step for r in unfinished)
        yield [r for r in unfinished if r.step == step]


def _summary(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What the progress shows: means over seeds, and the samples of all of them."""
    summary = {k: sum(r[k] for r in rows) / len(rows) for k in rows[0]}
    rate = f"{TIMING}samples_per_second"
    return summary | ({rate: sum(r[rate] for r in rows)} if rate in summary else {})


class _Stack:
    """Runs at the same step as one model and one optimiser."""

    def __init__(self, trainer: Trainer, runs: Sequence[Run]) -> None:
        self.trainer, self.runs = trainer, runs
        self.fabric = trainer.fabric
        models = [r.model for r in runs]
        model = stack_models(models)
        self.optimizer = StackedOptimizer(model, models, [r.optimizer for r in runs])
        cuda = self.fabric.device.type == "cuda"
        self.compiled = trainer.compile is True or (trainer.compile == "auto" and cuda)
        if self.compiled:
            compile_model(model, self.fabric.device, graphs=trainer.accumulate == 1)
        problems = [r.problem for r in runs]
        self.losses = self.fabric.setup_module(_StackedLosses(model, problems), move_to_device=False)

    def update(self) -> None:
        """One optimiser update of every run."""
        accumulate, first = self.trainer.accumulate, self.runs[0]
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        for micro in range(accumulate):
            index = first.step * accumulate + micro
            seed_torch(step_seed(first.settings.seed, index, 0, STEP_STREAM), self.fabric.device)
            terms = self.losses(index)
            self.fabric.backward(terms["loss"].sum() / accumulate)
            if micro < accumulate - 1:
                for run, part in zip(self.runs, split_terms(terms), strict=True):
                    run.meter.add(run.step + 1, part)
        norms = clip_gradients(self.optimizer.parameters, self.trainer.grad_clip)
        self.optimizer.step()
        for run, part, norm in zip(self.runs, split_terms(terms), norms, strict=True):
            run.updated(part, norm)


class _StackedLosses(nn.Module):
    """The problems' losses on one batch, so that autocast covers the forward pass. Terms are ``(S,)``."""

    def __init__(self, model: nn.Module, problems: Sequence[Any]) -> None:
        super().__init__()
        self.model = model
        self._problems: Sequence[MaskedProblem] = problems

    def forward(self, step: int) -> dict[str, Tensor]:
        model, objective = self.model, self._problems[0].objective
        assert isinstance(model, SequenceModel)
        self._problems[0].tell(model, step)
        drawn = [p.draw(model.layout, step) for p in self._problems]
        terms, asked = objective.cells(model, join_windows([w for w, _ in drawn]), join_masks([m for _, m in drawn]))
        shape = (len(drawn), -1)  # (S * B, ...) -> (S, B, ...)
        apart = {n: {k: v.unflatten(0, shape) for k, v in parts.items()} for n, parts in terms.items()}
        return objective.reduce(model, apart, asked.unflatten(0, shape))


def join_windows(windows: Sequence[Window]) -> Window:
    """Windows of the same size, one after the other."""
    first = windows[0]
    values = {name: torch.cat([w.values[name] for w in windows]) for name in first.values}
    return Window(values, *(_cat([getattr(w, part) for w in windows]) for part in ("valid", "start", "known")))


def join_masks(masks: Sequence[MaskSet]) -> MaskSet:
    """Masks of the same attention, one after the other."""
    if len({m.attend for m in masks}) > 1:
        raise ConfigError("seeds of one stack must follow the same attention. Use trainer.stack_seeds=false")
    bounds = {m.max_visible for m in masks}
    bound = bounds.pop() if len(bounds) == 1 else None
    even = bound is not None and all(m.even for m in masks)
    visible, predict = torch.cat([m.visible for m in masks]), torch.cat([m.predict for m in masks])
    return MaskSet(visible, predict, masks[0].attend, bound, even)


def _cat(parts: Sequence[Tensor | None]) -> Tensor | None:
    return None if all(p is None for p in parts) else torch.cat([p for p in parts if p is not None])
