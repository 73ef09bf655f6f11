"""Trials of a search as a table and as panels."""

from __future__ import annotations

import pytest

from maskbench.errors import ConfigError
from maskbench.reports.search import Trial, trials_figure, trials_table
from maskbench.reports.style import png

TRIALS = (
    Trial(0, {"optimizer.lr": 1e-4, "model.n_layer": 4, "trainer.grad_clip": "null"}, 2.0),
    Trial(1, {"optimizer.lr": 1e-2, "model.n_layer": 10, "trainer.grad_clip": 1.0}, 0.5),
    Trial(3, {"optimizer.lr": 3e-5, "model.n_layer": 4, "trainer.grad_clip": 1.0}, 1.0),
    Trial(4, {"optimizer.lr": 2e-3, "model.n_layer": 6, "trainer.grad_clip": "null"}, 1.5),
    Trial(5, {"optimizer.lr": 5e-3, "model.n_layer": 6, "trainer.grad_clip": "null"}, 1.7),
)


def test_the_best_trial_stands_first_under_short_names() -> None:
    table = trials_table("t", TRIALS, "validation loss")
    assert table.columns == ("trial", "validation loss", "lr", "n layer", "grad clip")
    assert [row[0] for row in table.rows] == ["1", "3", "4", "5", "0"]
    assert table.rows[0][1:] == (0.5, 1e-2, "10", 1.0)


def test_each_setting_has_a_panel_in_which_the_best_trial_is_ringed() -> None:
    figure = trials_figure("t", TRIALS, "validation loss")
    assert png(figure)[:4] == b"\x89PNG"
    rate, layers, clip = figure.axes
    assert rate.get_xscale() == "log"  # five values over more than a decade
    assert [t.get_text() for t in layers.get_xticklabels()] == ["4", "6", "10"]  # few values: evenly spaced, by size
    assert [t.get_text() for t in clip.get_xticklabels()] == ["1.0", "null"]
    assert [tuple(axes.collections[1].get_offsets()[0]) for axes in figure.axes] == [(1e-2, 0.5), (2.0, 0.5), (0.0, 0.5)]


def test_a_search_without_trials_is_refused() -> None:
    with pytest.raises(ConfigError, match="no trials to draw for 't'"):
        trials_figure("t", (), "validation loss")
