from functools import partial

import numpy as np
import pytest
import torch
from tests.rollout.fakes import Counter, Drift, NetworkPolicy, RewardOnly

from maskbench.envs.base import Start
from maskbench.errors import ConfigError, EnvError
from maskbench.rollout.plan import EpisodePlan, PlanRow
from maskbench.rollout.policy import RandomPolicy, ReplayPolicy, ZeroPolicy
from maskbench.rollout.runner import RolloutRunner
from maskbench.trajectory import EpisodeRecord

GOAL_PLAN = EpisodePlan.build(23, seed=1, query="goal", goal=Drift().goal, target_return=-4.0)


def same(a: list[EpisodeRecord], b: list[EpisodeRecord]) -> bool:
    def bits(record: EpisodeRecord) -> object:
        arrays = {k: (v.dtype.str, v.shape, v.tobytes()) for k, v in (record.trajectory or {}).items()}
        return record.to_json(), arrays

    return [bits(r) for r in a] == [bits(r) for r in b]


def network_runner(workers: int = 1, num_slots: int = 64) -> RolloutRunner:
    return RolloutRunner(Drift(), NetworkPolicy, workers=workers, num_slots=num_slots, record_trajectories=True)


@pytest.fixture(scope="module")
def reference() -> list[EpisodeRecord]:
    return network_runner().run(GOAL_PLAN)


@pytest.mark.parametrize("num_slots", [1, 2, 5, 23])
def test_records_are_bit_identical_with_any_number_of_slots(reference: list[EpisodeRecord], num_slots: int) -> None:
    assert same(network_runner(num_slots=num_slots).run(GOAL_PLAN), reference)


@pytest.mark.parametrize("workers", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_records_are_bit_identical_with_any_number_of_workers(reference: list[EpisodeRecord], workers: int) -> None:
    assert same(network_runner(workers, num_slots=3).run(GOAL_PLAN), reference)


def test_a_record_depends_on_its_own_row_only(reference: list[EpisodeRecord]) -> None:
    some = EpisodePlan(tuple(reversed(GOAL_PLAN.rows[4:9])))
    assert same(network_runner().run(some), list(reversed(reference[4:9])))


def test_without_care_records_are_close_but_not_bit_identical(reference: list[EpisodeRecord]) -> None:
    if "AVX" not in torch.backends.cpu.get_cpu_capability():
        pytest.skip("needs vector registers, whose rounding differs from scalar code")
    careless = RolloutRunner(Drift(), NetworkPolicy, num_slots=1, record_trajectories=True, invariant=False)
    close = careless.run(GOAL_PLAN)
    assert not same(close, reference)
    np.testing.assert_allclose([r.episode_return for r in close], [r.episode_return for r in reference], rtol=1e-3)


def test_trajectory_holds_states_before_actions_and_the_final_state() -> None:
    actions = {0: np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]], np.float32)}
    plan = EpisodePlan((PlanRow(0, env_seed=5, policy_seed=0, budget=3),))
    (record,) = RolloutRunner(Drift(), partial(ReplayPolicy, actions), record_trajectories=True).run(plan)
    world = Drift().make()
    states = [world.reset(seed=5)[0]["state"]]
    rewards = []
    for action in actions[0]:
        observation, reward, *_ = world.step(action)
        states.append(observation["state"])
        rewards.append(reward)
    assert record.trajectory is not None
    np.testing.assert_array_equal(record.trajectory["state"], states[:3])
    np.testing.assert_array_equal(record.trajectory["final.state"], states[3])
    np.testing.assert_array_equal(record.trajectory["action"], actions[0])
    np.testing.assert_array_equal(record.trajectory["reward"], np.array(rewards, np.float32))
    assert record.length == 3
    assert record.episode_return == pytest.approx(sum(rewards))
    assert record.metrics == {"normalised_score": record.episode_return / 10}


def test_goal_distance_is_the_least_after_any_action_and_never_that_of_the_start() -> None:
    start = np.array([9.0, 1.0, 0.5])
    goal = {"state": np.array([np.nan, 1.0, 0.5], np.float32)}
    plan = EpisodePlan((PlanRow(0, 0, 0, "goal", goal=goal, budget=4, start=Start(start)), PlanRow(1, 3, 0, budget=4)))
    factory = partial(ReplayPolicy, {0: np.ones((4, 2), np.float32), 1: np.zeros((1, 2), np.float32)})
    asked, free = RolloutRunner(Drift(), factory, record_trajectories=True).run(plan)
    assert asked.length == 1  # the world ends where |x| > 3
    assert asked.trajectory is not None
    np.testing.assert_array_equal(asked.trajectory["state"][0], start.astype(np.float32))
    gap = np.linalg.norm(asked.trajectory["final.state"][1:] - goal["state"][1:])
    assert asked.metrics["goal_distance"] == asked.metrics["final_goal_distance"] == pytest.approx(gap, rel=1e-6)
    assert gap > 0
    assert "goal_distance" not in free.metrics


def test_distances_are_also_told_in_deviations_where_these_are_given() -> None:
    spreads = {"state": np.array([1.0, 2.0, 0.5])}
    runner = RolloutRunner(
        Drift(), partial(RandomPolicy, Drift.spec["action"], -1.0, 1.0), record_trajectories=True, spreads=spreads
    )
    for row, record in zip(GOAL_PLAN, runner.run(GOAL_PLAN), strict=True):
        assert record.trajectory is not None
        assert row.goal is not None
        visited = np.concatenate([record.trajectory["state"][1:], record.trajectory["final.state"][None]])
        gaps = (visited[:, 1:].astype(np.float64) - row.goal["state"][1:]) / spreads["state"][1:]
        assert record.metrics["goal_distance_scaled"] == pytest.approx(np.linalg.norm(gaps, axis=1).min())
        assert record.metrics["goal_distance_scaled"] != record.metrics["goal_distance"]


def test_goal_distance_agrees_with_the_recorded_states(reference: list[EpisodeRecord]) -> None:
    for record, row in zip(reference, GOAL_PLAN, strict=True):
        assert record.trajectory is not None
        assert row.goal is not None
        visited = np.concatenate([record.trajectory["state"][1:], record.trajectory["final.state"][None]])
        gaps = np.linalg.norm(visited[:, 1:].astype(np.float64) - row.goal["state"][1:], axis=1)
        assert record.metrics["goal_distance"] == pytest.approx(gaps.min())
        assert record.metrics["final_goal_distance"] == pytest.approx(gaps[-1])


def test_horizon_ends_a_world_that_does_not_end_itself() -> None:
    (record,) = RolloutRunner(Counter(), partial(ZeroPolicy, Counter.spec["move"])).run(EpisodePlan.build(1, 0))
    assert record.length == Counter.horizon
    assert not record.terminated


def test_success_means_a_success_event_and_none_where_the_environment_has_no_such_notion() -> None:
    plan, policy = EpisodePlan.build(12, 0, budget=2), partial(RandomPolicy, Counter.spec["move"])
    records = RolloutRunner(Counter(), policy, record_trajectories=True).run(plan)
    assert {r.success for r in records} == {True, False}
    assert all(r.success == any(name == "target" for _, name in r.events) for r in records)
    assert all(r.success == (r.episode_return > 0) for r in records)
    assert {r.success for r in RolloutRunner(RewardOnly(), policy).run(plan)} == {None}
    assert all(r.trajectory is not None and r.trajectory["move"].dtype == np.int64 for r in records)


def test_event_times_count_executed_actions_from_zero(reference: list[EpisodeRecord]) -> None:
    ended = [r for r in reference if r.terminated]
    assert ended
    assert all(r.events[-1] == (r.length - 1, "goal") for r in ended)


def test_filming_keeps_records_and_shows_the_start_and_every_step(reference: list[EpisodeRecord]) -> None:
    runner = RolloutRunner(Drift(), NetworkPolicy, num_slots=4, record_trajectories=True, frames=(2, 11))
    records = runner.run(GOAL_PLAN)
    assert same(records, reference)
    assert sorted(runner.films) == [2, 11]
    assert runner.films[2][:, 0, 0, 0].tolist() == list(range(records[2].length + 1))


def test_error_names_the_rows_then_alive() -> None:
    seed = GOAL_PLAN.rows[6].env_seed
    with pytest.raises(ZeroDivisionError) as caught:
        RolloutRunner(Drift(seed), NetworkPolicy, num_slots=1).run(GOAL_PLAN)
    assert caught.value.__notes__ == [f"while rolling out rows: 6 (env_seed {seed}, step 0)"]


def test_error_in_a_worker_surfaces_with_its_row() -> None:
    plan = EpisodePlan(GOAL_PLAN.rows[:4])
    seed = plan.rows[3].env_seed
    with pytest.raises(ZeroDivisionError, match="diverged") as caught:
        RolloutRunner(Drift(seed), NetworkPolicy, workers=2, num_slots=1).run(plan)
    assert caught.value.__notes__ == [f"while rolling out rows: 3 (env_seed {seed}, step 0)"]


def test_what_cannot_travel_to_workers_is_named() -> None:
    with pytest.raises(ConfigError, match=r"policy_factory.*workers=1"):
        RolloutRunner(Drift(), lambda: NetworkPolicy(), workers=2).run(GOAL_PLAN)


def test_mistakes_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        RolloutRunner(Drift(), NetworkPolicy, workers=0)
    with pytest.raises(ConfigError, match=r"cannot film rows \[99\]"):
        RolloutRunner(Drift(), NetworkPolicy, frames=(99,)).run(GOAL_PLAN)
    with pytest.raises(ConfigError, match="no actions are stored to replay for row 0"):
        RolloutRunner(Drift(), partial(ReplayPolicy, {})).run(EpisodePlan.build(1, 0))
    unknown = EpisodePlan((PlanRow(0, 0, 0, goal={"speed": np.zeros(1)}),))
    with pytest.raises(EnvError, match=r"asks for \['speed'\]"):
        RolloutRunner(Drift(), NetworkPolicy).run(unknown)
