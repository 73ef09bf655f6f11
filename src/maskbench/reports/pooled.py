"""One number for several seeds of the same run: episodes pooled, the interval over seeds and episodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskbench.errors import DataError
from maskbench.reports.tables import Measured

#: Resamples of the bootstrap.
RESAMPLES = 2000


def episode_values(run_dir: Path | str, query: str, metric: str = "episode_return") -> np.ndarray:
    """``(n,)`` one number per rollout of a query: ``episode_return``, ``success``, or one of the environment's metrics.

    Raises DataError where the run has no such rollouts, or a rollout no such number.
    """
    path = Path(run_dir) / "evaluation" / query / "records.jsonl"
    if not path.is_file():
        raise DataError(f"no rollouts of query '{query}' at {path}")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = [row.get(metric, row["metrics"].get(metric)) for row in rows]
    if any(value is None for value in found):
        raise DataError(f"{path}: a rollout has no '{metric}'; found {sorted({*rows[0], *rows[0]['metrics']})}")
    return np.array(found, float)


def over_seeds(run_dirs: Sequence[Path | str], query: str, metric: str = "episode_return", seed: int = 0) -> Measured:
    """Mean over runs that differ in their seed, with the 95 % percentile interval of a bootstrap that draws runs, then
    episodes inside each."""
    values = [episode_values(run, query, metric) for run in run_dirs]
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        chosen = rng.integers(len(values), size=len(values))
        means[i] = np.mean([rng.choice(values[run], len(values[run])).mean() for run in chosen])
    low, high = np.quantile(means, [0.025, 0.975])
    return Measured(float(np.mean([v.mean() for v in values])), float(low), float(high))
