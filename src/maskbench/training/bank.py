"""Fixed questions for a model: the same windows under the same masks at every validation, so that losses compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from maskbench.masking.scheme import MaskScheme, MaskSet, Returns
from maskbench.masking.tasks import TASKS, NamedTask
from maskbench.models.objective import Objective
from maskbench.models.sequence import unwrap
from maskbench.tokens.layout import Attend, TokenLayout
from maskbench.trajectory import Window

#: Resamples of the bootstrap intervals.
RESAMPLES = 400
#: Random streams of one seed; fixed, so that a further task leaves the masks of the others as they are.
_STREAMS = 9


@dataclass(frozen=True)
class TaskLoss:
    """Mean loss over the cells that a task asks for, with a 95 % bootstrap interval over windows."""

    task: str
    factor: str
    loss: float
    low: float
    high: float
    n: int


class Asked(MaskScheme):
    """A named task as a model of the given attention can be asked it.

    Causal models answer under the same masks as bidirectional ones, so that their losses compare, though they cannot use
    what lies ahead. A model that saw every return-to-go in training is shown those of the visible timesteps.
    """

    def __init__(self, name: str, attend: Attend, returns: Returns) -> None:
        self.task, self.attend, self.returns = NamedTask(name), attend, returns

    @staticmethod
    def possible(name: str, attend: Attend, returns: Returns, hides: bool = False) -> bool:
        """Whether such a model can answer the task at all. A causal model that always saw the whole past answers ``bc`` and,
        where it saw returns, ``return``; one that learned with hidden cells (``hides``) answers everything."""
        return attend == "bidirectional" or hides or name == "bc" or (name == "return" and returns != "none")

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        masks = replace(self.task.sample(generator, batch, layout), attend=self.attend)
        if self.task.name == "return" and self.returns in ("all", "all_half"):
            seen = masks.visible[:, :, list(layout.columns("state"))].any(-1)
            masks.visible[:, :, list(layout.columns("return"))] = seen[..., None]
        return masks


@dataclass(frozen=True)
class TaskBank:
    """Windows and, per task, masks. Build one with ``TaskBank.build``; it never changes afterwards."""

    window: Window
    masks: Mapping[str, MaskSet]

    @classmethod
    def build(cls, window: Window, schemes: Mapping[str, MaskScheme], layout: TokenLayout, seed: int) -> TaskBank:
        """Draws one mask per window and scheme from a generator of its own; a scheme's masks do not depend on the others."""
        masks = {}
        for name, scheme in schemes.items():
            key = seed * _STREAMS + (list(TASKS).index(name) % _STREAMS if name in TASKS else 0)
            generator = Generator(next(iter(window.values.values())).device).manual_seed(key)
            masks[name] = scheme.sample(generator, window.batch, layout.with_length(window.length)).within(window)
        return cls(window, masks)

    def losses(self, model: nn.Module, objective: Objective, chunk: int = 512) -> list[TaskLoss]:
        """Losses of every task, per factor and as ``total`` (the sum over factors of their means)."""
        rows: list[TaskLoss] = []
        was_training = model.training
        model.eval()
        with torch.no_grad():
            for name, masks in self.masks.items():
                rows += _intervals(name, *self._sums(model, objective, masks, chunk))
        model.train(was_training)
        return rows

    def _sums(self, model: nn.Module, objective: Objective, masks: MaskSet, chunk: int) -> tuple[list[str], Tensor, Tensor]:
        """Factor names, and per window the summed loss and the count of asked cells, each ``(n, F')`` float64."""
        layout = unwrap(model).layout
        summed, counts, names = [], [], []
        for rows in torch.arange(self.window.batch).split(chunk):
            part = replace(masks.rows(rows), max_visible=None)
            terms, asked = objective.cells(model, self.window.rows(rows), part)
            names = list(terms)
            cells = [asked[:, :, layout.column(n)] for n in names]
            loss = [torch.stack(list(terms[n].values())).sum(0) for n in names]
            summed.append(
                torch.stack([torch.where(c, v, 0.0).cpu().double().sum(1) for c, v in zip(cells, loss, strict=True)], 1)
            )
            counts.append(torch.stack([c.sum(1).cpu().double() for c in cells], 1))
        return names, torch.cat(summed), torch.cat(counts)


def _intervals(task: str, names: list[str], summed: Tensor, counts: Tensor) -> list[TaskLoss]:
    asked = [i for i in range(len(names)) if counts[:, i].sum() > 0]
    if not asked:
        return []
    s, c = summed[:, asked].cpu(), counts[:, asked].cpu()
    n = len(s)
    generator = Generator().manual_seed(0)
    weights = torch.stack(
        [torch.bincount(torch.randint(n, (n,), generator=generator), minlength=n).double() for _ in range(RESAMPLES)]
    )
    means = s.sum(0) / c.sum(0)
    spread = (weights @ s) / (weights @ c).clamp(min=1)  # (RESAMPLES, F')
    bounds = torch.tensor([0.025, 0.975], dtype=torch.float64)

    def row(factor: str, value: Tensor, samples: Tensor, count: Tensor) -> TaskLoss:
        low, high = samples.quantile(bounds).tolist()
        return TaskLoss(task, factor, float(value), low, high, int(count))

    rows = [row(names[i], means[j], spread[:, j], c[:, j].sum()) for j, i in enumerate(asked)]
    return [*rows, row("total", means.sum(), spread.sum(1), c.sum())]
