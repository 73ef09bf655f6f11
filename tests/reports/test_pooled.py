"""Several seeds as one number: runs are drawn before episodes."""

import json

import numpy as np
import pytest

from maskbench.errors import DataError
from maskbench.reports.pooled import episode_values, over_seeds


def run(folder, returns, query="bc"):
    target = folder / "evaluation" / query
    target.mkdir(parents=True)
    rows = [{"episode_return": r, "success": bool(r > 1), "metrics": {"score": 10 * r}} for r in map(float, returns)]
    (target / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_values_are_those_of_the_records(tmp_path) -> None:
    folder = run(tmp_path / "a", [1.0, 2.0])
    assert episode_values(folder, "bc").tolist() == [1, 2]
    assert episode_values(folder, "bc", "success").tolist() == [0, 1]
    assert episode_values(folder, "bc", "score").tolist() == [10, 20]


def test_the_interval_knows_that_seeds_differ(tmp_path) -> None:
    rng = np.random.default_rng(0)
    runs = [run(tmp_path / str(i), list(m + rng.normal(0, 0.1, 40))) for i, m in enumerate((0.0, 5.0, 10.0))]
    apart = over_seeds(runs, "bc")
    assert apart.value == pytest.approx(5, abs=0.1)
    assert apart.high - apart.low > 5
    alone = over_seeds(runs[1:2], "bc")
    assert alone.high - alone.low < 0.2
    assert over_seeds(runs, "bc") == apart


def test_what_is_not_there_is_named(tmp_path) -> None:
    folder = run(tmp_path / "a", [1.0])
    with pytest.raises(DataError, match="goal"):
        over_seeds([folder], "goal")
    with pytest.raises(DataError, match="speed"):
        over_seeds([folder], "bc", "speed")
