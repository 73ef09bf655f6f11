"""Statistics of rollout records: every number with its definition, its interval and what it was computed from.

Metrics consume the events that environments report in the step where they happen; nothing is derived afterwards from
observation streams, where an automatic reset hides the very state that ended the episode.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from maskbench.errors import ConfigError
from maskbench.trajectory import EpisodeRecord

#: Metrics whose median is reported beside their mean.
_DISTANCES = {
    "goal_distance": "smallest distance to the goal after any action",
    "final_goal_distance": "distance to the goal after the last action",
    "waypoint_distance": "mean distance to the waypoints at their times",
}
#: Modes that get a row of their own, the most frequent ones; entropy and coverage count all.
LISTED_MODES = 24
#: Events of this prefix name the mode (route, ordering) of demonstrations that an episode follows.
MODE_PREFIX = "route:"


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval; ``low`` and ``high`` are NaN where the sample admits none. ``n`` = sample size."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class MetricRow:
    """One number of a result table; the columns of ``evaluation/rollouts.csv``.

    seeds: digest of the environment and policy seeds of the episodes, equal where two rows played the same plan.
    """

    query: str
    policy: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    definition: str
    seeds: str
    config_hash: str
    dataset_hash: str


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Success rate with its Wilson score interval (Wilson 1927). Raises ConfigError unless 0 <= successes <= n and n > 0."""
    if not 0 <= successes <= n or n == 0:
        raise ConfigError(f"a rate needs 0 <= successes <= n and n > 0; found {successes} of {n}")
    from scipy.stats import binomtest

    found = binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(successes / n, float(found.low), float(found.high), n)


def bootstrap_mean(values: Sequence[float] | np.ndarray, seed: int = 0, level: float = 0.95) -> Interval:
    """Mean with its BCa bootstrap interval (Efron 1987)."""
    return _bootstrap(values, np.mean, "BCa", seed, level)


def bootstrap_median(values: Sequence[float] | np.ndarray, seed: int = 0, level: float = 0.95) -> Interval:
    """Median with its percentile bootstrap interval (BCa's jackknife fails for medians)."""
    return _bootstrap(values, np.median, "percentile", seed, level)


def paired_difference(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, seed: int = 0, level: float = 0.95
) -> Interval:
    """Mean of ``a - b`` over pairs (the same plan rows) with its bootstrap interval: excludes 0 where they differ."""
    if len(a) != len(b):
        raise ConfigError(f"a paired comparison needs as many values on both sides; found {len(a)} and {len(b)}")
    return bootstrap_mean(np.asarray(a, np.float64) - np.asarray(b, np.float64), seed, level)


def summarise(
    records: Sequence[EpisodeRecord],
    policy: str = "",
    *,
    level: float = 0.95,
    seed: int = 0,
    known_modes: Sequence[str] = (),
    config_hash: str = "",
    dataset_hash: str = "",
) -> list[MetricRow]:
    """All statistics of ``records``, one group of rows a query in the order of appearance.

    known_modes: modes of the demonstrations (without the prefix); brings ``mode_coverage``, the fraction of them that is
                 followed at least once.
    Raises ConfigError where there are no records.
    """
    if not records:
        raise ConfigError("no rollout records to summarise")
    rows = []
    for query in dict.fromkeys(r.query for r in records):
        group = [r for r in records if r.query == query]
        digest = hashlib.sha256(repr([(r.row, r.env_seed, r.policy_seed) for r in group]).encode()).hexdigest()[:16]
        for metric, definition, found in _statistics(group, level, seed, known_modes):
            numbers = (found.value, found.low, found.high, found.n)
            rows.append(MetricRow(query, policy, metric, *numbers, definition, digest, config_hash, dataset_hash))
    return rows


def write_metrics(rows: Sequence[MetricRow], path: Path | str) -> None:
    """Writes ``evaluation/rollouts.csv``; a bound that does not exist is an empty cell."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(MetricRow)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            cells = asdict(row).items()
            writer.writerow({k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in cells})
    os.replace(temporary, path)


def _statistics(
    records: Sequence[EpisodeRecord], level: float, seed: int, known_modes: Sequence[str]
) -> Iterator[tuple[str, str, Interval]]:
    def mean(values: Sequence[float]) -> Interval:
        return bootstrap_mean(values, seed, level)

    yield "return", "sum of rewards, mean over episodes", mean([r.episode_return for r in records])
    judged = [r.success for r in records if r.success is not None]
    if judged:
        yield "success", "fraction of episodes with a success event", wilson(sum(judged), len(judged), level)
    yield "length", "executed actions, mean over episodes", mean([r.length for r in records])
    for name in dict.fromkeys(name for r in records for name in r.metrics):
        values = [r.metrics[name] for r in records if name in r.metrics]
        if name == "waypoints_hit":
            yield name, "share of an episode's waypoints that it passes at their times, mean over episodes", mean(values)
        elif name in _DISTANCES:
            what = _DISTANCES[name]
            yield name, f"{what}, mean over episodes", mean(values)
            yield f"{name}_median", f"{what}, median over episodes", bootstrap_median(values, seed, level)
        else:
            yield name, f"{name}, mean over episodes", mean(values)
    happened = Counter(name for r in records for name in {name for _, name in r.events})
    for name in sorted(happened):
        if not name.startswith(MODE_PREFIX):
            rate = wilson(happened[name], len(records), level)
            yield f"event:{name}", f"fraction of episodes in which '{name}' happens", rate
    yield from _modes(records, level, known_modes)


def _modes(records: Sequence[EpisodeRecord], level: float, known: Sequence[str]) -> Iterator[tuple[str, str, Interval]]:
    """Which demonstrated modes the episodes follow; the mode of an episode is the sequence of its mode events."""
    modes = Counter(mode_of(r) for r in records)
    followed = {mode: count for mode, count in modes.items() if mode}
    if not followed and not known:
        return
    listed = sorted(followed, key=lambda mode: (-followed[mode], mode))[:LISTED_MODES]
    for mode in sorted({*listed, *known}):
        yield f"mode:{mode}", f"fraction of episodes that follow mode '{mode}'", wilson(modes[mode], len(records), level)
    none = wilson(modes[""], len(records), level)
    yield "mode:none", "fraction of episodes that follow no mode", none
    counts = np.array(list(followed.values()), np.float64)
    shares = counts / counts.sum()
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0
    total = int(counts.sum())
    text = "Shannon entropy in bits over the modes of episodes that follow one"
    yield "mode_entropy", text, Interval(entropy if total else math.nan, math.nan, math.nan, total)
    if known:
        share = len(set(known) & set(followed)) / len(set(known))
        text = "fraction of the demonstrated modes that is followed at least once"
        yield "mode_coverage", text, Interval(share, math.nan, math.nan, len(records))


def mode_of(record: EpisodeRecord) -> str:
    """Names of the record's mode events in order, joined by ``>``; empty where it follows none."""
    return ">".join(name.removeprefix(MODE_PREFIX) for _, name in record.events if name.startswith(MODE_PREFIX))


def _bootstrap(
    values: Sequence[float] | np.ndarray, statistic: Callable[..., np.ndarray], method: str, seed: int, level: float
) -> Interval:
    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or len(sample) == 0:
        raise ConfigError(f"an interval needs a one-dimensional sample of at least one value; found shape {sample.shape}")
    value, n = float(statistic(sample)), len(sample)
    if n == 1 or not np.isfinite(sample).all():
        return Interval(value, math.nan, math.nan, n)
    if np.ptp(sample) == 0.0:
        return Interval(value, value, value, n)
    from scipy.stats import bootstrap

    found = bootstrap(
        (sample,),
        statistic,
        n_resamples=9999,
        batch=max(1, 2_000_000 // n),
        vectorized=True,
        axis=-1,
        confidence_level=level,
        method=method,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high), n)
