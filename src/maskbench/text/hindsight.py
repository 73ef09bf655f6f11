"""Hindsight relabelling: a summary written at step ``t`` about the last ``L`` steps is the expectation of steps ``t-L..t-1``.

For the prefix that ends at step ``c``, earlier steps show labels that had been written before ``c``; step ``c`` itself shows
all labels that cover it. Those lie in its future: they are what the model learns to foresee. (Spec §1.4, hindsight
summarization of arXiv:2204.12639.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from maskbench.errors import ConfigError, did_you_mean
from maskbench.text.rollout import Label, TextRollout, TextStepRecord

JOIN = " || "


@dataclass(frozen=True)
class Relabelling:
    """How labels are handed down.

    visible: which labels a past step ``j`` of prefix ``c`` shows: ``covered`` those with ``j + L < c`` (the original's test),
             ``written`` all that were written before ``c``. Neither shows a label of the future.
    keep:    ``all`` labels of a step, latest first, as the original; or the ``nearest`` one alone.
    wrap:    the original's mistake: a label longer than its past covers the end of the episode, counted with the step that the
             original appends to it.
    unvalued: a label without a value counts as ``zero`` in the original; here it leaves the mean alone (``none``).
    credit:  labels of a step that asked a question also go to the steps that its answer came from (``texts['relevant']``).
    """

    visible: Literal["covered", "written"] = "covered"
    keep: Literal["all", "nearest"] = "all"
    wrap: bool = False
    unvalued: Literal["none", "zero"] = "none"
    credit: bool = True

    def __post_init__(self) -> None:
        for name, valid in (
            ("visible", ("covered", "written")),
            ("keep", ("all", "nearest")),
            ("unvalued", ("none", "zero")),
        ):
            found = getattr(self, name)
            if found not in valid:
                raise ConfigError(f"relabelling {name}='{found}' is unknown. {did_you_mean(found, valid)}")


#: What the published code does.
ORIGINAL = Relabelling(wrap=True, unvalued="zero", credit=False)


@dataclass(frozen=True)
class Foresight:
    """What hindsight says of one step: joined summaries, and the mean of the values given; None = nobody gave one."""

    expectation: str = ""
    value: float | None = None


@dataclass(frozen=True)
class _Written:
    at: int
    label: Label


class Hindsight:
    """The labels of one episode, arranged by the steps they cover.

    steps: the visible steps ``0..n-1``.
    """

    def __init__(self, steps: Sequence[TextStepRecord], rules: Relabelling = Relabelling()) -> None:
        self.rules = rules
        self.length = len(steps)
        self._covering: list[list[_Written]] = [[] for _ in steps]
        for t in reversed(range(len(steps))):
            for label in reversed(steps[t].labels):
                for j in self._covered(t, label, steps):
                    self._covering[j].append(_Written(t, label))

    def _covered(self, t: int, label: Label, steps: Sequence[TextStepRecord]) -> list[int]:
        first = t - label.length
        if first < 0 and self.rules.wrap:
            span = [j for j in (k % (len(steps) + 1) for k in range(first, t)) if j < len(steps)]
        else:
            span = list(range(max(first, 0), t))
        if not self.rules.credit:
            return span
        waiting, covered = list(span), dict.fromkeys(span)  # a work-list: each step at most once
        while waiting:
            for word in steps[waiting.pop(0)].texts.get("relevant", "").split():
                j = int(word)
                if 0 <= j < t and j not in covered:
                    covered[j] = None
                    waiting.append(j)
        return sorted(covered)

    def future(self, current: int) -> Foresight:
        """What the model is trained to foresee at step ``current``: everything that was ever written about it."""
        return self._joined(self._covering[current])

    def past(self, step: int, current: int) -> Foresight:
        """What step ``step < current`` shows when ``current`` is decided; no label written at or after ``current``."""
        if self.rules.visible == "covered":
            known = [w for w in self._covering[step] if step + w.label.length < current and w.at < current]
        else:
            known = [w for w in self._covering[step] if w.at < current]
        return self._joined(known)

    def _joined(self, written: Sequence[_Written]) -> Foresight:
        if self.rules.keep == "nearest":
            written = written[-1:]
        missing = 0.0 if self.rules.unvalued == "zero" else None
        given = (missing if w.label.value is None else w.label.value for w in written)
        values = [v for v in given if v is not None]
        mean = sum(values) / len(values) if values else None
        return Foresight(JOIN.join(w.label.summary for w in written), mean)


def trusted(rollout: TextRollout) -> TextRollout:
    """The rollout without a machine's labels that nobody confirmed; people's labels are believed, and so are those of the
    automatic labellers, which read them off the game."""

    def believed(label: Label) -> bool:
        return label.source != "player" or label.accurate is True

    if rollout.agent == "human":
        return rollout
    steps = (replace(s, labels=tuple(x for x in s.labels if believed(x))) for s in rollout.steps)
    return rollout.with_steps(steps)
