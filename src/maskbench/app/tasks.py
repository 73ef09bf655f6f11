"""Losses of a trained model on every named task, beside the lowest loss that is possible."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from maskbench.app.experiment import Model
from maskbench.masking.scheme import MaskScheme, MaskSet
from maskbench.masking.tasks import TASKS
from maskbench.models.heads.regression import RegressionHead
from maskbench.models.objective import Objective
from maskbench.training.bank import Asked, TaskBank, TaskLoss
from maskbench.trajectory import Factor, Window


@dataclass(frozen=True)
class TaskRow:
    """One measured loss and its floor, where the environment knows it."""

    loss: TaskLoss
    floor: float | None


def possible_tasks(model: Model, names: Sequence[str]) -> list[str]:
    """The named tasks that the model's attention and factors can answer."""
    scheme, outputs = model.scheme, model.network.outputs
    fitting = [n for n in names if Asked.possible(n, scheme.attend, scheme.returns, scheme.hides)]
    asked = {n: {f.name for f in model.layout.spec if f.role in ASKS[n]} for n in fitting}
    return [n for n in fitting if asked[n] & set(outputs)]


#: Roles that a task predicts.
ASKS = {
    **dict.fromkeys(TASKS, ("action",)),
    "past": ("state", "action"),
    "future": ("state", "action"),
    "forward_dynamics": ("state",),
    "inverse_dynamics": ("state",),
    "last_state": ("state",),
}


def build_bank(model: Model, window: Window, names: Sequence[str], seed: int, with_scheme: bool = False) -> TaskBank:
    """Fixed masks for ``window``; ``with_scheme`` adds the training scheme itself under ``scheme``."""
    schemes: dict[str, MaskScheme] = {"scheme": model.scheme} if with_scheme else {}
    scheme = model.scheme
    schemes |= {n: Asked(n, scheme.attend, scheme.returns) for n in possible_tasks(model, names)}
    return TaskBank.build(window, schemes, model.layout, seed)


def measure(model: Model, bank: TaskBank) -> list[TaskRow]:
    """All losses of the bank with their floors; every factor that training weighs at all counts with weight 1."""
    silent = [n for n in model.layout.spec.names if model.objective.weight(model.network, n) == 0]
    losses = bank.losses(model.network, Objective(dict.fromkeys(silent, 0.0)))
    floors = {task: _floor(model, bank.window, masks) for task, masks in bank.masks.items()}
    return [TaskRow(r, floors[r.task].get(r.factor)) for r in losses]


def _floor(model: Model, window: Window, masks: MaskSet) -> dict[str, float]:
    """The environment's floors for exactly these windows and masks; cells that are no part of the loss are not asked."""
    if window.valid is not None or model.origin != "generated" or not all(_measurable(model, f) for f in model.layout.spec):
        return {}
    counted = torch.tensor([model.objective.weight(model.network, n) != 0 for n in model.layout.spec.names])
    counted = counted & model.network.readable(model.layout, masks.attend)
    values = {n: v.cpu().numpy() for n, v in window.values.items()}
    visible, predict = (np.asarray(m.cpu()) for m in (masks.visible, masks.predict & counted.to(masks.predict.device)))
    floors = model.environment.floor(values, visible, predict, model.layout.spec.names) or {}
    return {name: round(value, 9) for name, value in floors.items()}


def _measurable(model: Model, factor: Factor) -> bool:
    """Whether the loss of a factor is a log-likelihood of classes, or the squared error in the environment's own units."""
    head = model.network.head(factor.name) if factor.name in model.network.outputs else None
    if factor.kind == "discrete":
        return getattr(head, "focal_gamma", 0.0) == 0
    plain = head is None or (isinstance(head, RegressionHead) and head.target == "raw")
    return plain and factor.name == factor.parent and factor.name not in model.normaliser.modes


def write_task_losses(rows: Sequence[TaskRow], path: Path) -> None:
    """``evaluation/task_losses.csv``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["task", "factor", "loss", "low", "high", "n", "floor"])
        for row in rows:
            r = row.loss
            floor = "" if row.floor is None else repr(row.floor)
            writer.writerow([r.task, r.factor, repr(r.loss), repr(r.low), repr(r.high), r.n, floor])
