from pathlib import Path

import numpy as np
import pytest
from tests.reports.demo import TASKS, write_run

from maskbench.errors import DataError
from maskbench.reports.collect import Matrix, collect, find_runs, task_matrix


def test_run_folder_is_read_whole(tmp_path: Path) -> None:
    run = collect(write_run(tmp_path / "run"))
    assert run.name == "doorkey_random_mask"
    assert run.curves["validation/loss"].steps.tolist() == [0, 500, 1000, 1500, 2000]  # blank cells left out
    assert len(run.curves["train/loss"].values) == 21
    assert run.timing["samples_per_second"].values.tolist() == [5200, 5400]
    total = next(x for x in run.task_losses if (x.task, x.factor) == ("past", "total"))
    assert (total.loss, total.floor, total.n) == (4.95, 4.6, 5000)
    assert next(x for x in run.task_losses if x.factor == "action").floor is None
    assert [r.value for r in run.rollouts if r.metric == "success"] == [0.82, 0.93, 0.04]
    assert np.isnan(next(r for r in run.rollouts if r.metric == "return").low)
    assert list(run.films) == ["goal"]
    assert run.card["hash"] == "9f3a6c21"
    sizes = dict(run.files())
    assert "evaluation/rollouts.csv" in sizes
    assert sizes["timing.csv"] == (run.folder / "timing.csv").stat().st_size


def test_missing_files_are_empty_not_invented(tmp_path: Path) -> None:
    run = collect(tmp_path)
    assert (run.config, run.curves, run.task_losses, run.rollouts, run.films, run.card) == ({}, {}, (), (), {}, {})
    assert run.name == tmp_path.name
    with pytest.raises(DataError, match="no run folder"):
        collect(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.csv", "step,loss\n1,much\n", r"line 2 of .*'loss' must be a number; found 'much'"),
        ("metrics.csv", "epoch,loss\n1,2\n", "needs a column 'step'"),
        ("evaluation/task_losses.csv", "task,factor\na,b\n", "has no 'loss'"),
        ("card.json", "[1]", "must hold one object"),
        ("config.yaml", "a: [1", "no YAML"),
    ],
)
def test_malformed_files_are_named_with_the_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        collect(tmp_path)


def test_runs_are_found_below_a_root_without_hidden_folders(tmp_path: Path) -> None:
    for name in ("a/0", "a/1", "a/1/.hydra"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text("a: 1\n")
    assert [p.name for p in find_runs(tmp_path)] == ["0", "1"]


def test_matrix_of_runs_has_one_row_a_run_and_its_floor(tmp_path: Path) -> None:
    run = collect(write_run(tmp_path / "run"))
    matrix = task_matrix({"random": run, "empty": collect(tmp_path)})
    assert matrix.columns == tuple(TASKS)
    assert matrix.values[0].tolist() == [loss for loss, _ in TASKS.values()]
    assert np.isnan(matrix.values[1]).all()
    np.testing.assert_allclose(matrix.excess()[0], [loss - floor for loss, floor in TASKS.values()])
    np.testing.assert_array_equal(matrix.normalised()[0], 1.0)


def test_excess_without_a_floor_is_refused() -> None:
    with pytest.raises(DataError, match="no floor"):
        Matrix("m", ("a",), ("b",), np.ones((1, 1))).excess()
