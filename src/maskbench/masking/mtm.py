"""The fixed patterns of MTM (Wu et al. 2023; unimask.md section 6.2): what its specialists are trained on.

With ``t = 0 .. T-1`` and a time ``u`` drawn uniformly (S, A, R visible):

=============  ========  ==========================  ===========  ==================
pattern        u         S                           A            R
=============  ========  ==========================  ===========  ==================
``id``                   all                         none         none
``fd``         0..T-2    t < u                       all          none
``bc``         0..T-1    t <= u                      t < u        t < u
``rcbc``       0..T-1    t <= u                      t < u        all
``goal``       0..T-1    t in {0, u, T-1}            none         none
``goal_n``     1..T-1    t < u or t = T-1            t < u-1      none
``bc_random``  0..T-1    as ``bc``, every visible cell kept with probability 1/2
=============  ========  ==========================  ===========  ==================

MTM's RANDOM, FULL_RANDOM and AUTO_MASK are ``ModalityMask``, ``TokenMask`` and ``FrontierMask`` (``masking.random``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maskbench.errors import ConfigError, did_you_mean
from maskbench.masking.random import Per, Predict, to_predict
from maskbench.masking.scheme import MaskScheme, MaskSet, Returns, cells, choose, rand
from maskbench.tokens.layout import TokenLayout

Rules = dict[str, Tensor]


def _id(t: Tensor, u: Tensor, k: int) -> Rules:
    return {"state": t >= 0}


def _fd(t: Tensor, u: Tensor, k: int) -> Rules:
    return {"state": t < u, "action": t >= 0}


def _bc(t: Tensor, u: Tensor, k: int) -> Rules:
    return {"state": t <= u, "action": t < u, "return": t < u}


def _rcbc(t: Tensor, u: Tensor, k: int) -> Rules:
    return {"state": t <= u, "action": t < u, "return": t >= 0}


def _goal(t: Tensor, u: Tensor, k: int) -> Rules:
    return {"state": (t == 0) | (t == u) | (t == k - 1)}


def _goal_n(t: Tensor, u: Tensor, k: int) -> Rules:
    return {"state": (t < u) | (t == k - 1), "action": t < u - 1}


@dataclass(frozen=True)
class Pattern:
    """``build(t (1, T), u (B, 1), T)`` gives the visible rules; ``u`` runs over ``low .. T + high - 1``."""

    build: Callable[[Tensor, Tensor, int], Rules]
    low: int = 0
    high: int = 0
    keep: float = 1.0


PATTERNS: dict[str, Pattern] = {
    "id": Pattern(_id),
    "fd": Pattern(_fd, high=-1),
    "bc": Pattern(_bc),
    "rcbc": Pattern(_rcbc),
    "goal": Pattern(_goal),
    "goal_n": Pattern(_goal_n, low=1),
    "bc_random": Pattern(_bc, keep=0.5),
}


class PatternMask(MaskScheme):
    """One pattern of the table above.

    per:     ``batch`` shares one mask between all rows, as MTM does; ``row`` (lower gradient variance) draws one each.
    predict: ``all`` tokens, as MTM does, or ``hidden`` ones.
    """

    returns: Returns = "all"

    def __init__(self, name: str, per: Per = "row", predict: Predict = "all") -> None:
        if name not in PATTERNS:
            raise ConfigError(f"no MTM pattern is called '{name}'. {did_you_mean(name, PATTERNS)}")
        self.name, self.pattern, self.per, self.predict = name, PATTERNS[name], per, predict

    def times(self, length: int) -> range:
        """Values that ``u`` takes in windows of ``length``."""
        span = range(self.pattern.low, length + self.pattern.high)
        if not span:
            raise ConfigError(f"MTM pattern '{self.name}' needs windows longer than {length}")
        return span

    def at(self, u: Tensor, layout: TokenLayout) -> Tensor:
        """``(B, T, F)`` visible cells for given times ``(B,)``, before any are dropped."""
        t = torch.arange(layout.length, device=u.device)[None]
        rules = {role: rule.expand(len(u), -1) for role, rule in self.pattern.build(t, u[:, None], layout.length).items()}
        return cells(layout, rules, len(u), u.device)

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        rows, span = 1 if self.per == "batch" else batch, self.times(layout.length)
        visible = self.at(choose(generator, span.stop, rows, span.start), layout)
        if self.pattern.keep < 1:
            visible = visible & (rand(generator, *visible.shape) < self.pattern.keep)
        visible = visible.expand(batch, -1, -1).clone()
        return MaskSet(visible, to_predict(visible, self.predict))
