import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.envs.doorkey.world import EVENTS, MOVES, World, build_world
from maskbench.errors import EnvError

RIGHT, DOWN, LEFT, UP = range(4)


class Grid:
    """gym-minigrid's procedure, literally: turn, pick up, move; where nothing moved, toggle and move again."""

    def __init__(self, agent: tuple[int, int], key: tuple[int, int], size: int, wall_x: int) -> None:
        self.agent, self.key, self.held, self.open = agent, key, False, False
        self.size, self.door = size, (wall_x, 1)

    def blocked(self, cell: tuple[int, int]) -> bool:
        if not all(1 <= c <= self.size for c in cell):
            return True
        if cell == self.door:
            return not self.open
        return cell[0] == self.door[0] or (cell == self.key and not self.held)

    def step(self, action: int) -> None:
        dx, dy = ((1, 0), (0, 1), (-1, 0), (0, -1))[action]
        front, before = (self.agent[0] + dx, self.agent[1] + dy), self.agent
        if front == self.key:
            self.held = True
        if not self.blocked(front):
            self.agent = front
        if self.agent == before:
            if front == self.door and self.held:
                self.open = True
            if not self.blocked(front):
                self.agent = front
        if self.held:
            self.key = self.agent


def cell(position: int, size: int) -> tuple[int, int]:
    x, y = divmod(int(position), size)
    return x + 1, y + 1


def find(tables: World, agent: tuple[int, int], key: tuple[int, int], held: bool, is_open: bool) -> int:
    at = lambda p: (p[0] - 1) * tables.size + p[1] - 1  # noqa: E731
    match = (tables.agent == at(agent)) & (tables.key == at(key)) & (tables.held == held) & (tables.open == is_open)
    return int(np.flatnonzero(match)[0])


def test_there_are_77_reachable_joint_states_and_56_equally_likely_starts() -> None:
    tables = build_world(4)
    assert len(tables.agent) == 77
    assert len(tables.starts) == 56
    assert len(build_world(14).agent) == 56 * 55 + 56 + (56 + 1 + 9 * 14)


@pytest.mark.parametrize("size", [4, 14])
@given(start=st.integers(0, 10**6), actions=st.lists(st.integers(0, 3), max_size=60))
def test_tables_agree_with_the_literal_procedure(size: int, start: int, actions: list[int]) -> None:
    tables = build_world(size)
    joint = int(tables.starts[start % len(tables.starts)])
    grid = Grid(cell(tables.agent[joint], size), cell(tables.key[joint], size), size, tables.wall_x)
    for action in actions:
        joint = int(tables.successor[joint, action])
        grid.step(action)
        seen = (cell(tables.agent[joint], size), cell(tables.key[joint], size), tables.held[joint], tables.open[joint])
        assert seen == (grid.agent, grid.key, grid.held, grid.open)


def test_key_is_held_exactly_where_it_shares_the_agents_cell() -> None:
    tables = build_world(4)
    np.testing.assert_array_equal(tables.held, tables.agent == tables.key)


def test_events_mark_pick_up_door_and_arrival() -> None:
    tables = build_world(4)
    name = lambda joint, action: EVENTS[tables.event[joint, action]]  # noqa: E731
    assert name(find(tables, (1, 1), (2, 1), False, False), RIGHT) == "key"
    assert name(find(tables, (2, 1), (2, 1), True, False), RIGHT) == "door"
    assert name(find(tables, (2, 1), (2, 1), True, True), RIGHT) == ""
    assert name(find(tables, (4, 3), (4, 3), True, True), DOWN) == "goal"
    assert name(find(tables, (4, 4), (4, 4), True, True), DOWN) == ""


def test_distance_runs_through_the_door() -> None:
    tables = build_world(4)
    assert tables.distance[find(tables, (2, 1), (1, 1), False, False)] == 5
    assert tables.distance[find(tables, (1, 4), (1, 1), False, False)] == 9
    assert tables.distance[find(tables, (3, 1), (3, 1), True, True)] == 4
    assert tables.distance[find(tables, (4, 4), (4, 4), True, True)] == 0
    assert set(np.unique(tables.reward)) == {-1, 0, 1}


def test_policy_prefers_the_sub_goal_with_the_published_border_rules() -> None:
    tables = build_world(4)
    # key to the right of a corner: the left and top borders cost 1
    np.testing.assert_array_equal(tables.gain[find(tables, (1, 1), (2, 1), False, False)], [1, -1, -1, -1])
    # the bottom border costs nothing, neither does the inner wall
    np.testing.assert_array_equal(tables.gain[find(tables, (2, 4), (2, 1), False, False)], [0, 0, -1, 1])
    # a locked door is no obstacle; once it is open the goal is Manhattan-near
    np.testing.assert_array_equal(tables.gain[find(tables, (2, 1), (2, 1), True, False)], [1, -1, -1, -1])
    np.testing.assert_array_equal(tables.gain[find(tables, (2, 1), (2, 1), True, True)], [1, 1, -1, -1])
    # at the goal the right and bottom borders and the inner wall keep the agent where it is
    np.testing.assert_array_equal(tables.gain[find(tables, (4, 4), (4, 4), True, True)], [0, 0, 0, -1])
    np.testing.assert_allclose(tables.policy(2.0)[find(tables, (1, 1), (2, 1), False, False), 0], 1 / (1 + 3 * np.exp(-4)))


def test_policy_entropy_matches_the_published_calibration() -> None:
    tables = build_world(4)
    policy = tables.policy(1.0)
    entropy = -(policy * np.log(policy)).sum(1)
    share = np.zeros(77)
    share[tables.starts] = 1 / 56
    by_time = []
    for _ in range(10):
        by_time.append(share @ entropy)
        after = np.zeros(77)
        for action in range(len(MOVES)):
            np.add.at(after, tables.successor[:, action], share * policy[:, action])
        share = after
    assert np.mean(by_time) == pytest.approx(1.044, abs=0.001)
    # published figures are those of 4000 sampled trajectories
    published = [1.053, 1.036, 1.034, 1.030, 1.030, 1.032, 1.037, 1.047, 1.063, 1.079]
    np.testing.assert_allclose(by_time, published, atol=0.004)


def test_other_sizes_are_refused_by_name() -> None:
    with pytest.raises(EnvError, match=r"\[4, 14\]; found size=5"):
        build_world(5)
