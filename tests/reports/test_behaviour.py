"""Figures of behaviour: what is drawn adds up to what was given."""

from __future__ import annotations

import numpy as np
import pytest

from maskbench.errors import ConfigError
from maskbench.reports.behaviour import pushes, sequence_flow, swept
from maskbench.reports.plane import action_bins, trajectories
from maskbench.reports.style import DARK, png
from maskbench.reports.tables import Measured

NAMES = {"m": "microwave", "k": "kettle", "l": "light switch"}


def test_a_flow_has_a_column_a_step_whose_nodes_fill_it() -> None:
    figure = sequence_flow({"demonstrations": {"m>k>l": 3, "k>l": 1}, "policy": {"": 2, "m": 2}}, NAMES, steps=3, theme=DARK)
    assert png(figure)[:4] == b"\x89PNG"
    for axes in figure.axes:
        heights: dict[int, float] = {}
        for node in axes.patches:
            corners = node.get_xy()  # type: ignore[attr-defined]
            column = round(float(corners[:, 0].mean()))
            heights[column] = heights.get(column, 0) + float(np.ptp(corners[:, 1]))
        assert heights == pytest.approx({0: 1.0, 1: 1.0, 2: 1.0})
        assert [t.get_text() for t in axes.get_xticklabels()] == ["task 1", "task 2", "task 3"]
    with pytest.raises(ConfigError, match="no episodes"):
        sequence_flow({"policy": {}}, NAMES)


def test_pushes_have_a_panel_a_mode() -> None:
    rng = np.random.default_rng(0)
    episodes = [np.cumsum(rng.normal(0, 0.01, (20, 16)), 0) + 0.3 for _ in range(3)]
    figure = pushes({"red-red>green-green": episodes, "none": episodes[:1]}, most=2)
    assert len(figure.axes) == 2
    assert "red-red, then green-green\n3 episodes" in figure.axes[0].get_title(loc="left")
    assert len(figure.axes[0].patches) == 4  # two zones of each episode drawn
    assert len(png(figure)) > 1000


def test_a_swept_curve_spaces_its_values_evenly_and_marks_the_published_one() -> None:
    values = {k: Measured(v, v - 0.1, v + 0.1) for k, v in ((1, 0.2), (64, 0.9), (8, 0.5))}
    figure = swept("bins", {"P1": values}, x_label="K", y_label="share", published=8, points={"P1": {8: [0.4, 0.6]}})
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "8", "64"]
    curve = next(line for line in axes.lines if line.get_label() == "P1")
    assert curve.get_xydata().tolist() == [[0, 0.2], [1, 0.5], [2, 0.9]]
    assert next(line for line in axes.lines if line.get_label() == "published").get_xdata()[0] == 1
    with pytest.raises(ConfigError, match="no values"):
        swept("bins", {}, x_label="K", y_label="share")


def test_jitter_moves_curves_apart_and_leaves_demonstrations() -> None:
    path = np.array([[0.0, 0.0], [1.0, 1.0]])
    figure = trajectories({"up": [path, path]}, behind=[path], jitter=0.1)
    drawn = [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xydata()) == 2]
    assert np.array_equal(drawn[0], path)
    assert 0 < np.abs(drawn[1] - drawn[2]).max() <= 0.2


def test_actions_carry_the_colour_of_their_bin_and_every_state_has_a_panel() -> None:
    actions, bins = np.array([[0.0, 0.0], [0.1, 0.0], [1.0, 1.0]]), np.array([0, 0, 1])
    figure = action_bins(actions, bins, np.array([[0.05, 0.0], [1.0, 1.0]]), {"start": np.eye(4)[:, :2]})
    first, start = figure.axes
    colours = first.collections[0].get_facecolor()
    assert np.array_equal(colours[0], colours[1])
    assert not np.array_equal(colours[0], colours[2])
    assert start.get_title(loc="left") == "start"
    behind, drawn = start.collections
    assert len(behind.get_offsets()) == 3
    assert drawn.get_offsets().tolist() == [[0, 0], [0, 1], [1, 0]]
    assert drawn.get_sizes()[0] > drawn.get_sizes()[1]  # drawn twice of four times
    assert start.lines[0].get_xydata().tolist() == [[0.05, 0.0], [1.0, 1.0]]
