"""Targets of rollouts that come from the training episodes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from maskbench.app.config.schema_play import Query
from maskbench.app.plans import build_plan, waypoint_times
from maskbench.data.dataset import Dataset, load_dataset
from maskbench.envs.blockpush import BlockPush
from maskbench.envs.doorkey import DoorKey
from maskbench.envs.maze2d import MazePOMDP
from maskbench.envs.pointmass import PointMass
from maskbench.errors import ConfigError
from maskbench.rollout.plan import PlanRow
from maskbench.rollout.policy import ReplayPolicy
from maskbench.rollout.runner import RolloutRunner

NEAREST = Query("return", "closed", None, "nearest", 1.0, False)


@pytest.fixture
def grid(tmp_path: Path) -> Dataset:
    return load_dataset(DoorKey(), generate={"episodes": 60}, split={"train": 40, "test": 20}, root=tmp_path)


def test_each_row_asks_for_what_the_training_episode_that_began_alike_earned(grid: Dataset) -> None:
    environment = DoorKey()
    plan, recorded = build_plan(environment, grid, NEAREST, "return", 70, 0, 5)
    assert recorded == {}
    assert [r.row for r in plan] == list(range(70))
    assert {r.budget for r in plan} == {5}
    starts = {e: grid.store.episode(int(e)) for e in grid.split.train}
    batch = environment.make_batch(1)
    for row in plan:
        here = batch.reset([0], [row.env_seed])
        unlike = {e: sum(s.values[n][0] != here[n][0] for n in here) for e, s in starts.items()}
        nearest = min(unlike, key=lambda e: (unlike[e], e))
        assert row.target_return == pytest.approx(float(starts[nearest].values["reward"].sum()))
    assert len({r.target_return for r in plan}) > 1


def test_a_shorter_plan_is_the_beginning_of_a_longer_one(grid: Dataset) -> None:
    short, long = (build_plan(DoorKey(), grid, NEAREST, "return", n, 3, None)[0] for n in (5, 66))
    assert [r.to_json() for r in short] == [r.to_json() for r in long][:5]


def test_the_environment_says_what_is_near_and_how_much_to_ask_for(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    environment = MazePOMDP("umaze", horizon=10)
    data = load_dataset(environment, generate={"episodes": 30}, split={"train": 25, "test": 5}, root=tmp_path)
    plan, _ = build_plan(environment, data, NEAREST, "return", 6, 0, None)
    starts = np.array([data.store.episode(int(e)).values["physics"][0] for e in data.split.train])
    earned = np.array([data.store.episode(int(e)).values["reward"].sum() for e in data.split.train])
    for row in plan:
        gaps = (starts - environment.start(row.env_seed)) * [3, 3, 1, 1, 3, 3]
        assert row.target_return == pytest.approx(1.2 * earned[np.argmin(np.square(gaps).sum(1))], rel=1e-4)


def test_waypoints_lie_where_the_task_of_training_shows_them() -> None:
    assert list(waypoint_times(10, 10)) == [3, 6, 9]
    assert list(waypoint_times(5, 5)) == [1, 3, 4]
    assert list(waypoint_times(20, 10)) == [3, 6, 9, 12, 15, 18]
    assert list(waypoint_times(4, 2)) == [1, 2, 3]


WAYPOINT = Query("waypoint", "closed", None, None, 1.0, False)


def test_replay_passes_every_waypoint_exactly(grid: Dataset) -> None:
    environment = DoorKey()
    plan, recorded = build_plan(environment, grid, WAYPOINT, "waypoint", 50, 0, None, 10)
    assert len({r.policy_seed for r in plan}) == 50  # more rows than the 20 held-out episodes
    assert len({r.env_seed for r in plan}) <= 20
    records = RolloutRunner(environment, lambda: ReplayPolicy(recorded), num_slots=16, progress=False).run(plan)
    assert all(r.metrics["waypoints_hit"] == 1 and r.metrics["waypoint_distance"] == 0 and r.length == 10 for r in records)
    wrong = {row: (actions + 1) % 4 for row, actions in recorded.items()}
    missed = RolloutRunner(environment, lambda: ReplayPolicy(wrong), num_slots=16, progress=False).run(plan)
    assert np.mean([r.metrics["waypoints_hit"] for r in missed]) < 0.3


def test_replay_passes_the_waypoints_of_a_window_shorter_than_the_episode(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    environment = MazePOMDP("umaze", horizon=30)
    data = load_dataset(environment, generate={"episodes": 8}, split={"train": 5, "test": 3}, root=tmp_path)
    plan, recorded = build_plan(environment, data, WAYPOINT, "waypoint", 3, 0, None, 10)
    assert [r.waypoints.times.tolist() for r in plan] == [list(range(3, 30, 3))] * 3
    records = RolloutRunner(environment, lambda: ReplayPolicy(recorded), num_slots=3, progress=False).run(plan)
    assert all(r.metrics["waypoints_hit"] == 1 and r.metrics["waypoint_distance"] < 1e-3 for r in records)


DEMONSTRATED = Query("goal", "closed", None, None, 1.0, False, goals="demonstrated")


def test_replay_repeats_every_part_of_the_demonstrations_whose_ends_are_asked_for(tmp_path: Path) -> None:
    environment = PointMass(1)
    data = load_dataset(environment, generate={"episodes": 40}, split={"train": 30, "test": 10}, root=tmp_path)
    plan, recorded = build_plan(environment, data, DEMONSTRATED, "goal", 25, 0, None)
    assert len({r.policy_seed for r in plan}) == 25  # more rows than the ten held-out episodes
    for row in plan:
        assert PlanRow.from_json(json.loads(json.dumps(row.to_json()))).to_json() == row.to_json()
    records = RolloutRunner(environment, lambda: ReplayPolicy(recorded), num_slots=8, progress=False).run(plan)
    assert all(r.metrics["goal_parts"] == 1 and r.metrics["goal_distance"] < 1e-5 for r in records)
    other = {r.row: next(recorded[o.row] for o in plan if o.mode != r.mode) for r in plan}
    crossed = RolloutRunner(environment, lambda: ReplayPolicy(other), num_slots=8, progress=False).run(plan)
    assert all(r.metrics["goal_parts"] == 0 for r in crossed)


def test_the_end_of_a_demonstration_is_as_many_states_as_the_goals_of_the_training(tmp_path: Path) -> None:
    data = load_dataset(PointMass(1), generate={"episodes": 10}, split={"train": 5, "test": 5}, root=tmp_path)
    plan, _ = build_plan(PointMass(1), data, DEMONSTRATED, "goal", 5, 0, None, goal_frames=4)
    for row, whole in zip(
        plan, build_plan(PointMass(1), data, DEMONSTRATED, "goal", 5, 0, None, goal_frames=10_000)[0], strict=True
    ):
        assert PlanRow.from_json(json.loads(json.dumps(row.to_json()))).to_json() == row.to_json()
        assert row.approach is not None
        assert whole.approach is not None
        (name,) = row.approach
        episode = next(e for e in map(int, data.split.test) if np.array_equal(data.store.finals[name][e], row.goal[name]))
        recorded = data.store.episode(episode).values[name]
        np.testing.assert_array_equal(row.approach[name], recorded[-3:])
        np.testing.assert_array_equal(whole.approach[name], recorded)


def test_the_ends_of_demonstrations_need_held_out_ones() -> None:
    with pytest.raises(ConfigError, match=r"query.goals=demonstrated asks for the ends of held-out episodes"):
        build_plan(PointMass(1), None, DEMONSTRATED, "goal", 2, 0, None)


def test_a_goal_of_its_own_is_refused_where_an_environment_has_none() -> None:
    query = Query("goal", "closed", None, None, 1.0, False, goals="own")
    with pytest.raises(ConfigError, match=r"'blockpush' has no goal of its own.*query.goals=demonstrated"):
        build_plan(BlockPush(), None, query, "goal", 2, 0, None)


def test_waypoints_need_held_out_episodes() -> None:
    with pytest.raises(ConfigError, match="query=waypoint takes its states from held-out episodes"):
        build_plan(DoorKey(), None, WAYPOINT, "waypoint", 2, 0, None, 10)


def test_targets_from_data_need_data() -> None:
    with pytest.raises(ConfigError, match=r"query.target=nearest needs episodes with rewards"):
        build_plan(DoorKey(), None, NEAREST, "return", 2, 0, None)


@pytest.mark.parametrize(("asked", "share"), [("60%", 0.6), ("100%", 1.0), ("110%", 1.1)])
def test_a_percentage_is_that_much_of_the_way_from_the_least_return_to_the_greatest(
    grid: Dataset, asked: str, share: float
) -> None:
    returns = np.array([grid.store.episode(int(e)).values["reward"].sum() for e in grid.split.train])
    plan, _ = build_plan(DoorKey(), grid, Query("return", "closed", None, asked, 1.0, False), "return", 3, 0, None)
    expected = returns.min() + share * (returns.max() - returns.min())
    assert [row.target_return for row in plan] == pytest.approx([expected] * 3)
