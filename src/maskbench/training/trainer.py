"""The training loop. It knows nothing of masks or trajectories: a ``Problem`` turns a model and a step into losses.

    step s:  seed torch by (seed, s, rank) -> problem.losses -> backward -> clip -> optimiser -> schedule -> EMA
             every log_every:        one device-to-host transfer, one row in metrics.csv
             every validate_every:   problem.validate with the EMA weights; the lowest 'loss' is the best checkpoint
             every checkpoint_every: one atomic checkpoint

On a CPU, a run that was killed at any moment and resumed ends with the same bytes in its weights and in ``metrics.csv`` as
one that was never interrupted; on one GPU the same holds with ``deterministic=True``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import nn

from maskbench.errors import ConfigError, did_you_mean
from maskbench.memory import keep_freed_memory
from maskbench.training import checkpoint
from maskbench.training.interrupt import SignalGuard
from maskbench.training.loggers import Logger
from maskbench.training.problem import FitResult, OptimizerFactory, Problem, SchedulerFactory
from maskbench.training.run import Run


@dataclass
class Trainer:
    """Settings of a run; ``fit`` runs it.

    num_steps:        optimiser updates.
    device:           ``auto`` takes CUDA, then MPS, then the CPU.
    precision:        ``bf16`` is autocast with fp32 weights.
    threads:          torch threads a process. One is best on shared CPUs; if you raise it there, start python with
                      ``OMP_WAIT_POLICY=PASSIVE`` (read once, at start). None leaves torch's choice.
    grad_clip:        largest gradient norm.
    accumulate:       micro-batches per update; gradients are averaged.
    ema_decay:        validate and evaluate with averaged weights.
    validate_every:   in steps, also before the first and after the last; None never validates.
    checkpoint_every, checkpoint_seconds: whichever comes first; the end, an interruption and a new best always save.
    compile:          ``auto`` compiles on CUDA (with CUDA graphs on one device without accumulation), not elsewhere. ``True``
                      on a CPU compiles the transformers in training, which takes a C++ compiler and 20 to 50 seconds; it pays
                      for long runs in bf16.
    strategy, devices: ``ddp`` on several devices; each process holds a replica and calls ``losses`` with its rank.
    early_stop_patience: validations without improvement before the run ends.
    profile:          writes ``profile.txt``, the costliest operations of a few steps.
    """

    num_steps: int
    _: KW_ONLY
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int | None = 1
    grad_clip: float | None = None
    accumulate: int = 1
    ema_decay: float | None = None
    validate_every: int | None = None
    checkpoint_every: int | None = None
    checkpoint_seconds: float | None = 600.0
    log_every: int = 100
    compile: bool | Literal["auto"] = "auto"
    deterministic: bool = False
    strategy: Literal["auto", "ddp"] = "auto"
    devices: int = 1
    early_stop_patience: int | None = None
    keep_best: bool = True
    profile: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        for name, valid in (
            ("device", ("auto", "cpu", "cuda", "mps")),
            ("precision", ("fp32", "bf16")),
            ("strategy", ("auto", "ddp")),
            ("compile", (True, False, "auto")),
        ):
            if getattr(self, name) not in valid:
                found = str(getattr(self, name))
                raise ConfigError(f"trainer {name}='{found}' is unknown. {did_you_mean(found, map(str, valid))}")
        counts = ("num_steps", "accumulate", "log_every", "devices")
        optional = ("threads", "validate_every", "checkpoint_every", "early_stop_patience", "grad_clip", "checkpoint_seconds")
        for name in (*counts, *(n for n in optional if getattr(self, n) is not None)):
            if getattr(self, name) <= 0:
                raise ConfigError(f"trainer {name} must be positive; found {getattr(self, name)}")
        if self.early_stop_patience is not None and self.validate_every is None:
            raise ConfigError("early_stop_patience counts validations, but validate_every is not set: set it")
        for name, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
            if self.device == name and not there:
                raise ConfigError(f"device='{name}' is not available on this machine: use device=auto or device=cpu")
        gpus = torch.cuda.device_count() if self.device in ("auto", "cuda") else 0
        if (gpus or self.device == "mps") and self.devices > max(gpus, 1):
            raise ConfigError(f"devices={self.devices} asks for more than the {max(gpus, 1)} that this machine has")

    @cached_property
    def fabric(self) -> Fabric:
        """Device, precision and processes. The first use with ``devices > 1`` starts the other processes, which run the
        program's command line anew: use it before creating anything that only one process should create."""
        several = self.devices > 1 or self.strategy == "ddp"
        fabric = Fabric(
            accelerator="auto" if self.device == "auto" else self.device,
            devices=self.devices,
            # Heads of variables that a scheme does not ask for get no gradient, which plain DDP refuses.
            strategy="ddp_find_unused_parameters_true" if several else "auto",
            precision="bf16-mixed" if self.precision == "bf16" else "32-true",
        )
        fabric.launch()
        return fabric

    def fit(
        self,
        model: nn.Module,
        problem: Problem,
        optimizer_factory: OptimizerFactory,
        scheduler_factory: SchedulerFactory | None,
        run_dir: str | Path,
        loggers: Sequence[Logger] = (),
        extra_state: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> FitResult:
        """Trains ``model`` in place and leaves checkpoints, ``metrics.csv`` and ``timing.csv`` in ``run_dir``.

        Modules keep the training or evaluation mode they come in (a frozen encoder stays in evaluation mode).
        extra_state: JSON kept in every checkpoint (configuration, specification, normaliser ...), under ``extra``.
        loggers:     used on the first process and closed at the end, besides the CSV files, which are always written.
        resume:      go on from ``last``; start from the beginning if there is none yet.

        Raises ConfigError if the folder already holds a run and ``resume`` is not set, DataError for a broken checkpoint,
        Diverged for a loss that is not a number, Interrupted after SIGINT or SIGTERM (whole step done, checkpoint saved).
        """
        run_dir = Path(run_dir)
        saved = self.saved_state(run_dir, resume)
        with ExitStack() as stack:
            stack.enter_context(self.process_settings())
            guard = stack.enter_context(SignalGuard())
            run = Run(self, model, problem, optimizer_factory, scheduler_factory, run_dir, saved, extra_state or {})
            if run.first_process:
                run.attach(loggers, stack)
            return run.go(guard)

    def saved_state(self, run_dir: Path, resume: bool) -> dict[str, Any] | None:
        """What ``last`` says of a run to go on with, None for a new one. Raises ConfigError as ``fit`` does."""
        if not checkpoint.exists(run_dir):
            return None
        state = checkpoint.load_trainer_state(run_dir)
        if not resume:
            raise ConfigError(f"{run_dir} already holds a run (step {state['step']}): set resume=True or name another folder")
        if state["seed"] != self.seed:
            raise ConfigError(f"the run in {run_dir} has seed {state['seed']}, not {self.seed}: resume with its own seed")
        return state

    @contextmanager
    def process_settings(self) -> Iterator[None]:
        """Threads and determinism as set here; afterwards as they were. On CPUs freed memory is kept, for good."""
        if self.fabric.device.type == "cpu":
            keep_freed_memory()
        threads = torch.get_num_threads()
        deterministic = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
