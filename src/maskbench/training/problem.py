"""What the trainer is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

OptimizerFactory = Callable[[nn.Module], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]


class Problem(Protocol):
    """What is learned.

    batch_size: samples in one call of ``losses`` on one process.
    ``data_seconds`` may exist as well: seconds spent so far waiting for data, for the data-wait share in ``timing.csv``.
    """

    batch_size: int

    def losses(self, model: nn.Module, step: int, rank: int = 0) -> dict[str, Tensor]:
        """Scalar terms of micro-step ``step`` (counted from 0; ``accumulate`` of them make an update).

        A pure function of the parameters, ``step``, ``rank`` and torch's global generator. ``loss`` is differentiated;
        the other terms are logged. Every process must return the same names.
        """
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Numbers on fixed, seeded data and masks; ``loss`` selects the best checkpoint. Called without gradients, in
        evaluation mode, on the first process."""
        ...


@dataclass(frozen=True)
class FitResult:
    """What a run came to.

    step:    updates done; less than ``num_steps`` after an early stop.
    best_loss, best_step: the lowest validation loss and its step; None without validation.
    seconds: wall-clock seconds, validation and resumed parts included.
    samples_per_second: training samples of all processes per second of training alone, in this process's lifetime.
    """

    step: int
    best_loss: float | None
    best_step: int | None
    seconds: float
    samples_per_second: float
