"""Named tasks: what can be asked of a trajectory, by index sets (uniMASK, Carroll et al. 2022, appendix B).

With ``t = 0 .. K-1`` and an index ``i`` per row (S, A, R visible; pS, pA predicted):

========================  ===========  ===================================  ==========  =======  =======  ========
task                      i            S                                    A           R        pS       pA
========================  ===========  ===================================  ==========  =======  =======  ========
bc                        1..K         t < i                                t < i-1                       t = i-1
return                    1..K         t < i                                t < i-1     t = 0             t = i-1
goal                      1..K-1       t < i or t = K-1                     t < i-1                       t = i-1
waypoint                  1..K         t < i or t in {0, K//3, 2K//3, K-1}  t < i-1                       t = i-1
future                    1..K         t < i                                t < i-1              t >= i   t >= i-1
past                      1..K         t >= i                               t >= i               t < i    t < i
forward_dynamics          0..K-2       t = i                                t = i                t = i+1
inverse_dynamics          1..K-1       t = i                                t = i-1              t = i-1
inverse_dynamics_action   1..K-1       t in {i-1, i}                                                      t = i-1
last_state                K-1          t < K-1                              t = K-2              t = K-1
action_between            K-1          all                                                                t = K-2
========================  ===========  ===================================  ==========  =======  =======  ========

The last two are MTM's dynamics metrics, FD and ID (unimask.md section 6.3).

``inverse_dynamics`` asks for the previous state, as uniMASK defines it; the usual ``(s, s') -> a`` is
``inverse_dynamics_action``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from maskbench.errors import ConfigError, did_you_mean
from maskbench.masking.scheme import MaskScheme, MaskSet, cells, choose
from maskbench.tokens.layout import Attend, TokenLayout

Rules = tuple[dict[str, Tensor], dict[str, Tensor]]


def _history(t: Tensor, i: Tensor) -> dict[str, Tensor]:
    return {"state": t < i, "action": t < i - 1}


def _bc(t: Tensor, i: Tensor, k: int) -> Rules:
    return _history(t, i), {"action": t == i - 1}


def _return(t: Tensor, i: Tensor, k: int) -> Rules:
    return {**_history(t, i), "return": t == 0}, {"action": t == i - 1}


def _goal(t: Tensor, i: Tensor, k: int) -> Rules:
    return {"state": (t < i) | (t == k - 1), "action": t < i - 1}, {"action": t == i - 1}


def _waypoint(t: Tensor, i: Tensor, k: int) -> Rules:
    given = (t == 0) | (t == k // 3) | (t == 2 * k // 3) | (t == k - 1)
    return {"state": (t < i) | given, "action": t < i - 1}, {"action": t == i - 1}


def _future(t: Tensor, i: Tensor, k: int) -> Rules:
    return _history(t, i), {"state": t >= i, "action": t >= i - 1}


def _past(t: Tensor, i: Tensor, k: int) -> Rules:
    return {"state": t >= i, "action": t >= i}, {"state": t < i, "action": t < i}


def _forward(t: Tensor, i: Tensor, k: int) -> Rules:
    return {"state": t == i, "action": t == i}, {"state": t == i + 1}


def _inverse(t: Tensor, i: Tensor, k: int) -> Rules:
    return {"state": t == i, "action": t == i - 1}, {"state": t == i - 1}


def _inverse_wrapped(t: Tensor, i: Tensor, k: int) -> Rules:
    before = (i - 1) % k
    return {"state": t == i, "action": t == before}, {"state": t == before}


def _inverse_action(t: Tensor, i: Tensor, k: int) -> Rules:
    return {"state": (t == i) | (t == i - 1)}, {"action": t == i - 1}


def _last_state(t: Tensor, i: Tensor, k: int) -> Rules:
    return {"state": t < i, "action": t == i - 1}, {"state": t == i}


def _action_between(t: Tensor, i: Tensor, k: int) -> Rules:
    return {"state": t <= i}, {"action": t == i - 1}


@dataclass(frozen=True)
class TaskRule:
    """``build(t (1, K), i (B, 1), K)`` gives the visible and predicted rules; ``i`` runs over ``low .. K + high - 1``,
    where a negative ``low`` counts from ``K``."""

    build: Callable[[Tensor, Tensor, int], Rules]
    low: int
    high: int
    #: Span-like tasks spread their K indices evenly over a batch, dynamics draw them independently (uniMASK's sampler).
    tiled: bool = True


TASKS: dict[str, TaskRule] = {
    "bc": TaskRule(_bc, 1, 1),
    "return": TaskRule(_return, 1, 1),
    "goal": TaskRule(_goal, 1, 0, tiled=False),
    "waypoint": TaskRule(_waypoint, 1, 1),
    "past": TaskRule(_past, 1, 1),
    "future": TaskRule(_future, 1, 1),
    "forward_dynamics": TaskRule(_forward, 0, -1, tiled=False),
    "inverse_dynamics": TaskRule(_inverse, 1, 0, tiled=False),
    "inverse_dynamics_action": TaskRule(_inverse_action, 1, 0, tiled=False),
    "last_state": TaskRule(_last_state, -1, 0, tiled=False),
    "action_between": TaskRule(_action_between, -1, 0, tiled=False),
}
#: The original's off-by-one: i in 0..K-2 with indices modulo K, so one sample in K-1 asks for the last state.
LEGACY_INVERSE = TaskRule(_inverse_wrapped, 0, -1, tiled=False)

At = Literal["last", "second_last"]
#: A fixed index, less the window's length K.
FIXED: dict[At, int] = {"last": 0, "second_last": -1}


class NamedTask(MaskScheme):
    """One task of the table above.

    name:  row of the table.
    tiled: spread the indices evenly over the batch where the task's own rule does (lower variance); False draws all
           indices independently.
    legacy_wraparound: the original's ``inverse_dynamics`` (uniMASK spec 2.1), with its wrapped first sample.
    at:    a fixed index: ``last`` (i = K) asks bc and its kind for the window's last action, ``second_last`` (i = K-1) for
           the one before (uniMASK's BC_last, BC_stlast, gc_stlast ...); None draws the index.
    attend: ``causal`` asks a causal model, which cannot use what lies ahead.
    """

    def __init__(
        self,
        name: str,
        tiled: bool = True,
        legacy_wraparound: bool = False,
        at: At | None = None,
        attend: Attend = "bidirectional",
    ) -> None:
        if name not in TASKS:
            raise ConfigError(f"no task is called '{name}'. {did_you_mean(name, TASKS)}")
        self.name = name
        self.rule = LEGACY_INVERSE if legacy_wraparound and name == "inverse_dynamics" else TASKS[name]
        self.tiled = tiled and self.rule.tiled
        self.attend = attend
        self.returns = "first" if name == "return" else "none"
        if at is not None and FIXED[at] >= self.rule.high:
            raise ConfigError(f"task '{name}' cannot be asked at its '{at}' index: that lies outside the window")
        self.fixed = at

    def indices(self, length: int) -> range:
        """Values that the index takes in windows of ``length``."""
        low = self.rule.low if self.rule.low >= 0 else max(length + self.rule.low, 1)
        span = range(low, length + self.rule.high)
        if self.fixed is not None:
            i = length + FIXED[self.fixed]
            span = range(max(i, low), i + 1)
        if not span:
            raise ConfigError(f"task '{self.name}' needs windows longer than {length}")
        return span

    def at(self, index: Tensor, layout: TokenLayout) -> MaskSet:
        """Masks for given indices ``(B,)``: the way to ask the task at a known moment, e.g. ``index = now + 1`` for bc."""
        t = torch.arange(layout.length, device=index.device)[None]
        visible, predict = self.rule.build(t, index[:, None], layout.length)
        draw = lambda rules: cells(layout, rules, len(index), index.device)  # noqa: E731
        return MaskSet(draw(visible), draw(predict), self.attend)

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        span = self.indices(layout.length)
        if self.tiled:
            index = torch.randperm(batch, generator=generator, device=generator.device) % len(span) + span.start
        else:
            index = choose(generator, span.stop, batch, span.start)
        return self.at(index, layout)
