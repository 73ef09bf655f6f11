"""maze2d: D4RL's conventions, gymnasium-robotics' dynamics, the waypoint expert."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.envs.maze2d import Maze2D
from maskbench.envs.maze2d.mazes import MAZES, TO_CENTRE
from maskbench.errors import ConfigError

pytest.importorskip("mujoco")


@pytest.mark.parametrize(
    ("size", "shape", "free", "goal", "horizon"),
    [("umaze", (5, 5), 7, (1, 1), 300), ("medium", (8, 8), 26, (6, 6), 600), ("large", (9, 12), 46, (7, 9), 800)],
)
def test_mazes_are_the_published_ones(
    size: str, shape: tuple[int, int], free: int, goal: tuple[int, int], horizon: int
) -> None:
    family = Maze2D(size)
    assert (family.name, family.horizon) == (f"maze2d_{size}", horizon)
    assert family.maze.walls.shape == shape
    assert len(family.maze.free) == free
    target = family.goal(123)["state"]
    np.testing.assert_array_equal(target, [*goal, np.nan, np.nan])


@pytest.mark.parametrize("size", MAZES)
@pytest.mark.filterwarnings("ignore")
def test_dynamics_are_those_of_point_maze_after_the_axis_swap(size: str) -> None:
    gymnasium_robotics = pytest.importorskip("gymnasium_robotics")
    reference = gymnasium_robotics.envs.maze.point_maze.PointMazeEnv(
        maze_map=getattr(gymnasium_robotics.envs.maze.maps, {"umaze": "U_MAZE"}.get(size, f"{size.upper()}_MAZE"))
    )
    family = Maze2D(size)
    np.testing.assert_array_equal(np.array(reference.maze.maze_map) == 1, family.maze.walls)
    height, width = family.maze.walls.shape

    def swapped(q0: float, q1: float, v0: float, v1: float) -> np.ndarray:
        return np.array([q1 + 0.7 - width / 2, height / 2 - 0.7 - q0, v1, -v0])

    env = family.make()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        env.reset(seed=seed)
        reference.reset(seed=seed)
        start = swapped(*env.physics())
        reference.point_env.set_state(start[:2], start[2:])
        for force in rng.uniform(-1, 1, (25, 2)).repeat(12, axis=0):
            env.step(force)
            found = reference.step(np.array([force[1], -force[0]]))[0]["observation"]
            np.testing.assert_allclose(swapped(*env.physics()), found, atol=1e-8)


def test_starts_are_free_cells_with_published_noise() -> None:
    env = Maze2D("medium").make()
    starts = np.array([env.reset(seed=s)[0]["state"] for s in range(1000)], np.float64)
    cells = np.round(starts[:, :2])
    assert np.abs(starts[:, :2] - cells).max() <= 0.1 + 1e-6
    assert {tuple(c) for c in cells.astype(int)} == {tuple(c) for c in MAZES["medium"].free}
    assert starts[:, 2:].std() == pytest.approx(0.1, rel=0.1)
    still = Maze2D("medium", start_noise=0.0, velocity_noise=0.0).make().reset(seed=0)[0]["state"]
    np.testing.assert_array_equal(still, [*np.round(still[:2]), 0, 0])


def test_a_restored_state_continues_bit_for_bit() -> None:
    env, rng = Maze2D("umaze").make(), np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (20, 2)).repeat(10, axis=0)
    env.reset(seed=0)
    way = [env.physics()]
    for action in actions:
        env.step(action)
        way.append(env.physics())
    env.reset(options={"simulator": way[57]})
    for t in range(57, 200):
        env.step(actions[t])
        np.testing.assert_array_equal(env.physics(), way[t + 1])


def test_reward_and_event_mark_the_goal_region() -> None:
    env = Maze2D("umaze").make()
    env.reset(options={"simulator": np.array([1.0, 1.8, 0.0, -2.0])})
    rewards, events, gaps = [], [], []
    for t in range(120):
        push = np.array([0.0, -0.2 if t < 60 else 0.6])
        state, reward, terminated, _, info = env.step(push)
        rewards.append(reward)
        events.append(info["events"])
        gaps.append(float(np.linalg.norm(state["state"][:2] - 1.0)))
        assert not terminated
    assert rewards == [float(g <= 0.5) for g in gaps]
    assert rewards[0] == 0 == rewards[-1]
    first = rewards.index(1.0)
    assert [e for e in events if e] == [("goal",)]
    assert events[first] == ("goal",)


def test_forces_beyond_one_are_cut_and_speed_is_limited() -> None:
    env, row = Maze2D("large").make(), np.array([3.0, 1.0, 0.0, 0.0])
    env.reset(options={"simulator": row})
    strong = env.step(np.array([0.0, 9.0]))[0]["state"]
    env.reset(options={"simulator": row})
    np.testing.assert_array_equal(strong, env.step(np.array([0.0, 1.0]))[0]["state"])
    env.reset(options={"simulator": np.array([3.0, 1.0, 0.0, 50.0])})
    assert env.step(np.zeros(2))[0]["state"][3] <= 5.0


@pytest.mark.parametrize("size", MAZES)
def test_next_cells_lead_to_the_goal_through_free_neighbours(size: str) -> None:
    maze = MAZES[size]
    for goal in maze.free:
        for start in maze.free:
            cell = start
            for _ in range(maze.walls.size):
                if (cell == goal).all():
                    break
                following = maze.next_cell[(*cell, *goal)]
                assert np.abs(following - cell).sum() == 1
                assert not maze.walls[tuple(following)]
                cell = following
            assert (cell == goal).all()


@given(st.floats(-0.69, 0.29), st.floats(-0.69, 0.29), st.sampled_from([tuple(c) for c in MAZES["large"].free.tolist()]))
def test_every_point_of_a_cell_belongs_to_it(row: float, column: float, cell: tuple[int, int]) -> None:
    assert tuple(MAZES["large"].cell(np.add(cell, (row, column)))) == cell


def test_expert_is_the_same_for_one_state_and_for_many() -> None:
    maze, rng = MAZES["medium"], np.random.default_rng(0)
    states = np.concatenate([rng.choice(maze.free, 50) - TO_CENTRE, rng.standard_normal((50, 2))], 1)
    goals = rng.choice(maze.free, 50).astype(float)
    many = maze.expert(states, goals)
    assert (many.shape, many.dtype) == ((50, 2), np.float32)
    np.testing.assert_array_equal(many, [maze.expert(s, g) for s, g in zip(states, goals, strict=True)])


@pytest.mark.parametrize(("size", "expected"), [("umaze", 234), ("medium", 480), ("large", 632)])
def test_expert_reaches_the_goal_and_scores_as_measured(size: str, expected: float) -> None:
    family = Maze2D(size)
    returns = [float(e.values["reward"].sum()) for e in family.generate(20, seed=0, noise=0.0, goals="task")]
    assert min(returns) > 0
    assert np.mean(returns) == pytest.approx(expected, rel=0.08)


def test_random_goals_cover_the_maze() -> None:
    family = Maze2D("umaze", horizon=3000)
    episode = next(family.generate(1, seed=0))
    cells = {tuple(c) for c in family.maze.cell(episode.values["state"][:, :2])}
    assert cells == {tuple(c) for c in family.maze.free}
    assert 0 < episode.values["reward"].mean() < 0.6


def test_noise_is_added_to_the_expert_and_stored_with_it() -> None:
    family = Maze2D("umaze")
    episode = next(family.generate(1, seed=0, noise=0.1, goals="task"))
    wanted = family.maze.expert(episode.values["physics"], family.maze.goal)
    added = (episode.values["action"] - wanted)[np.abs(wanted) < 0.5]
    assert added.std() == pytest.approx(0.1, rel=0.1)
    loud = next(family.generate(1, seed=0, noise=2.0))
    assert np.abs(loud.values["action"]).max() == 1.0


@pytest.mark.parametrize(("size", "low", "high"), [("umaze", 23.85, 161.86), ("medium", 13.13, 277.39), ("large", 6.7, 273.99)])
def test_scores_are_d4rls(size: str, low: float, high: float) -> None:
    family = Maze2D(size)
    assert family.score(low) == {"normalised_score": 0.0}
    assert family.score(high)["normalised_score"] == pytest.approx(100.0)


def test_goal_distance_ignores_velocity() -> None:
    family = Maze2D("umaze")
    state = np.array([[1, 1, 3, 3], [1, 4, 0, 0]], np.float32)
    np.testing.assert_allclose(family.goal_distance({"state": state}, family.goal(0)), [0, 3])


def test_picture_shows_walls_goal_and_ball() -> None:
    env = Maze2D("umaze", pixels_per_cell=20).make()
    env.reset(options={"simulator": np.array([2.8, 2.8, 0.0, 0.0])})
    for _ in range(5):
        env.step(np.zeros(2))
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((100, 100, 3), np.uint8)
    wall, floor, goal, ball = picture[5, 5], picture[70, 30], picture[34, 34], picture[70, 70]
    assert wall.max() < 100
    assert floor.min() > 200
    assert goal[1] > goal[0]
    assert ball[0] > ball[2] + 50


def test_an_unknown_size_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'medium'"):
        Maze2D("medum")
    with pytest.raises(ConfigError, match="goals must be"):
        next(Maze2D("umaze").generate(1, 0, goals="fixed"))  # type: ignore[arg-type]
