"""Our numbers beside published ones: value by value, and ordering by ordering."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maskbench.reports.claims import Claim
from maskbench.reports.tables import Measured, Table, show

#: A cell of a table: row and column.
Key = tuple[str, str]


@dataclass(frozen=True)
class Ordering:
    """A sentence of a paper as pairs of cells: the first of each pair should be better than the second, or as good.

    tolerance: a pair counts as tied where the first is worse by at most this fraction of the second,
    margin:    or by at most this much.
    needed:    pairs that must hold for the sentence to hold; None = all.
    """

    statement: str
    pairs: tuple[tuple[Key, Key], ...]
    tolerance: float = 0.0
    margin: float = 0.0
    needed: int | None = None

    def judge(self, values: Mapping[Key, float], lower_is_better: bool) -> tuple[int, int, list[tuple[Key, Key]]]:
        """Pairs that hold, pairs that could be judged, and those that fail."""
        known = [(a, b) for a, b in self.pairs if math.isfinite(values.get(a, math.nan) + values.get(b, math.nan))]
        sign = 1.0 if lower_is_better else -1.0
        behind = {(a, b): sign * (values[a] - values[b]) for a, b in known}
        failing = [(a, b) for a, b in known if behind[a, b] > max(self.tolerance * abs(values[b]), self.margin)]
        return len(known) - len(failing), len(known), failing

    def holds(self, values: Mapping[Key, float], lower_is_better: bool) -> bool | None:
        """Whether enough pairs hold; None where too few could be judged."""
        good, known, _ = self.judge(values, lower_is_better)
        needed = len(self.pairs) if self.needed is None else self.needed
        return True if good >= needed else False if known == len(self.pairs) else None


def comparison_table(title: str, claims: Sequence[Claim], ours: Mapping[Key, Measured]) -> Table:
    """One row a cell that either side has: the published value with its error, ours with its interval, and the ratio."""
    published = {(c.row, c.column): c for c in claims}
    rows = []
    for key in dict.fromkeys([*published, *ours]):
        claim, found = published.get(key), ours.get(key)
        ratio = found.value / claim.value if claim is not None and found is not None and claim.value else None
        paper = None if claim is None else _claimed(claim)
        rows.append((*key, paper, found, None if ratio is None else round(ratio, 3)))
    return Table(title, ("row", "column", "paper", "ours", "ours / paper"), tuple(rows))


def ordering_table(
    title: str, orderings: Sequence[Ordering], claims: Sequence[Claim], ours: Mapping[Key, Measured], lower_is_better: bool
) -> Table:
    """One row an ordering: in how many cells it holds in the paper's own numbers and in ours, and where ours fail."""
    paper = {(c.row, c.column): c.value for c in claims}
    mine = {key: m.value for key, m in ours.items()}
    rows = []
    for o in orderings:
        verdict = {True: "holds", False: "does not hold", None: "open"}[o.holds(mine, lower_is_better)]
        good, known, failing = o.judge(mine, lower_is_better)
        theirs = o.judge(paper, lower_is_better)
        where = "; ".join(f"{_name(a)} {show(mine[a])} against {_name(b)} {show(mine[b])}" for a, b in failing)
        needed = len(o.pairs) if o.needed is None else o.needed
        counts = (f"{theirs[0]} of {theirs[1]}" if theirs[1] else "", f"{good} of {known}")
        rows.append((o.statement, f"{needed} of {len(o.pairs)}", *counts, verdict, where))
    return Table(title, ("ordering", "needed", "paper", "ours", "verdict", "where ours fails"), tuple(rows))


def verdicts(table: Table) -> Table:
    """An ``ordering_table`` without its details, so that it fits a terminal."""
    return Table(table.title, ("ordering", "paper", "ours", "verdict"), tuple((r[0], *r[2:5]) for r in table.rows))


def _claimed(claim: Claim) -> Measured:
    if claim.error is None:
        return Measured(claim.value)
    return Measured(claim.value, claim.value - claim.error, claim.value + claim.error)


def _name(key: Key) -> str:
    return f"{key[0]} ({key[1]})"
