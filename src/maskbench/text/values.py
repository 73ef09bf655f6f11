"""What a step is worth, in [0, 1], and the words in which a model is asked for it (spec §1.4)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from maskbench.errors import ConfigError, DataError, did_you_mean
from maskbench.text.hindsight import Hindsight
from maskbench.text.rollout import TextRollout

GAMMA = 0.9


@dataclass(frozen=True)
class Buckets:
    """Ascending ``edges``; a value equal to an edge lies above it. ``words`` has one more entry than ``edges``."""

    edges: tuple[float, ...]
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.words) != len(self.edges) + 1 or any(a > b for a, b in pairwise(self.edges)):
            raise ConfigError(f"buckets need ascending edges and one more word; found {self.edges} and {self.words}")

    def index(self, value: float | None) -> int | None:
        """Bucket of a value, lowest first; None for no value. Raises DataError for a value that is no number."""
        if value is None:
            return None
        if math.isnan(value):
            raise DataError("a value is not a number: steps without labels have the value None")
        return bisect_right(self.edges, value)

    def word(self, value: float | None) -> str:
        """Its word; ``''`` for no value."""
        index = self.index(value)
        return "" if index is None else self.words[index]

    @property
    def highest(self) -> str:
        return self.words[-1]


THREE = Buckets((0.2, 0.8), ("low", "middle", "high"))
TEN = Buckets(tuple(k / 10 for k in range(1, 10)), tuple(f"<v{k}>" for k in range(10)))
#: The original's words for the mean score of a batch of rollouts.
BATCH = Buckets((1.0, 3.0), ("low", "middle", "high"))


def quantiles(values: Sequence[float], k: int) -> Buckets:
    """``k`` buckets that share the training values as evenly as ties allow; words ``<v0> ... <v{k-1}>``."""
    if k < 2 or not values:
        raise ConfigError(f"quantile buckets need k >= 2 and some values; found k={k} and {len(values)} values")
    ordered = sorted(values)
    edges = tuple(ordered[min(len(ordered) * i // k, len(ordered) - 1)] for i in range(1, k))
    return Buckets(edges, tuple(f"<v{i}>" for i in range(k)))


def buckets(name: str, values: Sequence[float] = ()) -> Buckets:
    """``three``, ``ten``, or ``quantile_<k>`` fitted on ``values``. Raises ConfigError for other names."""
    if name.startswith("quantile_") and name[9:].isdigit():
        return quantiles(values, int(name[9:]))
    known = {"three": THREE, "ten": TEN}
    if name not in known:
        raise ConfigError(f"buckets '{name}' are unknown. {did_you_mean(name, [*known, 'quantile_8'])}")
    return known[name]


def fitness(rollout: TextRollout) -> float:
    """The original's score of a rollout: points in all."""
    return rollout.score


def _label_mean(rollout: TextRollout) -> list[float | None]:
    hindsight = Hindsight(rollout.visible)
    return [hindsight.future(c).value for c in range(hindsight.length)]


def _final(rollout: TextRollout) -> list[float | None]:
    share = _share(rollout, rollout.score)
    return [share] * len(rollout.visible)


def _rtg(rollout: TextRollout) -> list[float | None]:
    return [_share(rollout, rollout.score - s.score) for s in rollout.visible]


def _steps_to_reward(rollout: TextRollout) -> list[float | None]:
    out, ahead = [], 0.0
    for step in reversed(rollout.visible):
        ahead = 1.0 if step.reward > 0 else ahead * GAMMA
        out.append(ahead)
    return list(reversed(out))


def _rtg_discounted(rollout: TextRollout) -> list[float | None]:
    out, ahead = [], 0.0
    for step in reversed(rollout.visible):
        ahead = step.reward + GAMMA * ahead
        out.append(_share(rollout, ahead))
    return list(reversed(out))


def _share(rollout: TextRollout, points: float) -> float | None:
    """Points as a share of the maximum, kept inside [0, 1]; None where the maximum is unknown."""
    return min(max(points / rollout.max_score, 0.0), 1.0) if rollout.max_score else None


STRATEGIES: dict[str, Callable[[TextRollout], list[float | None]]] = {
    "label_mean": _label_mean,
    "final": _final,
    "rtg": _rtg,
    "steps_to_reward": _steps_to_reward,
    "rtg_discounted": _rtg_discounted,
}


def step_values(rollout: TextRollout, strategy: str) -> list[float | None]:
    """The value of each visible step by one of

    ``label_mean``       mean value of the labels that cover it, as the original; None without any
    ``final``            final score / max score
    ``rtg``              (final score - score before the step) / max score
    ``steps_to_reward``  0.9 ** (steps to the next positive reward), 0 if there is none
    ``rtg_discounted``   discounted rewards to come / max score
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"value strategy '{strategy}' is unknown. {did_you_mean(strategy, STRATEGIES)}")
    return STRATEGIES[strategy](rollout)
