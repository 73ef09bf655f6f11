"""What the trainer optimises: windows of a data set under the masks of a scheme."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

from torch import Tensor, nn

from maskbench.data.windows import WindowSampler
from maskbench.masking.scheme import MaskScheme, MaskSet
from maskbench.models.objective import Objective
from maskbench.models.sequence import SequenceModel, unwrap
from maskbench.tokens.layout import TokenLayout
from maskbench.training.bank import TaskBank
from maskbench.training.seeding import step_generator
from maskbench.trajectory import Window


class Batches(Protocol):
    """Training windows as a pure function of the step (``data.windows.WindowSampler``)."""

    def batch(self, step: int) -> Window: ...

    def with_seed(self, seed: int) -> Batches: ...


class Epochs:
    """The same windows pass after pass, each once per pass in an order of its own; still a function of the step."""

    def __init__(self, sampler: WindowSampler) -> None:
        self.sampler = sampler
        self._next = -1
        self._windows: Iterator[Window] = iter(())

    def with_seed(self, seed: int) -> Epochs:
        return Epochs(self.sampler.with_seed(seed))

    def batch(self, step: int) -> Window:
        epoch, inside = divmod(step, self.sampler.steps_per_epoch)
        if step != self._next or inside == 0:
            self._windows = self.sampler.epoch_batches(epoch, inside)
        self._next = step + 1
        return next(self._windows)


class Alternating:
    """A batch of complete episodes, then ``ratio`` batches of episodes that lack a factor, and so on (MTM's ``tsp_ratio``)."""

    def __init__(self, complete: Batches, lacking: Batches, ratio: int) -> None:
        self.complete, self.lacking, self.ratio = complete, lacking, ratio

    def with_seed(self, seed: int) -> Alternating:
        return Alternating(self.complete.with_seed(seed), self.lacking.with_seed(seed), self.ratio)

    def batch(self, step: int) -> Window:
        return (self.lacking if step % (self.ratio + 1) else self.complete).batch(step)


class MaskedProblem:
    """Draws step ``n``'s windows and masks from ``(seed, n)`` alone, so that a resumed run sees what it would have seen.

    bank:  validation windows under the training scheme (as ``scheme``, which selects the best checkpoint) and under named
           tasks.
    world: processes that train together; each sees batches of its own.
    num_steps: micro-steps of the whole training, where heads want to know how far it is.
    """

    def __init__(
        self,
        batches: Batches,
        scheme: MaskScheme,
        objective: Objective,
        bank: TaskBank,
        batch_size: int,
        seed: int,
        world: int = 1,
        num_steps: int | None = None,
    ) -> None:
        self.batches, self.scheme, self.objective, self.bank = batches, scheme, objective, bank
        self.batch_size, self.seed, self.world, self.num_steps = batch_size, seed, world, num_steps
        self.data_seconds = 0.0

    def with_seed(self, seed: int) -> MaskedProblem:
        """The same problem and validation bank; windows and masks of another seed."""
        batches = self.batches.with_seed(seed)
        return MaskedProblem(batches, self.scheme, self.objective, self.bank, self.batch_size, seed, self.world, self.num_steps)

    def losses(self, model: nn.Module, step: int, rank: int = 0) -> dict[str, Tensor]:
        """``loss`` and the detached terms behind it for optimiser step ``step``."""
        inner = unwrap(model)
        self.tell(inner, step)
        return self.objective(model, *self.draw(inner.layout, step, rank))

    def tell(self, model: SequenceModel, step: int) -> None:
        """Tells the heads how much of the training is done."""
        if self.num_steps is not None:
            for name in model.outputs:
                model.head(name).progress(step / self.num_steps)

    def draw(self, layout: TokenLayout, step: int, rank: int = 0) -> tuple[Window, MaskSet]:
        """Windows and masks of a step."""
        began = time.perf_counter()
        window = self.batches.batch(step * self.world + rank)
        self.data_seconds += time.perf_counter() - began
        device = next(iter(window.values.values())).device
        generator = step_generator(self.seed, step, rank, device)
        return window, self.scheme.sample(generator, window.batch, layout.with_length(window.length), step)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Losses on the bank: ``loss`` under the training scheme, ``<task>/<factor>`` under each named task."""
        rows = self.bank.losses(model, self.objective)
        logs = {f"{r.task}/{r.factor}": r.loss for r in rows if r.task != "scheme"}
        return {"loss": next(r.loss for r in rows if (r.task, r.factor) == ("scheme", "total")), **logs}
