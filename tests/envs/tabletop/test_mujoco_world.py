"""The rigid-body world: objects fall, stack, slide and are pushed; the contract and the oracles hold in it too."""

from __future__ import annotations

import numpy as np
import pytest

from maskbench.envs.tabletop import Tabletop
from maskbench.envs.tabletop.kinematics import Action
from maskbench.envs.tabletop.objects import find_object
from maskbench.envs.tabletop.scene import Pose, Scene
from maskbench.testing import check_env

pytest.importorskip("mujoco")


def table(*placed: tuple[str, Pose]) -> Scene:
    scene = Scene()
    for name, pose in placed:
        scene.add(find_object(name), "red", find_object(name).largest, pose)
    return scene


def world():
    from maskbench.envs.tabletop.mujoco_world import MujocoWorld

    return MujocoWorld()


def test_a_block_is_put_upon_another_and_comes_down_again() -> None:
    scene, simulator = table(("block", Pose(0.5, 0.0)), ("block", Pose(0.5, 0.3))), world()
    assert simulator.pick_and_place(scene, Action(Pose(0.5, 0.3), Pose(0.51, 0.0, 0.4))) == {6}
    assert scene[6].z == pytest.approx(0.07, abs=2e-3)
    assert scene[6].pose == pytest.approx((0.51, 0.0, 0.4), abs=2e-3)
    simulator.pick_and_place(scene, Action(Pose(0.51, 0.0), Pose(0.6, -0.3)))
    assert scene[6].z == pytest.approx(0.0, abs=2e-3)
    assert simulator.pick_and_place(scene, Action(Pose(0.3, 0.4), Pose(0.6, -0.3))) == set()


def test_the_blade_pushes_blocks_that_push_blocks() -> None:
    scene, simulator = table(("small block", Pose(0.5, 0.0)), ("small block", Pose(0.5, 0.1))), world()
    looks: list[float] = []
    assert simulator.push(scene, Action(Pose(0.5, 0.0), Pose(0.5, 0.25)), lambda s: looks.append(s[5].pose.y)) == {5, 6}
    assert scene[5].pose.y == pytest.approx(0.2175, abs=0.01)
    assert scene[6].pose.y == pytest.approx(scene[5].pose.y + 0.03, abs=0.01)
    assert len(looks) > 50
    assert simulator.push(scene, Action(Pose(0.5, 0.0), Pose(0.5, 0.0)), lambda s: None) == set()


def test_an_action_depends_on_the_scene_alone() -> None:
    action = Action(Pose(0.5, 0.3), Pose(0.52, 0.01, 0.4))
    used, first = world(), table(("block", Pose(0.5, 0.0)), ("heart", Pose(0.5, 0.3)))
    used.pick_and_place(table(("block", Pose(0.4, 0.1)), ("heart", Pose(0.5, 0.3))), action)
    used.pick_and_place(first, action)
    second = table(("block", Pose(0.5, 0.0)), ("heart", Pose(0.5, 0.3)))
    world().pick_and_place(second, action)
    for id in (5, 6):
        np.testing.assert_array_equal(first[id].pose, second[id].pose)


def test_the_contract_holds() -> None:
    check_env(Tabletop("rotate", backend="mujoco"), episodes=2, steps=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", ["visual_manipulation", "follow_order", "sweep_without_exceeding", "pick_in_order_then_restore"]
)
def test_oracles_succeed(task: str) -> None:
    episodes = list(Tabletop(task, backend="mujoco").generate(5, seed=0))
    assert all(e.terminated for e in episodes)
