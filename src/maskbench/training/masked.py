"""What the trainer optimises: windows of a data set under the masks of a scheme."""

from __future__ import annotations

import time
from typing import Protocol

import torch
from torch import Tensor, nn

from maskbench.masking.scheme import MaskScheme
from maskbench.models.objective import Objective
from maskbench.models.sequence import unwrap
from maskbench.training.bank import TaskBank
from maskbench.trajectory import Window


class Batches(Protocol):
    """Training windows as a pure function of the step (``data.windows.WindowSampler``)."""

    def batch(self, step: int) -> Window: ...


class MaskedProblem:
    """Draws step ``n``'s windows and masks from ``(seed, n)`` alone, so that a resumed run sees what it would have seen.

    bank: validation windows under the training scheme and under each named task; its ``scheme`` entry selects the best
          checkpoint.
    """

    def __init__(
        self, batches: Batches, scheme: MaskScheme, objective: Objective, bank: TaskBank, batch_size: int, seed: int
    ) -> None:
        self.batches, self.scheme, self.objective, self.bank = batches, scheme, objective, bank
        self.batch_size, self.seed = batch_size, seed
        self.data_seconds = 0.0

    def losses(self, model: nn.Module, step: int, rank: int = 0) -> dict[str, Tensor]:
        """``loss`` and the detached terms behind it for optimiser step ``step``."""
        began = time.perf_counter()
        window = self.batches.batch(step)
        self.data_seconds += time.perf_counter() - began
        device = next(iter(window.values.values())).device
        generator = torch.Generator(device).manual_seed(((self.seed << 40) ^ (rank << 32) ^ step) & (2**63 - 1))
        masks = self.scheme.sample(generator, window.batch, unwrap(model).layout, step)
        return self.objective(model, window, masks)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Losses on the bank: ``loss`` under the training scheme, ``<task>/<factor>`` under each named task."""
        rows = self.bank.losses(model, self.objective)
        logs = {f"{r.task}/{r.factor}": r.loss for r in rows}
        return {"loss": logs["scheme/total"], **logs}
