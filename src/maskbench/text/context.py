"""What of a long episode a prompt shows: a token budget in place of a fixed number of steps (spec §6.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maskbench.errors import ConfigError
from maskbench.text.rollout import TextStepRecord

#: Texts that a player has to come back to: recipes, leaflets, books, maps.
DOCUMENT = re.compile(r"(?i)\b(recipe #|ingredients:|directions:|\bleaflet\b.*\"|you (?:open|read)\b.*\bread)")


@dataclass(frozen=True)
class Context:
    """``pinned``: the last document read and the latest inventory, stated only where their steps are not shown;
    ``first``: the first step shown."""

    pinned: tuple[tuple[str, str], ...]
    first: int


def is_document(text: str) -> bool:
    """Whether an observation is worth keeping in sight: a recipe, a leaflet, a map."""
    return bool(DOCUMENT.search(text))


def fit(steps: Sequence[TextStepRecord], budget: int, count: Callable[[str], int]) -> Context:
    """The most recent steps that fit beside the pinned block. ``count`` gives the tokens of a text.

    Raises ConfigError where even the last step does not fit.
    """
    costs = [count(s.obs) + count(s.command) for s in steps]
    for pinned in (True, False):
        first = _first(steps, costs, budget, count, pinned)
        if first < len(steps):
            return Context(_block(steps, first) if pinned else (), first)
    raise ConfigError(f"a budget of {budget} tokens does not hold the last step, of {costs[-1]}: raise it")


def _first(steps: Sequence[TextStepRecord], costs: list[int], budget: int, count: Callable[[str], int], pinned: bool) -> int:
    """The earliest first step whose block and steps fit; ``len(steps)`` where none does."""
    best, total = len(steps), 0
    for first in reversed(range(len(steps))):
        total += costs[first]
        if total > budget:
            break
        if total + (sum(count(text) for _, text in _block(steps, first)) if pinned else 0) <= budget:
            best = first
    return best


def _block(steps: Sequence[TextStepRecord], first: int) -> tuple[tuple[str, str], ...]:
    block = []
    document = next((s.obs for s in reversed(steps) if is_document(s.obs)), None)
    if document is not None and all(s.obs != document for s in steps[first:]):
        block.append(("doc", document))
    inventory = next((s.inventory for s in reversed(steps) if s.inventory), None)
    if inventory:
        block.append(("inv", inventory))
    return tuple(block)
