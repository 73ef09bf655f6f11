from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskbench.envs.base import Start
from maskbench.errors import ConfigError, DataError
from maskbench.rollout.plan import EpisodePlan, PlanRow, Waypoints


def test_build_gives_distinct_seeds_and_a_shorter_plan_begins_a_longer_one() -> None:
    long, short = EpisodePlan.build(200, seed=3), EpisodePlan.build(10, seed=3)
    assert len({r.env_seed for r in long}) == len({r.policy_seed for r in long}) == 200
    assert [r.to_json() for r in short] == [r.to_json() for r in long][:10]
    assert [r.env_seed for r in long] != [r.policy_seed for r in long]


def test_hash_tells_plans_apart_and_is_the_same_on_every_machine() -> None:
    assert EpisodePlan.build(4, seed=0).hash() == EpisodePlan.build(4, seed=0).hash() == "1ffefbf555f31e7e"
    others = [
        EpisodePlan.build(4, 1),
        EpisodePlan.build(5, 0),
        EpisodePlan.build(4, 0, "goal"),
        EpisodePlan.build(4, 0, budget=3),
    ]
    assert len({p.hash() for p in others} | {EpisodePlan.build(4, 0).hash()}) == 5


@given(
    goal=arrays(np.float32, (2, 3), elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan)),
    simulator=arrays(np.float64, 4, elements=st.floats(-1e9, 1e9)),
)
def test_saved_plan_comes_back_bit_for_bit(tmp_path_factory: Any, goal: np.ndarray, simulator: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    row = PlanRow(7, 1, 2, "goal", 3.5, {"state": goal, "key": np.array(3)}, 9, Start(simulator))
    plan = EpisodePlan((row, PlanRow(1, 5, 6)))
    plan.save(path)
    loaded = EpisodePlan.load(path)
    assert loaded.hash() == plan.hash()
    back = loaded.rows[0]
    assert back.goal is not None
    assert back.start is not None
    np.testing.assert_array_equal(back.goal["state"], goal)
    assert back.goal["state"].dtype == np.float32
    assert back.goal["key"].dtype == np.int64
    np.testing.assert_array_equal(back.start.simulator, simulator)
    assert loaded.rows[1].to_json() == plan.rows[1].to_json()


def test_numpy_numbers_make_the_same_plan() -> None:
    numpy_row = PlanRow(np.int64(0), np.int64(1), np.int64(2), target_return=np.float32(0.5))  # type: ignore[arg-type]
    assert EpisodePlan((numpy_row,)).hash() == EpisodePlan((PlanRow(0, 1, 2, target_return=0.5),)).hash()


def test_goals_are_those_of_the_environment_seed() -> None:
    plan = EpisodePlan.build(5, seed=0, query="goal", goal=lambda seed: {"state": np.array([seed % 7.0])})
    assert [r.goal["state"][0] for r in plan if r.goal] == [r.env_seed % 7 for r in plan]


def test_impossible_plans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unique"):
        EpisodePlan((PlanRow(0, 1, 1), PlanRow(0, 2, 2)))
    with pytest.raises(ConfigError, match="at least one row"):
        EpisodePlan(())
    with pytest.raises(ConfigError, match="budget"):
        PlanRow(0, 1, 1, budget=0)
    with pytest.raises(ConfigError, match="3 starts; found 1"):
        EpisodePlan.build(3, 0, starts=[Start(np.zeros(2))])
    (tmp_path / "bad.json").write_text('{"rows": 3}')
    with pytest.raises(DataError, match="no episode plan"):
        EpisodePlan.load(tmp_path / "bad.json")
    with pytest.raises(DataError, match="no episode plan at"):
        EpisodePlan.load(tmp_path / "absent.json")


def test_waypoints_survive_the_file_and_leave_other_plans_as_they_were(tmp_path):
    points = Waypoints(np.array([2, 5]), {"state": np.array([[1.0, np.nan], [3.0, 4.0]], np.float32)})
    plain = PlanRow(0, 1, 2)
    assert "waypoints" not in plain.to_json()
    EpisodePlan((PlanRow(0, 1, 2, "waypoint", waypoints=points),)).save(tmp_path / "plan.json")
    back = EpisodePlan.load(tmp_path / "plan.json").rows[0].waypoints
    assert back.times.tolist() == [2, 5]
    np.testing.assert_array_equal(back.states["state"], points.states["state"])
    assert back.states["state"].dtype == np.float32


@pytest.mark.parametrize("times", [[], [0, 1], [3, 3], [4, 2]])
def test_waypoints_come_one_after_the_other_from_the_first_step_on(times):
    with pytest.raises(ConfigError, match="ascending times from 1 on"):
        Waypoints(np.array(times, np.int64), {"state": np.zeros(len(times))})


def test_every_waypoint_needs_a_state():
    with pytest.raises(ConfigError, match="2 waypoints need as many states"):
        Waypoints(np.array([1, 2]), {"state": np.zeros(3)})


@pytest.mark.parametrize(
    ("judged", "grace", "counted"),
    [
        (None, 0, [[], []]),
        ("by_deadline", 0, [[1, 2], [1, 2, 3, 4]]),
        ("by_deadline", 2, [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6]]),
        ("segment", 0, [[1, 2], [3, 4]]),
        ("episode", 0, [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]]),
    ],
)
def test_the_states_that_count_for_each_of_several_goals(judged, grace: int, counted: list[list[int]]) -> None:
    """MaskDP spec 3.2 and 6.4; the state before any action never counts."""
    points = Waypoints(np.array([2, 4]), {"state": np.zeros((2, 1))}, judged, grace)
    for goal in range(2):
        assert [step for step in range(1, 7) if points.counts(step)[goal]] == counted[goal]
