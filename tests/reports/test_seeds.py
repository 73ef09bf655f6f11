"""The seeds of a run beside each other."""

import csv
import math
from pathlib import Path

import pytest

from maskbench.errors import DataError
from maskbench.reports.seeds import seed_runs, seeds_table, write_seeds


def seed(folder: Path, losses: tuple[float, ...], total: float, success: float) -> None:
    (folder / "evaluation").mkdir(parents=True)
    (folder / "config.yaml").write_text("experiment: {name: a}\n")
    lines = ["step,validation/loss", *(f"{i},{value}" for i, value in enumerate(losses))]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    rows = f"bc,action,9,9,9,5,\nbc,total,{total},1,2,5,\n"
    (folder / "evaluation" / "task_losses.csv").write_text(f"task,factor,loss,low,high,n,floor\n{rows}")
    rows = f"goal,model,success,{success},0,1,5,share\ngoal,random,success,0,0,1,5,share\n"
    (folder / "evaluation" / "rollouts.csv").write_text(f"query,policy,metric,value,low,high,n,definition\n{rows}")


def test_every_result_has_its_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    seed(tmp_path / "cv_0", (5.0, 2.0, 3.0), 1.0, 0.5)
    seed(tmp_path / "cv_1", (6.0, 4.0), 1.5, 1.0)
    write_seeds(tmp_path)
    with (tmp_path / "seeds.csv").open() as file:
        rows = {r["result"]: r for r in csv.DictReader(file)}
    assert list(rows) == ["best validation loss", "bc loss", "goal success"]
    best = rows["best validation loss"]
    assert [float(best[k]) for k in ("mean", "least", "most", "seeds")] == [3.0, 2.0, 4.0, 2.0]
    assert float(best["sd"]) == pytest.approx(math.sqrt(2))
    assert float(rows["bc loss"]["mean"]) == 1.25
    assert float(rows["goal success"]["mean"]) == 0.75
    assert "| bc loss |" in (tmp_path / "seeds.md").read_text()


def test_seeds_are_counted_in_order_and_nothing_else_is_one(tmp_path: Path) -> None:
    for name in ("cv_10", "cv_2", "cv_x", "tuned", "cv_0/cv_1"):
        seed(tmp_path / name, (1.0,), 1.0, 0.0)
    seed(tmp_path / "cv_0" / "again", (1.0,), 1.0, 0.0)
    assert [p.name for p in seed_runs(tmp_path)] == ["cv_2", "cv_10"]
    assert seeds_table(tmp_path).rows[0][-1] == 2


def test_a_spread_needs_two_seeds_and_a_table_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected run folders cv_0"):
        seeds_table(tmp_path)
    seed(tmp_path / "cv_0", (1.0,), 1.0, 0.0)
    assert seeds_table(tmp_path).rows[0][:3] == ("best validation loss", 1.0, None)
