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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from maskbench.envs.base import Measure
from maskbench.errors import ConfigError
from maskbench.trajectory import EpisodeRecord

#: What an environment makes of a group of records (``Environment.measures`` under one version).
Measures = Callable[[Sequence[EpisodeRecord]], Iterator[Measure]]

#: Metrics whose median is reported beside their mean.
_DISTANCES = {
    "goal_distance": "smallest distance to the goal after any action",
    "goal_distance_scaled": "smallest distance to the goal after any action, each dimension in deviations of the training data",
    "final_goal_distance": "distance to the goal after the last action",
    "waypoint_distance": "mean distance to the waypoints at their times",
    "goal_distance_early": "smallest distance to the goal, of starts in the first 100 steps of their episode",
    "goal_distance_late": "smallest distance to the goal, of later starts",
    **{f"waypoint_{i}": f"smallest distance to goal {i} of several, over the states that the plan judges" for i in range(1, 6)},
}
#: Metrics of which the mean alone is.
_OTHERS = {
    "waypoints_hit": "share of an episode's waypoints that it passes at their times",
    "goal_parts": "parts (tasks, pushes, routes) of the demonstration that ends in the goal which the episode repeats",
}
#: Modes that get a row of their own, the most frequent ones; entropy and coverage count all.
LISTED_MODES = 24
#: Events of this prefix name the mode (route, ordering) of demonstrations that an episode follows.
MODE_PREFIX = "route:"
#: Bootstrap resamples of entropies; random subsets of ``subset_entropy`` (the number of the original authors) and their size.
RESAMPLES, SUBSETS, SUBSET = 2000, 5000, 100


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
    events: Collection[str] | None = None,
    known_modes: Collection[str] | Mapping[str, int] = (),
    measures: Measures | None = None,
    config_hash: str = "",
    dataset_hash: str = "",
) -> list[MetricRow]:
    """All statistics of ``records``, one group of rows a query in the order of appearance.

    events:      events that get a rate, also where they never happen; None = those that happen.
    known_modes: modes of the demonstrations (without the prefix); brings ``mode_coverage``, the fraction of them that is
                 followed at least once, and with their counts ``mode_kl``, how far the rollouts' modes are from them.
    measures:    published numbers of the environment.
    Raises ConfigError where there are no records.
    """
    if not records:
        raise ConfigError("no rollout records to summarise")
    rows = []
    for query in dict.fromkeys(r.query for r in records):
        group = [r for r in records if r.query == query]
        digest = hashlib.sha256(repr([(r.row, r.env_seed, r.policy_seed) for r in group]).encode()).hexdigest()[:16]
        found = [*_statistics(group, level, seed, events), *_modes(group, level, seed, known_modes)]
        found += [(m.name, m.definition, _measured(m, level, seed)) for m in measures(group)] if measures else []
        for metric, definition, interval in found:
            numbers = (interval.value, interval.low, interval.high, interval.n)
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
    records: Sequence[EpisodeRecord], level: float, seed: int, events: Collection[str] | None
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
        if name in _OTHERS:
            yield name, f"{_OTHERS[name]}, mean over episodes", mean(values)
        elif name in _DISTANCES:
            what = _DISTANCES[name]
            yield name, f"{what}, mean over episodes", mean(values)
            yield f"{name}_median", f"{what}, median over episodes", bootstrap_median(values, seed, level)
        else:
            yield name, f"{name}, mean over episodes", mean(values)
    happened = Counter(name for r in records for name in {name for _, name in r.events})
    for name in sorted(n for n in happened if not n.startswith(MODE_PREFIX)) if events is None else events:
        rate = wilson(happened[name], len(records), level)
        yield f"event:{name}", f"fraction of episodes in which '{name}' happens", rate


def _modes(
    records: Sequence[EpisodeRecord], level: float, seed: int, known: Collection[str] | Mapping[str, int]
) -> Iterator[tuple[str, str, Interval]]:
    """Which demonstrated modes the episodes follow; the mode of an episode is the sequence of its mode events."""
    modes = Counter(mode_of(r) for r in records)
    followed = {mode: count for mode, count in modes.items() if mode}
    if not followed and not known:
        return
    listed = sorted(followed, key=lambda mode: (-followed[mode], mode))[:LISTED_MODES]
    shown = {*listed, *sorted(known, key=lambda mode: -known[mode] if isinstance(known, Mapping) else 0)[:LISTED_MODES]}
    for mode in sorted(shown):
        yield f"mode:{mode}", f"fraction of episodes that follow mode '{mode}'", wilson(modes[mode], len(records), level)
    none = wilson(modes[""], len(records), level)
    yield "mode:none", "fraction of episodes that follow no mode", none
    symbols = [(mode,) for r in records if (mode := mode_of(r))]
    text = "Shannon entropy in bits over the modes of episodes that follow one"
    yield "mode_entropy", text, bootstrap_entropy(symbols, seed, level)
    if known:
        share = len(set(known) & set(followed)) / len(set(known))
        text = "fraction of the demonstrated modes that is followed at least once"
        yield "mode_coverage", text, Interval(share, math.nan, math.nan, len(records))
    if isinstance(known, Mapping):
        text = (
            "Kullback-Leibler divergence in bits of the modes of episodes that follow one from those of the demonstrations, "
            "half an episode added to every mode that either has"
        )
        yield "mode_kl", text, bootstrap_divergence(symbols, known, seed, level)


def bootstrap_entropy(
    symbols: Sequence[Sequence[str]], seed: int = 0, level: float = 0.95, subset: int | None = None
) -> Interval:
    """Shannon entropy in bits of all symbols together, one sequence of them an episode.

    The interval is a percentile bootstrap over episodes, shifted by its bias: resamples miss rare symbols, which makes their
    entropies too low. subset: the mean entropy of ``SUBSETS`` random subsets of so many episodes instead, and its interval.
    NaN where there are no symbols.
    """
    table = _count([list(s) for s in symbols])
    if not table.size:
        return Interval(math.nan, math.nan, math.nan, len(symbols))
    rng, n = np.random.default_rng(seed), len(table)
    if subset is None or subset >= n:
        return _shifted(float(_entropy(table.sum(0))), _entropy(_resampled(rng, table)), n, level)
    drawn = np.stack([table[rng.permutation(n)[:subset]].sum(0) for _ in range(SUBSETS)])
    whole = bootstrap_entropy(symbols, seed, level)
    value = float(_entropy(drawn).mean())
    return Interval(value, value + whole.low - whole.value, value + whole.high - whole.value, n)


def bootstrap_divergence(
    symbols: Sequence[Sequence[str]], expected: Mapping[str, int], seed: int = 0, level: float = 0.95
) -> Interval:
    """``sum p log2(p / q)`` of the symbols' shares p from those of ``expected`` counts, half a count added to each symbol of
    either (Krichevsky and Trofimov 1981), so that it stays finite. NaN where one side is empty. Interval: see
    ``bootstrap_entropy``."""
    names = sorted({*expected, *(name for s in symbols for name in s)})
    if not symbols or not sum(expected.values()):
        return Interval(math.nan, math.nan, math.nan, len(symbols))
    table = _count([list(s) for s in symbols], names)
    q = np.array([expected.get(name, 0) + 0.5 for name in names])
    q /= q.sum()

    def divergence(counts: np.ndarray) -> np.ndarray:
        p = counts + 0.5
        p = p / p.sum(-1, keepdims=True)
        return np.asarray((p * np.log2(p / q)).sum(-1))

    resampled = divergence(_resampled(np.random.default_rng(seed), table))
    return _shifted(float(divergence(table.sum(0))), resampled, len(table), level)


def _measured(measure: Measure, level: float, seed: int) -> Interval:
    values = measure.values
    if measure.kind == "rate":
        return wilson(sum(map(bool, values)), len(values), level)
    if measure.kind == "mean":
        return bootstrap_mean(values, seed, level)
    return bootstrap_entropy(values, seed, level, SUBSET if measure.kind == "subset_entropy" else None)


def _count(symbols: Sequence[Sequence[str]], names: Sequence[str] | None = None) -> np.ndarray:
    """``(episodes, names)`` how often each episode has each symbol; ``names`` are by default those that occur."""
    place = {name: i for i, name in enumerate(names or sorted({name for s in symbols for name in s}))}
    table = np.zeros((len(symbols), len(place)))
    for row, found in zip(table, symbols, strict=True):
        for name in found:
            row[place[name]] += 1
    return table


def _resampled(rng: np.random.Generator, table: np.ndarray) -> np.ndarray:
    """``(RESAMPLES, names)`` counts of episodes drawn with replacement."""
    n = len(table)
    return np.asarray(rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) @ table)


def _entropy(counts: np.ndarray) -> np.ndarray:
    """Bits, over the last axis of counts."""
    total = counts.sum(-1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(-1) + 0.0)


def _shifted(value: float, resampled: np.ndarray, n: int, level: float) -> Interval:
    if n == 1:
        return Interval(value, math.nan, math.nan, n)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]) + value - resampled.mean()
    return Interval(value, max(0.0, min(float(low), value)), max(float(high), value), n)


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
