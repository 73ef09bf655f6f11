"""Interleaved timing of several ways to do the same work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

#: Does the work once; returns the seconds that count, or None for all that it took.
Work = Callable[[], "float | None"]


@dataclass(frozen=True)
class Result:
    """Items per second of every way, and how many times faster than the reference it is.

    rates:  per way the median over repeats.
    ratios: per way (low, middle, high) over repeats of its rate by that of the reference in the same repeat.
    """

    case: str
    measure: str
    items: int
    rates: Mapping[str, float]
    ratios: Mapping[str, tuple[float, float, float]]


def compare(case: str, measure: str, items: int, ways: Mapping[str, Work], repeats: int, reference: str = "plain") -> Result:
    """Each way once to warm up, then in turn (A B C A B C ...); all handle the same ``items`` per turn. Ratios are to the way
    called ``reference``."""
    for work in ways.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            seconds[name].append(_timed(work))
    rates = {name: items / median(taken) for name, taken in seconds.items()}
    ratios = {}
    for name, taken in seconds.items():
        if name != reference:
            each = sorted(r / t for r, t in zip(seconds[reference], taken, strict=True))
            ratios[name] = (each[0], median(each), each[-1])
    return Result(case, measure, items, rates, ratios)


def _timed(work: Work) -> float:
    began = time.perf_counter()
    counted = work()
    return time.perf_counter() - began if counted is None else counted
