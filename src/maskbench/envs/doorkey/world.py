"""The whole world as integer tables over its joint hidden state (agent, key, key held, door open).

Geometry, for an interior of ``size`` x ``size`` cells (x to the right, y down, both from 1)::

    size 4     1 2 3 4          . free     D locked door (3, 1)
         y=1   . . D .          # wall     G goal (4, 4)
         y=2   . . # .          agent and key start on distinct cells left of the wall
         y=3   . . # .
         y=4   . . # G          size 14 (the 16 x 16 grid): wall x = 5, door (5, 1), goal (14, 14)

Source: uniMASK section 5 and appendix E, with the semantics of gym-minigrid 1.0.3. One action turns, picks up, moves and,
where nothing moved, opens and moves again, so a step onto the key or into the locked door (with the key) succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from maskbench.errors import EnvError

#: Action index -> (dx, dy): right, down, left, up.
MOVES = ((1, 0), (0, 1), (-1, 0), (0, -1))
#: Event index of a transition -> its name; 0 is nothing of note.
EVENTS = ("", "key", "door", "goal")
#: Interior size -> column of the inner wall.
WALL_X = {4: 3, 14: 5}

Position = tuple[int, int]
Joint = tuple[Position, Position, bool, bool]


@dataclass(frozen=True)
class World:
    """Tables over the ``S`` reachable joint states (77 for size 4) and the 4 actions.

    agent, key: ``(S,)`` int64 position classes ``(x - 1) * size + (y - 1)``; the key travels with the agent once held.
    held, open: ``(S,)`` bool.
    distance:   ``(S,)`` int64 path length from the agent to the goal.
    successor:  ``(S, 4)`` int64 joint state after each action.
    event:      ``(S, 4)`` int64 index into ``EVENTS``.
    gain:       ``(S, 4)`` float64 decrease of the Manhattan distance to the sub-goal, as the data policy reckons it.
    starts:     ``(S0,)`` int64 equally likely first states.
    """

    size: int
    wall_x: int
    agent: np.ndarray
    key: np.ndarray
    held: np.ndarray
    open: np.ndarray
    distance: np.ndarray
    successor: np.ndarray
    event: np.ndarray
    gain: np.ndarray
    starts: np.ndarray

    @property
    def goal(self) -> int:
        """Position class of the goal, the last one."""
        return self.size * self.size - 1

    @property
    def reward(self) -> np.ndarray:
        """``(S, 4)`` int64 decrease of the path distance to the goal, in {-1, 0, 1}."""
        return np.asarray(self.distance[:, None] - self.distance[self.successor])

    def policy(self, beta: float) -> np.ndarray:
        """``(S, 4)`` float64 Boltzmann data policy, ``p(a) ~ exp(beta * gain(a))``."""
        weight = np.exp(beta * self.gain)
        return np.asarray(weight / weight.sum(1, keepdims=True))


@cache
def build_world(size: int) -> World:
    """Tables of the world with ``size`` x ``size`` interior cells (4 or 14). Raises EnvError for any other size."""
    if size not in WALL_X:
        raise EnvError(f"doorkey is defined for interior sizes {sorted(WALL_X)}; found size={size}")
    wall_x = WALL_X[size]
    left = [(x, y) for x in range(1, wall_x) for y in range(1, size + 1)]
    joints: list[Joint] = [(agent, key, False, False) for agent in left for key in left if agent != key]
    starts = len(joints)
    index = {joint: i for i, joint in enumerate(joints)}
    successor, event = [], []
    for joint in joints:  # grows while it is walked, until every reachable state has its row
        row = [_transition(joint, move, size, wall_x) for move in MOVES]
        for after, _ in row:
            if after not in index:
                index[after] = len(joints)
                joints.append(after)
        successor.append([index[after] for after, _ in row])
        event.append([EVENTS.index(name) for _, name in row])

    def table(rows: list[int]) -> np.ndarray:
        return np.array(rows, np.int64)

    return World(
        size=size,
        wall_x=wall_x,
        agent=table([_position_class(agent, size) for agent, _, _, _ in joints]),
        key=table([_position_class(key, size) for _, key, _, _ in joints]),
        held=np.array([held for _, _, held, _ in joints]),
        open=np.array([is_open for _, _, _, is_open in joints]),
        distance=table([_distance(agent, size, wall_x) for agent, _, _, _ in joints]),
        successor=np.array(successor, np.int64),
        event=np.array(event, np.int64),
        gain=np.array([[_gain(joint, move, size, wall_x) for move in MOVES] for joint in joints], np.float64),
        starts=np.arange(starts),
    )


def _position_class(position: Position, size: int) -> int:
    return (position[0] - 1) * size + (position[1] - 1)


def _transition(joint: Joint, move: tuple[int, int], size: int, wall_x: int) -> tuple[Joint, str]:
    """The joint state after one action and the name of what happened."""
    agent, key, held, is_open = joint
    target = (agent[0] + move[0], agent[1] + move[1])
    door = (wall_x, 1)
    outside = not (1 <= target[0] <= size and 1 <= target[1] <= size)
    if outside or (target[0] == wall_x and target != door) or (target == door and not (is_open or held)):
        return joint, ""
    if target == door and not is_open:
        return (target, target, True, True), "door"
    if target == key and not held:
        return (target, target, True, is_open), "key"
    return (target, target if held else key, held, is_open), "goal" if target == (size, size) else ""


def _distance(agent: Position, size: int, wall_x: int) -> int:
    """Steps from ``agent`` to the goal by way of the door."""
    x, y = agent
    if x >= wall_x:
        return abs(size - x) + abs(size - y)
    return abs(wall_x - 1 - x) + abs(1 - y) + (size - wall_x + 1) + (size - 1)


def _gain(joint: Joint, move: tuple[int, int], size: int, wall_x: int) -> int:
    """How much nearer to the sub-goal the data policy believes ``move`` to bring it.

    Kept as published: coordinates are clipped to 0..size, so walking into the left or top border costs 1 while the right
    and bottom borders cost nothing; the inner wall counts as staying; a locked door is no obstacle.
    """
    agent, key, held, is_open = joint
    subgoal = key if not held else (size, size) if is_open else (wall_x, 1)
    x, y = (min(max(agent[i] + move[i], 0), size) for i in (0, 1))
    if x == wall_x and y > 1:
        x, y = agent
    return abs(subgoal[0] - agent[0]) + abs(subgoal[1] - agent[1]) - abs(subgoal[0] - x) - abs(subgoal[1] - y)
