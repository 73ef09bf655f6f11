"""Objects, textures, pictures and the two primitives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskbench.envs.tabletop.actions import decode, encode
from maskbench.envs.tabletop.kinematics import BLADE_THICKNESS, KINEMATIC, Action
from maskbench.envs.tabletop.objects import catalogue, find_object, object_names
from maskbench.envs.tabletop.picture import ALONE_BACKGROUND, object_image, photograph, scene_image
from maskbench.envs.tabletop.scene import Pose, Scene
from maskbench.envs.tabletop.textures import dark_textures, light_textures, texture_names, texture_set, texture_tiles
from maskbench.errors import EnvError

coordinate = st.floats(-0.2, 0.2)
angle = st.floats(-3.1, 3.1)


def table(*placed: tuple[str, str, Pose]) -> Scene:
    scene = Scene()
    for name, texture, pose in placed:
        scene.add(find_object(name), texture, find_object(name).largest, pose)
    return scene


def test_all_objects_and_textures_are_there() -> None:
    unused = {o.name for o in catalogue().values() if o.group == "unused"}
    assert (len(catalogue()), len(unused)) == (31, 2)
    assert len(object_names("dragged", novel=False)) == 14
    assert object_names("base", novel=False) == ("bowl", "container", "frame", "square")
    assert len(texture_names()) == len(set(texture_names())) == 82
    assert (len(light_textures()), len(dark_textures())) == (49, 33)
    one, two = texture_set("set1"), texture_set("set2")
    assert (len(one), len(two), set(one) & set(two)) == (19, 20, set())
    rest = set(light_textures()) - set(one) - set(two)
    assert rest == {
        *("brick", "magma", "red and green stripe", "green and blue stripe", "red and purple polka dot"),
        *("yellow and green polka dot", "yellow swirl", "purple paisley", "orange", "pink"),
    }


def test_every_texture_looks_its_own_way() -> None:
    tiles = {n: texture_tiles(n)[0] for n in texture_names()}
    assert len({t.tobytes() for t in tiles.values()}) == 82
    np.testing.assert_allclose(tiles["red"][0, 0], np.array((255, 87, 89)) * 0.937, atol=1)
    assert tiles["dark red"].max() == pytest.approx((255 - 0.3 * 255) * 0.937, abs=1)


def test_objects_that_look_the_same_after_a_turn_say_so() -> None:
    for spec in catalogue().values():
        if spec.group == "dragged" and spec.name not in ("triangle", "hexagon", "pentagon", "star", "round", "ring"):
            solid = spec.relief > 0
            half, quarter = np.rot90(solid, 2), np.rot90(solid)
            assert (np.mean(half == solid) > 0.99) == (spec.symmetry < 6.0), spec.name
            if spec.symmetry == pytest.approx(np.pi / 2):
                assert np.mean(quarter == solid) > 0.99, spec.name


def test_cameras_are_the_published_ones() -> None:
    frame = photograph(table(("small block", "red", Pose(0.5, 0.0))))
    for view, row in (("top", 64), ("front", 64 + (0.09 - 0.015) * 0.7071 / 0.509 * 128)):
        y, x = np.nonzero(frame.segm[view] == 5)
        assert y.mean() + 0.5 == pytest.approx(row, abs=1.0)
        assert x.mean() + 0.5 == pytest.approx(128, abs=0.6)
    assert frame.rgb["top"].shape == (3, 128, 256)
    assert (frame.segm["front"][0, 0], frame.segm["front"][64, 128], frame.segm["top"][0, 0]) == (0, 1, 0)
    low, high = photograph(table(("block", "red", Pose(0.4, 0.0)))), photograph(table(("block", "red", Pose(0.6, 0.2))))
    (y0, x0), (y1, x1) = (np.argwhere(f.segm["top"] == 5).mean(0) for f in (low, high))
    assert (y1 - y0, x1 - x0) == (pytest.approx(0.2 / 0.51 * 128, abs=1), pytest.approx(0.2 / 1.02 * 256, abs=1))


def test_nearer_objects_hide_farther_ones() -> None:
    apart = photograph(table(("block", "red", Pose(0.46, 0.0)), ("block", "blue", Pose(0.54, 0.0))))
    alone = photograph(table(("block", "red", Pose(0.46, 0.0))))
    assert (apart.segm["top"] == 5).sum() == (alone.segm["top"] == 5).sum()
    assert (apart.segm["front"] == 5).sum() < 0.8 * (alone.segm["front"] == 5).sum()


def test_prompt_pictures_number_objects_as_released_data_do() -> None:
    spec = find_object("heart")
    image = object_image(spec, "gray", spec.largest)
    assert set(np.unique(image.segm["top"])) == {0, ALONE_BACKGROUND}
    assert image.rgb["front"][:, 0, 0].tolist() == [255, 255, 255]
    scene = scene_image(table(("heart", "red", Pose(0.5, 0.2)), ("ring", "blue", Pose(0.5, -0.2))))
    assert set(np.unique(scene.segm["top"])) == {0, 1, 2, 3}
    assert [(o.id, o.name) for o in scene.objects] == [(2, "heart"), (3, "ring")]


@given(x=coordinate, y=coordinate, turn=angle, px=st.floats(-0.02, 0.02), py=st.floats(-0.02, 0.02))
@settings(max_examples=40, deadline=None)
def test_placing_moves_an_object_as_rigidly_as_the_pose(x: float, y: float, turn: float, px: float, py: float) -> None:
    scene = table(("block", "red", Pose(0.5, 0.0, 0.3)))
    body = scene[5]
    pick, place = Pose(0.5 + px, py), Pose(0.5 + x, y, turn)
    assert KINEMATIC.pick_and_place(scene, Action(pick, place)) == {5}
    cos, sin = np.cos(turn), np.sin(turn)
    np.testing.assert_allclose(scene[5].pose[:2], (place.x - cos * px + sin * py, place.y - sin * px - cos * py), atol=1e-9)
    assert scene[5].pose.yaw == pytest.approx(body.pose.yaw + turn)


def test_only_the_uppermost_movable_object_is_picked() -> None:
    scene = table(("container", "red", Pose(0.5, 0.0)), ("block", "blue", Pose(0.5, 0.0)))
    assert 0 < scene[6].z < 0.02  # on the floor inside, not on the walls
    assert KINEMATIC.pick_and_place(scene, Action(Pose(0.5, 0.0), Pose(0.5, 0.3))) == {6}
    assert scene[6].z == 0.0
    assert KINEMATIC.pick_and_place(scene, Action(Pose(0.5, 0.0), Pose(0.5, 0.3))) == set()
    assert KINEMATIC.pick_and_place(scene, Action(Pose(0.3, -0.3), Pose(0.5, 0.3))) == set()


def test_objects_stack_and_come_down_when_what_they_lie_on_goes() -> None:
    scene = table(("block", "red", Pose(0.5, 0.0)), ("block", "blue", Pose(0.5, 0.3)))
    KINEMATIC.pick_and_place(scene, Action(Pose(0.5, 0.3), Pose(0.52, 0.0)))
    assert scene[6].z == pytest.approx(0.07)
    assert scene.visible(5)[:, 0].max() < 0.49
    KINEMATIC.pick_and_place(scene, Action(Pose(0.47, 0.0), Pose(0.6, -0.3)))
    assert (scene[5].z, scene[6].z) == (0.0, 0.0)


def test_a_push_leaves_the_block_before_the_blade_and_shoves_what_is_behind() -> None:
    scene = table(("small block", "red", Pose(0.5, 0.0)), ("small block", "blue", Pose(0.5, 0.1)))
    seen: list[float] = []
    moved = KINEMATIC.push(scene, Action(Pose(0.5, 0.0), Pose(0.5, 0.25)), lambda s: seen.append(s[5].pose.y))
    assert moved == {5, 6}
    assert scene[5].pose.y == pytest.approx(0.25 - 0.05 + BLADE_THICKNESS / 2 + 0.015, abs=0.002)
    assert scene[6].pose.y == pytest.approx(scene[5].pose.y + 0.03, abs=0.002)
    assert len(seen) > 50
    assert max(np.diff(seen)) < 0.0045
    assert KINEMATIC.push(scene, Action(Pose(0.5, 0.0), Pose(0.5, 0.0)), lambda s: None) == set()


@given(x=st.floats(0.25, 0.75), y=st.floats(-0.5, 0.5), turn=angle)
@settings(max_examples=50, deadline=None)
def test_actions_survive_their_twelve_numbers(x: float, y: float, turn: float) -> None:
    action = Action(Pose(x, y), Pose(1 - x, -y, turn))
    back = decode(encode(action))
    np.testing.assert_allclose([*back.pose0, *back.pose1], [*action.pose0, *action.pose1], atol=1e-5)


def test_identity_is_the_published_quaternion_and_nonsense_is_refused() -> None:
    flat = encode(Action(Pose(0.5, 0.0), Pose(0.9, 0.0, np.pi)))
    assert flat[2:6].tolist() == [0, 0, 0, 1]
    assert flat[6] == 0.75  # cut to the workspace
    assert abs(flat[10]) == pytest.approx(1.0)
    assert decode(np.zeros(12)).pose1.yaw == 0.0
    assert decode(np.array([0.5, 0, 0, 0, 0, 0.96] * 2)).pose0.yaw == 0.0  # the published codec's identity
    for wrong in (np.zeros(14), np.full(12, np.nan)):
        with pytest.raises(EnvError, match="12 finite numbers"):
            decode(wrong)
