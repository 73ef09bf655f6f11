"""uniMASK's maze: its task, its starts, D4RL's waypoint controller and the published calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from maskbench.envs.maze2d import MazePOMDP
from maskbench.envs.maze2d.mazes import MAZES
from maskbench.envs.maze2d.waypoints import WaypointController
from maskbench.errors import ConfigError, EnvError
from maskbench.testing.check_env import check_env
from maskbench.trajectory import Episode

pytest.importorskip("mujoco")

#: Episodes that section 4.2 was measured on, and those made here.
PUBLISHED, HERE = 400, 800


def distances(states: np.ndarray) -> np.ndarray:
    return np.linalg.norm(states[..., :2].astype(np.float64) - states[..., 2:], axis=-1)


def returns(episodes: Sequence[Episode]) -> np.ndarray:
    return np.array([e.values["reward"].sum(dtype=np.float64) for e in episodes])


def finals(episodes: Sequence[Episode]) -> np.ndarray:
    return distances(np.array([e.final["state"] for e in episodes]))


@pytest.fixture(scope="module")
def noisy() -> list[Episode]:
    return list(MazePOMDP().generate(HERE, seed=0))


@pytest.fixture(scope="module")
def exact() -> list[Episode]:
    return list(MazePOMDP().generate(HERE, seed=0, noise=0.0))


def test_keeps_the_contract_of_environments() -> None:
    check_env(MazePOMDP("umaze", horizon=40), episodes=2)
    check_env(MazePOMDP(legacy_velocity_accumulation=True), episodes=2, full_horizon=False, render=False)


def test_shows_position_and_goal_but_no_velocity() -> None:
    family = MazePOMDP()
    assert (family.name, family.horizon) == ("maze2d_medium_pomdp", 200)
    assert family.spec["state"].parts == (("position", 0, 2), ("goal", 2, 4))
    env = family.make()
    observation, _ = env.reset(seed=3)
    position, velocity, goal = np.split(env.physics(), 3)
    assert np.abs(velocity).max() > 0
    np.testing.assert_array_equal(observation["state"], np.float32([*position, *goal]))
    np.testing.assert_array_equal(family.goal(3)["state"], np.float32([*goal, *goal]))


def test_starts_are_any_cell_and_goals_the_number_of_another() -> None:
    family = MazePOMDP()
    rows = np.array([family.start(seed) for seed in range(3000)])
    cells, goals = np.round(rows[:, :2]).astype(int), rows[:, 4:]
    free = {tuple(c) for c in MAZES["medium"].free.tolist()}
    assert {tuple(c) for c in cells.tolist()} == free == {tuple(c) for c in goals.astype(int).tolist()}
    assert (goals == np.round(goals)).all()
    assert (cells != goals).any(1).all()
    noise = rows[:, :2] - cells
    assert 0.29 < np.abs(noise).max() <= 0.3
    assert noise.std() == pytest.approx(0.3 / math.sqrt(3), rel=0.03)
    assert rows[:, 2:4].std() == pytest.approx(0.1, rel=0.03)


def test_start_velocities_add_up_over_resets_only_where_asked() -> None:
    right, legacy = MazePOMDP(), MazePOMDP(legacy_velocity_accumulation=True)
    rows = np.array([[f.start(seed) for seed in range(3000)] for f in (right, legacy)])
    speeds = np.linalg.norm(rows[:, :, 2:4], axis=2).mean(1)
    rayleigh = 0.1 * math.sqrt(math.pi / 2)
    assert speeds[0] == pytest.approx(rayleigh, rel=0.04)
    # After k resets the speed is sqrt(k) times as high; k is uniform on 1..1000.
    assert speeds[1] == pytest.approx(rayleigh * np.sqrt(np.arange(1, 1001)).mean(), rel=0.05)
    np.testing.assert_array_equal(rows[0][:, [0, 1, 4, 5]], rows[1][:, [0, 1, 4, 5]])


def test_a_return_is_the_distance_that_was_won(noisy: list[Episode]) -> None:
    first = distances(np.array([e.values["state"][0] for e in noisy]))
    np.testing.assert_allclose(returns(noisy), first - finals(noisy), atol=1e-5)


def test_the_goal_event_is_the_first_step_that_ends_within_its_radius() -> None:
    env = MazePOMDP("umaze").make()
    env.reset(options={"simulator": np.array([1.0, 1.9, 0.0, -1.0, 1.0, 1.0])})
    steps = [env.step(np.array([0.0, -0.1 if t < 60 else 0.5])) for t in range(150)]
    gaps = distances(np.array([s[0]["state"] for s in steps]))
    reached = int(np.argmax(gaps <= 0.3))
    assert reached > 0
    assert gaps[-1] > 0.3
    assert [t for t, s in enumerate(steps) if s[4]["events"]] == [reached]
    assert steps[reached][4]["events"] == ("goal",)
    assert [s[4]["success"] for s in steps] == [False] * reached + [True] * (150 - reached)
    assert "goal" in MazePOMDP.success_events


def test_a_restored_state_continues_bit_for_bit_towards_its_goal() -> None:
    env, rng = MazePOMDP().make(), np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (20, 2)).repeat(10, axis=0)
    env.reset(seed=5)
    way, rewards = [env.physics()], []
    for action in actions:
        rewards.append(env.step(action)[1])
        way.append(env.physics())
    env.reset(seed=6)
    env.reset(options={"simulator": way[57]})
    for t in range(57, 200):
        assert env.step(actions[t])[1] == rewards[t]
        np.testing.assert_array_equal(env.physics(), way[t + 1])


def test_plans_take_d4rls_way_where_two_are_equally_short() -> None:
    maze = MAZES["medium"]
    np.testing.assert_array_equal(maze.path(np.array([1, 1]), np.array([2, 2])), [[1, 2], [2, 2]])  # column after
    np.testing.assert_array_equal(maze.path(np.array([2, 2]), np.array([1, 1])), [[2, 1], [1, 1]])  # column before
    np.testing.assert_array_equal(maze.path(np.array([2, 1]), np.array([1, 2])), [[2, 2], [1, 2]])  # column after


def test_waypoints_lie_up_to_a_fifth_before_their_cells_and_end_at_the_goal() -> None:
    maze = MAZES["medium"]
    rows = np.array([[1.1, 0.9, 0, 0, 6, 6], [1, 1, 0, 0, 1, 2]], np.float64)
    controller = WaypointController(maze, rows, [np.random.default_rng(i) for i in range(2)])
    path = maze.path(np.array([1, 1]), np.array([6, 6]))
    before = path[:-1] - controller.plans[0, : len(path) - 1]
    assert ((before >= 0) & (before <= 0.2)).all()
    assert np.unique(before).size == before.size
    np.testing.assert_array_equal(controller.last, [len(path) - 1, 0])
    np.testing.assert_array_equal(controller.plans[0, len(path) - 1], [6, 6])
    np.testing.assert_array_equal(controller.plans[1], np.broadcast_to([1, 2], controller.plans[1].shape))


def test_the_controller_is_proportional_to_the_gap_and_moves_on_within_a_tenth() -> None:
    row = np.array([[1.0, 1.0, 0.02, -0.03, 6.0, 6.0]])
    controller = WaypointController(MAZES["medium"], row, [np.random.default_rng(0)])
    waypoint = controller.plans[0, 0]
    row[0, :2] = waypoint + np.array((0.05, -0.02))
    np.testing.assert_allclose(controller(row), [[-0.5 - 0.02, 0.2 + 0.03]])
    assert controller.at[0] == 1
    row[0, :2] = controller.plans[0, 1] + np.array((0.11, 0.0))
    np.testing.assert_allclose(controller(row)[0, 0], -1.0)
    assert controller.at[0] == 1


def test_noise_is_added_to_cut_forces_and_cut_again(noisy: list[Episode]) -> None:
    assert noisy[0].meta["noise"] == 0.5
    family = MazePOMDP(horizon=1)
    calm, some, loud = (np.array([e.values["action"][0] for e in family.generate(2000, 0, n)]) for n in (0.0, 0.1, 3.0))
    assert np.abs(calm).max() == np.abs(some).max() == np.abs(loud).max() == 1.0
    assert (np.abs(calm) == 1.0).mean() > 0.5 > (np.abs(some) == 1.0).mean()
    small = np.abs(calm) < 0.5
    assert (some - calm)[small].std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(("kind", "mean", "spread", "arrived"), [("noisy", 2.80, 1.04, 0.66), ("exact", 2.97, 1.16, 0.73)])
def test_the_expert_is_as_good_as_published(
    kind: str, mean: float, spread: float, arrived: float, request: pytest.FixtureRequest
) -> None:
    episodes = request.getfixturevalue(kind)
    both = math.sqrt(1 / PUBLISHED + 1 / HERE)
    assert returns(episodes).mean() == pytest.approx(mean, abs=3 * spread * both)
    assert returns(episodes).std() == pytest.approx(spread, abs=3 * spread * both / math.sqrt(2))
    assert (finals(episodes) < 0.3).mean() == pytest.approx(arrived, abs=3 * math.sqrt(arrived * (1 - arrived)) * both)
    first = distances(np.array([e.values["state"][0] for e in episodes]))
    assert first.mean() == pytest.approx(3.3, abs=0.05 + 3 * first.std() * both)


def test_the_expert_copes_with_accumulated_velocities_as_published() -> None:
    episodes = list(MazePOMDP(legacy_velocity_accumulation=True).generate(HERE, seed=0))
    assert returns(episodes).mean() == pytest.approx(2.86, abs=3 * 1.04 * math.sqrt(1 / PUBLISHED + 1 / HERE))


def test_the_expert_always_arrives_in_the_small_maze() -> None:
    assert finals(list(MazePOMDP("umaze").generate(100, seed=1))).max() < 0.3


def test_the_return_asked_for_is_that_of_the_nearest_beginning() -> None:
    family, here = MazePOMDP(), MazePOMDP().start(7)
    shifts = np.zeros((3, 6))
    shifts[0, 0] = 0.5  # 1.5 away: positions and goals count threefold
    shifts[1, 3] = 1.2  # 1.2 away
    shifts[2, 5] = -0.5
    target = family.return_target(7, {}, {"physics": here + shifts}, np.array([1.0, 2.0, 3.0]))
    assert target == pytest.approx(1.2 * 2.0)
    with pytest.raises(EnvError, match="simulator factor 'physics'"):
        family.return_target(7, {}, {}, np.ones(1))


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'umaze'"):
        MazePOMDP("umase")
