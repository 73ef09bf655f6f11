"""Block push: what a rod does to a block on a table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskbench.envs.blockpush.world import BLOCK_SIDE, PHYSICS_SIZE, ROD_RADIUS, World

pytest.importorskip("mujoco")

#: Distance between the centres of rod and block when they touch face to face.
TOUCH = BLOCK_SIDE / 2 + ROD_RADIUS
BLOCK = np.array([0.4, 0.0, 0.0])
ASIDE = np.array([0.4, 0.4, 0.0])


def push(
    start: tuple[float, float], travel: tuple[float, float], steps: int, block: np.ndarray = BLOCK, rest: int = 10
) -> np.ndarray:
    """Poses ``(steps + rest, 8)`` of both blocks and the rod, which moves by ``travel`` in equal steps and then rests."""
    world = World()
    world.place(start, np.stack((block, ASIDE)))
    seen = []
    for t in range(1, steps + rest + 1):
        share = min(t / steps, 1.0)
        world.step((start[0] + share * travel[0], start[1] + share * travel[1]))
        seen.append(world.read())
    return np.array(seen)


def test_nothing_moves_by_itself() -> None:
    world = World()
    world.place((0.3, -0.4), np.stack((BLOCK, ASIDE)))
    before = world.read()
    for _ in range(300):
        world.step((0.3, -0.4))
    np.testing.assert_allclose(world.read(), before, atol=1e-5)


def test_the_rod_follows_its_command_without_overshoot() -> None:
    seen = push((0.3, -0.4), (0.0, 0.3), 10)[:, 6:]
    np.testing.assert_allclose(seen[-1], (0.3, -0.1), atol=1e-5)
    assert np.diff(seen[:, 1]).min() > -1e-4
    assert seen[:, 1].max() <= -0.1 + 1e-4


def test_a_block_moves_only_when_touched() -> None:
    gap = 0.01
    seen = push((0.4, -TOUCH - gap), (0.0, 0.03), 30)
    apart = seen[:, 7] < -TOUCH - 5e-4
    assert 5 < apart.sum() < 15
    np.testing.assert_allclose(seen[apart, :3], BLOCK[None].repeat(apart.sum(), 0), atol=1e-5)
    assert seen[-1, 1] == pytest.approx(0.02, abs=1e-3)
    np.testing.assert_allclose(seen[:, 3:6], ASIDE[None].repeat(len(seen), 0), atol=1e-5)


def test_the_rod_passes_beside_a_block_without_moving_it() -> None:
    seen = push((0.4 + TOUCH + 2e-3, -0.1), (0.0, 0.2), 20)
    np.testing.assert_allclose(seen[-1, :3], BLOCK, atol=1e-5)


@pytest.mark.parametrize("heading", [0.0, math.pi / 2, math.pi, -math.pi / 2, 0.6])
def test_a_central_push_carries_the_block_straight_ahead(heading: float) -> None:
    ahead = np.array([math.cos(heading), math.sin(heading)])
    block = np.array([0.4, 0.0, math.remainder(heading, math.pi / 2)])
    start, travel = block[:2] - TOUCH * ahead, 0.05 * ahead
    seen = push((start[0], start[1]), (travel[0], travel[1]), 25, block)
    moved = seen[-1, :2] - block[:2]
    assert moved @ ahead == pytest.approx(0.05, abs=1e-3)
    assert abs(moved[0] * ahead[1] - moved[1] * ahead[0]) < 2.5e-3
    assert abs(seen[-1, 2] - block[2]) < 0.12


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_push_off_centre_turns_the_block_away(side: float) -> None:
    """Pushed along +y left of its centre (smaller x), a block turns clockwise, and the other way round."""
    seen = push((0.4 + side * 0.012, -TOUCH), (0.0, 0.03), 30)
    turned = seen[-1, 2]
    assert 0.3 < side * turned < 1.5
    assert 0.005 < seen[-1, 1] < 0.03


def test_mirrored_pushes_have_mirrored_outcomes() -> None:
    left, right = (push((0.4 + side * 0.008, -TOUCH), (0.0, 0.02), 20)[-1] for side in (-1, 1))
    assert left[0] - 0.4 == pytest.approx(0.4 - right[0], abs=1e-3)
    assert left[1] == pytest.approx(right[1], abs=1e-3)
    assert left[2] == pytest.approx(-right[2], abs=0.05)


def test_a_block_stops_with_the_rod() -> None:
    seen = push((0.4 + 0.004, -TOUCH), (0.0, 0.04), 40, rest=30)
    drift = np.abs(seen[41:, :3] - seen[40, :3]).max(0)
    assert drift[:2].max() < 5e-4
    assert drift[2] < 0.02


def test_slow_pushes_end_alike_whatever_their_speed() -> None:
    """Quasi-static: friction, not momentum, decides. Speeds of 1 and 4 cm/s, well below the coasting range."""
    fast, slow = (push((0.4 + 0.006, -TOUCH), (0.0, 0.03), steps)[-1, :3] for steps in (8, 30))
    np.testing.assert_allclose(fast[:2], slow[:2], atol=2e-3)
    assert fast[2] == pytest.approx(slow[2], abs=0.1)


def test_a_sliding_block_decelerates_by_coulomb_friction() -> None:
    """At the expert's top speed it slides v^2 / 2 mu g = 6 mm, then rests."""
    world = World()
    world.place((0.3, -0.4), np.stack((BLOCK, ASIDE)))
    physics = world.physics()
    physics[PHYSICS_SIZE // 2 + 3] = 0.35
    world.restore(physics)
    for _ in range(10):
        world.step((0.3, -0.4))
    assert world.read()[1] == pytest.approx(0.35**2 / (2 * 9.81), rel=0.1)
    np.testing.assert_allclose(world.physics()[PHYSICS_SIZE // 2 :], 0.0, atol=1e-3)


def test_the_rod_does_not_drag_a_block_along() -> None:
    seen = push((0.4, -TOUCH), (0.0, -0.1), 20)
    np.testing.assert_allclose(seen[-1, :3], BLOCK, atol=1e-4)


def test_a_block_pushes_the_other_one() -> None:
    world = World()
    world.place((0.4, -TOUCH - 0.001), np.array([[0.4, 0.0, 0.0], [0.4, 0.05, 0.0]]))
    for t in range(1, 31):
        world.step((0.4, -TOUCH - 0.001 + 0.001 * t))
    red, green = world.read()[1], world.read()[4]
    assert green > 0.06
    assert green - red > BLOCK_SIDE - 1e-3
