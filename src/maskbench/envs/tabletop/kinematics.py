"""The two primitives without dynamics: pick and place, and push (VIMA specification 1.2, 4.2). Deterministic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from maskbench.envs.tabletop.scene import Body, Pose, Scene

#: Blade of the spatula (m), and how far before its start and its end it really moves.
BLADE_WIDTH, BLADE_THICKNESS = 0.05, 0.005
PUSH_BACK, PUSH_SHORT = 0.02, 0.05
_STEP = 0.001
_WATCHED = 2
_CHAIN = 5

Watch = Callable[[Scene], None]


@dataclass(frozen=True)
class Action:
    """Two poses: where to pick or begin to push, and where to place or end."""

    pose0: Pose
    pose1: Pose


def pick_and_place(scene: Scene, action: Action) -> set[int]:
    """Moves the uppermost object at ``pose0`` as rigidly as ``pose0`` goes to ``pose1``; the ids that moved.

    Nothing happens where there is none or where it is fixed.
    """
    start, end = action.pose0, action.pose1
    body = scene.at_point(np.array(start[:2]))
    if body is None or body.fixed:
        return set()
    turn = end.yaw - start.yaw
    cos, sin = np.cos(turn), np.sin(turn)
    x, y = body.pose.x - start.x, body.pose.y - start.y
    scene.move(body.id, Pose(float(end.x + cos * x - sin * y), float(end.y + sin * x + cos * y), body.pose.yaw + turn))
    return {body.id}


def push(scene: Scene, action: Action, watch: Watch) -> set[int]:
    """Drags the blade upright from ``pose0`` to ``pose1``, whose yaws mean nothing; the ids that moved.

    ``watch`` sees the scene every 2 mm, and at the end. A push of no length does nothing.
    """
    start, end = np.array(action.pose0[:2]), np.array(action.pose1[:2])
    length = float(np.hypot(*(end - start)))
    if length < 1e-6:
        return set()
    along = (end - start) / length
    travel = length - PUSH_SHORT + PUSH_BACK
    moved: set[int] = set()
    blade = start - PUSH_BACK * along
    reach = [b for b in scene if not b.fixed]
    first = max(int((_free_way(reach, blade, along) - BLADE_THICKNESS) / _STEP) - 1, 0)
    for step in range(first, max(round(travel / _STEP), 0) + 1):
        hit = _shove(scene, reach, blade + step * _STEP * along, along)
        if hit:
            moved |= hit
            reach = [scene[b.id] for b in reach]
            if step % _WATCHED == 0:
                watch(scene)
    watch(scene)
    return moved


def _free_way(bodies: list[Body], blade: np.ndarray, along: np.ndarray) -> float:
    """How far (m) the blade's middle goes before it meets the first body."""
    nearest = np.inf
    across = np.array((-along[1], along[0]))
    for body in bodies:
        points = body.footprint - blade
        ahead = (points @ along)[np.abs(points @ across) <= BLADE_WIDTH / 2]
        if len(ahead) and ahead.max() > -BLADE_THICKNESS:
            nearest = min(nearest, float(ahead.min()))
    return min(nearest, 2.0)


def _shove(scene: Scene, bodies: list[Body], blade: np.ndarray, along: np.ndarray) -> set[int]:
    """Moves what the blade overlaps out of its way, and what that overlaps in turn."""
    across = np.array((-along[1], along[0]))
    moved: dict[int, Body] = {}
    for body in bodies:
        gap = body.position - blade
        if abs(gap @ across) > BLADE_WIDTH / 2 + body.radius or abs(gap @ along) > body.radius + BLADE_THICKNESS:
            continue
        points = body.footprint - blade
        forward = points @ along
        struck = (np.abs(points @ across) <= BLADE_WIDTH / 2) & (np.abs(forward) <= BLADE_THICKNESS / 2 + _STEP)
        if struck.any() and gap @ along > 0:
            depth = BLADE_THICKNESS / 2 - float(forward[np.abs(points @ across) <= BLADE_WIDTH / 2].min())
            if depth > 0:
                moved[body.id] = body.shifted(depth * along)
    pushed = dict(moved)
    for _ in range(_CHAIN):
        pushed = _chain(bodies, moved, pushed, along)
        if not pushed:
            break
        moved |= pushed
    scene.bodies.update(moved)
    return set(moved)


def _chain(bodies: list[Body], moved: dict[int, Body], pushers: dict[int, Body], along: np.ndarray) -> dict[int, Body]:
    """Bodies that the ``pushers`` run into, moved on along the push. Contacts are those of discs."""
    pushed: dict[int, Body] = {}
    for pusher in pushers.values():
        for body in bodies:
            other = moved.get(body.id, body)
            gap = other.position - pusher.position
            touching = (min(pusher.size[:2]) + min(other.size[:2])) / 2
            ahead = float(gap @ along)
            if other.id == pusher.id or ahead <= 0 or np.hypot(*gap) >= touching:
                continue
            side = float(gap @ (-along[1], along[0]))
            pushed[other.id] = other.shifted((np.sqrt(touching**2 - side**2) - ahead) * along)
    return pushed


class Kinematic:
    """``Primitives`` of this file."""

    pick_and_place = staticmethod(pick_and_place)
    push = staticmethod(push)


KINEMATIC = Kinematic()
