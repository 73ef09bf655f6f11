"""Several seeds of one training as one result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, variance

from maskbench.errors import DataError
from maskbench.reports.collect import RolloutResult, Run, TaskLoss
from maskbench.reports.tables import Measured

#: Half the width of a 95 % interval in standard errors.
_Z = 1.96


def over_seeds(runs: Sequence[Run]) -> Run:
    """Means over seeds of task losses and rollouts, with intervals; of one seed its own.

    The standard error adds the spread over seeds to what the finite evaluation contributes: all seeds of a training answer
    the same questions, so that averaging over seeds does not make those any fewer. Raises DataError for no runs.
    """
    if not runs:
        raise DataError("no runs to average")
    folder = runs[0].folder.parent if len(runs) > 1 else runs[0].folder
    losses = [
        _mean_loss([x for run in runs for x in run.task_losses if (x.task, x.factor) == key])
        for key in dict.fromkeys((x.task, x.factor) for run in runs for x in run.task_losses)
    ]
    rollouts = [
        _mean_rollout([x for run in runs for x in run.rollouts if (x.query, x.policy, x.metric) == key])
        for key in dict.fromkeys((x.query, x.policy, x.metric) for run in runs for x in run.rollouts)
    ]
    return Run(Path(folder), config=runs[0].config, task_losses=tuple(losses), rollouts=tuple(rollouts))


def acted(runs: Sequence[Run], query: str, metric: str = "return") -> Measured:
    """How the models of several seeds did under a query. Raises DataError where none of them was asked it."""
    asked = (r for r in over_seeds(runs).rollouts if (r.query, r.policy, r.metric) == (query, "model", metric))
    found = next(asked, None)
    if found is None:
        raise DataError(f"{runs[0].folder} has no rollouts of query '{query}' that measure '{metric}'")
    return Measured(found.value, found.low, found.high)


def spread(values: Sequence[float], errors: Sequence[float], shared: bool) -> tuple[float, float]:
    """Mean over seeds and its standard error; ``errors`` ``shared`` between seeds (same questions) do not average out."""
    own = fmean(e * e for e in errors) / (1 if shared else len(errors))
    between = variance(values) / len(values) if len(values) > 1 else 0.0
    return fmean(values), math.sqrt(own + between)


def _mean_loss(rows: Sequence[TaskLoss]) -> TaskLoss:
    if len(rows) == 1:
        return rows[0]
    mean, error = spread([r.loss for r in rows], [(r.high - r.low) / (2 * _Z) for r in rows], shared=True)
    floors = [r.floor for r in rows if r.floor is not None]
    floor = fmean(floors) if len(floors) == len(rows) else None
    return replace(rows[0], loss=mean, low=mean - _Z * error, high=mean + _Z * error, floor=floor)


def _mean_rollout(rows: Sequence[RolloutResult]) -> RolloutResult:
    if len(rows) == 1:
        return rows[0]  # whose interval need not lie evenly about the mean
    widths = [0.0 if math.isnan(r.low) else (r.high - r.low) / (2 * _Z) for r in rows]
    mean, error = spread([r.value for r in rows], widths, shared=False)
    n = sum(r.n for r in rows)
    return replace(rows[0], value=mean, low=mean - _Z * error, high=mean + _Z * error, n=n)
