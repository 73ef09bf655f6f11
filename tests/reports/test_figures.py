import io
from pathlib import Path

import imageio.v3 as imageio
import matplotlib
import numpy as np
import pytest
from tests.reports.demo import TASKS, write_run

from maskbench.errors import ConfigError, DataError
from maskbench.reports import figures, plane, style
from maskbench.reports.claims import claims_matrix, published
from maskbench.reports.collect import Curve, Matrix, Run, collect
from maskbench.reports.style import DARK, LIGHT, Theme
from maskbench.reports.tables import Measured


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return collect(write_run(tmp_path_factory.mktemp("runs") / "run"))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_pictures_have_the_background_of_their_theme_and_leave_no_global_style(run: Run, theme: Theme) -> None:
    before = dict(matplotlib.rcParams)
    picture = imageio.imread(io.BytesIO(style.png(figures.task_bars(run.task_losses, theme))))
    assert picture[0, 0, :3].tolist() == [int(theme.background[i : i + 2], 16) for i in (1, 3, 5)]
    assert dict(matplotlib.rcParams) == before


def test_learning_curves_put_train_and_validation_of_a_quantity_in_one_panel(run: Run) -> None:
    figure = figures.learning_curves(run.curves)
    assert [a.get_title(loc="left") for a in figure.axes] == ["loss", "lr"]
    assert [line.get_label() for line in figure.axes[0].lines] == ["train", "validation"]


def test_wide_ranges_are_logarithmic() -> None:
    steps = np.arange(5.0)
    wide, flat = Curve(steps, 10.0**-steps), Curve(steps, 1 + steps)
    figure = figures.learning_curves({"train/a": wide, "train/b": flat})
    assert [a.get_yscale() for a in figure.axes] == ["log", "linear"]


def test_heatmap_writes_every_cell_in_three_digits() -> None:
    matrix = claims_matrix(published("unimask", "heatmap_500"), "uniMASK")
    cells = {
        shown: [t.get_text() for t in figures.heatmap(matrix, shown, rule_above=("Finetune",)).axes[0].texts]  # type: ignore[arg-type]
        for shown in ("normalised", "raw")
    }
    assert cells["normalised"][:3] == ["1.00", "1.01", "1.09"]
    assert cells["raw"][:3] == ["1.12", "1.12", "1.13"]
    assert len(cells["raw"]) == 88


def test_heatmap_of_excess_needs_losses_above_the_floor() -> None:
    matrix = Matrix("m", ("a", "b"), ("x", "y"), np.array([[2.0, 3.0], [4.0, np.nan]]), np.array([1.0, 2.0]))
    assert [t.get_text() for t in figures.heatmap(matrix, "excess").axes[0].texts] == ["1.00", "1.00", "3.00"]
    low = Matrix("m", ("a",), ("x",), np.array([[2.0]]), np.array([3.0]))
    with pytest.raises(DataError, match=r"\['x'\] lies on or below its floor"):
        figures.heatmap(low, "excess")


def test_task_bars_have_one_bar_a_task_and_mark_the_floor(run: Run) -> None:
    axes = figures.task_bars(run.task_losses).axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [loss for loss, _ in TASKS.values()])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["floor: the least possible"]


def test_rollout_bars_have_a_panel_a_metric_and_grey_references(run: Run) -> None:
    figure = figures.rollout_bars(run.rollouts)
    assert [a.get_title(loc="left") for a in figure.axes] == ["success", "return"]
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [0.82, 0.93, 0.04]
    grey = matplotlib.colors.to_rgba(LIGHT.muted)
    assert [bar.get_facecolor() == grey for bar in bars] == [False, False, True]
    with pytest.raises(ConfigError, match="cannot draw the metrics"):
        figures.rollout_bars(run.rollouts, ["speed"])


def test_trajectories_are_counted_by_group() -> None:
    path = np.cumsum(np.ones((5, 2)), 0)
    axes = plane.trajectories({"up": [path, path + 1], "down": [-path]}, behind=[path]).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["up (2)", "down (1)"]


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no curves"):
        figures.learning_curves(collect(tmp_path).curves)
    with pytest.raises(ConfigError, match="no total task losses"):
        figures.task_bars(())


def test_grouped_bars_have_a_panel_a_column_and_mark_published_values() -> None:
    values = {(r, c): Measured(1.0, 0.9, 1.1) for r in ("single", "random") for c in ("K=5", "K=10")}
    figure = figures.grouped_bars("Return", values, marks={("single", "K=10"): Measured(2.0)}, mark_label="paper")
    assert [a.get_title(loc="left") for a in figure.axes] == ["K=5", "K=10"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["single", "random"]
    (segment,) = figure.axes[1].collections[-1].get_segments()
    assert segment[0][0] == segment[1][0] == 2.0
    with pytest.raises(ConfigError, match="no values to draw"):
        figures.grouped_bars("Return", {})


WALLS = np.zeros((4, 4), bool)
WALLS[2, 1:] = True


def test_walks_are_drawn_in_one_panel_a_query_with_what_was_asked_for():
    walk = np.array([[0, 0], [0, 1], [1, 1]])
    figure = plane.grid_paths({"bc": [walk, walk], "goal": [walk]}, WALLS, {"goal": np.array([[3, 3]])})
    left, right = figure.axes
    assert [len(a.collections) for a in (left, right)] == [2, 1]
    first, second = (c.get_segments()[0] for c in left.collections)
    assert not np.allclose(first, second)
    assert np.abs(first[0]).max() < 0.25
    frames = [line for line in right.lines if len(line.get_xdata()) == 5]
    assert len(frames) == 1
    assert np.mean(frames[0].get_xdata()[:4]) == pytest.approx(3)


def test_beliefs_write_out_the_probabilities_that_matter():
    sure = np.zeros((4, 4))
    sure[3, 0], sure[0, 1] = 0.96, 0.04
    figure = plane.grid_beliefs({"model": [sure], "exact": [sure]}, ["t = 1"], WALLS, {"s0": (0, 0)})
    for axes in figure.axes:
        assert sorted((t.get_text(), *map(round, t.get_position())) for t in axes.texts) == [("0.96", 3, 0), ("s0", 0, 0)]
