import math

import pytest

from maskbench.reports.claims import Claim
from maskbench.reports.comparison import Ordering, comparison_table, ordering_table
from maskbench.reports.tables import Measured


def claim(row: str, column: str, value: float, error: float | None = None) -> Claim:
    return Claim("s", "t", row, column, value, error, "loss", "source")


A, B, C = ("tuned", "bc"), ("single", "bc"), ("single", "past")


def test_an_ordering_counts_pairs_and_allows_ties_within_its_tolerance() -> None:
    strict = Ordering("tuned is better", ((A, B), (A, C)))
    values = {A: 1.01, B: 1.0, C: 2.0}
    assert strict.judge(values, lower_is_better=True) == (1, 2, [(A, B)])
    assert strict.holds(values, True) is False
    assert Ordering("tied counts", strict.pairs, tolerance=0.02).holds(values, True) is True
    assert Ordering("tied counts", strict.pairs, margin=0.02).holds(values, True) is True
    assert Ordering("most", strict.pairs, needed=1).holds(values, True) is True
    assert strict.holds({A: 3.0, B: 1.0, C: 2.0}, lower_is_better=False) is True


def test_what_is_not_measured_yet_leaves_an_ordering_open() -> None:
    ordering = Ordering("tuned is better", ((A, B), (A, C)))
    assert ordering.holds({A: 0.9, B: 1.0}, True) is None
    assert ordering.holds({A: 0.9, B: 1.0, C: math.nan}, True) is None


def test_tables_put_paper_and_ours_side_by_side() -> None:
    claims = [claim(*A, 1.0), claim(*B, 1.1, 0.05)]
    ours = {A: Measured(1.2, 1.1, 1.3), B: Measured(1.0, 0.9, 1.1), C: Measured(5.0)}
    table = comparison_table("t", claims, ours)
    assert table.rows[0] == ("tuned", "bc", Measured(1.0), ours[A], pytest.approx(1.2))
    assert table.rows[1][2] == Measured(1.1, pytest.approx(1.05), pytest.approx(1.15))
    assert table.rows[2] == ("single", "past", None, ours[C], None)
    ordered = ordering_table("o", [Ordering("tuned is better", ((A, B),))], claims, ours, lower_is_better=True)
    (row,) = ordered.rows
    assert row[:5] == ("tuned is better", "1 of 1", "1 of 1", "0 of 1", "does not hold")
    assert row[5] == "tuned (bc) 1.20 against single (bc) 1.00"
