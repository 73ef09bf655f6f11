from dataclasses import replace
from pathlib import Path

import pytest

from maskbench.errors import DataError
from maskbench.reports.average import acted, over_seeds, spread
from maskbench.reports.collect import RolloutResult, Run, TaskLoss


def run(loss: float, value: float) -> Run:
    losses = (TaskLoss("bc", "total", loss, loss - 0.196, loss + 0.196, 100, 1.0),)
    rollouts = (RolloutResult("bc", "model", "return", value, value - 0.196, value + 0.196, 50, "sum of rewards"),)
    return Run(Path("root/seed"), task_losses=losses, rollouts=rollouts)


def test_mean_over_seeds_keeps_the_evaluations_error_and_adds_the_seeds_spread() -> None:
    both = over_seeds([run(1.0, 2.0), run(1.2, 2.4)])
    (loss,), (rollout,) = both.task_losses, both.rollouts
    assert loss.loss == pytest.approx(1.1)
    assert loss.floor == 1.0
    error = (loss.high - loss.low) / 3.92
    assert error == pytest.approx((0.1**2 + 0.02 / 2) ** 0.5)  # shared questions: 0.1 stays, seeds add var / 2
    assert rollout.value == pytest.approx(2.2)
    assert rollout.n == 100
    assert (rollout.high - rollout.low) / 3.92 == pytest.approx((0.1**2 / 2 + 0.08 / 2) ** 0.5)


def test_one_seed_keeps_its_own_interval_and_none_is_refused() -> None:
    (loss,) = over_seeds([run(1.0, 2.0)]).task_losses
    assert (loss.low, loss.high) == (pytest.approx(0.804), pytest.approx(1.196))
    lopsided = RolloutResult("bc", "model", "success", 1.0, 0.98, 1.0, 200, "share of episodes")
    assert acted([replace(run(1.0, 2.0), rollouts=(lopsided,))], "bc", "success").low == 0.98
    assert spread([3.0], [0.5], shared=False) == (3.0, 0.5)
    with pytest.raises(DataError, match="no runs"):
        over_seeds([])


def test_what_models_did_under_a_query_is_found_and_its_absence_named() -> None:
    assert acted([run(1.0, 2.0), run(1.2, 2.4)], "bc").value == pytest.approx(2.2)
    with pytest.raises(DataError, match="no rollouts of query 'goal'"):
        acted([run(1.0, 2.0)], "goal")
