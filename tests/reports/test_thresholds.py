"""Curves along a threshold: one panel, one colour and one dash for what they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from maskbench.errors import ConfigError
from maskbench.reports.style import DARK, png
from maskbench.reports.thresholds import threshold_curves

AT = np.linspace(0.0, 1.0, 5)


def test_a_metric_keeps_its_colour_and_a_policy_its_dash() -> None:
    lines = {m: {"rollouts": AT * s, "demonstrations": AT} for m, s in (("p_1", 0.9), ("p_2", 0.5))}
    figure = threshold_curves("t", AT, {"a": lines, "b": {"kettle": lines["p_1"]}}, DARK, x_label="distance", published=0.3)
    assert png(figure)[:4] == b"\x89PNG"
    left, right = figure.axes
    mark, *drawn = left.get_lines()
    assert list(mark.get_xdata()) == [0.3, 0.3]
    assert [tuple(line.get_ydata()) for line in drawn] == [tuple(v) for m in lines.values() for v in m.values()]
    assert len({line.get_color() for line in drawn}) == len({line.get_linestyle() for line in drawn}) == 2
    assert drawn[0].get_color() == drawn[1].get_color() == right.get_lines()[1].get_color()
    assert [t.get_text() for t in left.get_legend().get_texts()] == ["p_1", "p_2"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["rollouts", "demonstrations"]


@pytest.mark.parametrize("panels", [{}, {"empty": {}}])
def test_a_figure_of_nothing_is_refused(panels: dict) -> None:
    with pytest.raises(ConfigError, match="no values to draw for 't'"):
        threshold_curves("t", AT, panels, x_label="distance")
