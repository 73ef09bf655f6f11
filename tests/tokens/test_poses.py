"""Pose classes: the published table, round trips, all conventions (VIMA spec 2.4)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskbench.errors import ConfigError
from maskbench.tokens.poses import PoseCodec

PUBLISHED = PoseCodec("vima", canonical=False)
ALL = [PoseCodec(rule, turn, z) for rule in ("vima", "centred") for turn in ("quat", "yaw") for z in (False, True)]


def action(x=0.5, y=0.0, yaw=0.0, z=False) -> torch.Tensor:
    """The same pose twice."""
    position = [x, y] + [0.1] * z
    turn = [0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)]
    return torch.tensor([*position, *turn] * 2, dtype=torch.float32)


def metres(decoded: torch.Tensor) -> tuple[float, float]:
    return round(float(decoded[0]), 4), round(float(decoded[1]), 4)


def test_the_identity_rotation_falls_into_the_published_classes_and_comes_back_shorter():
    classes = PUBLISHED.encode(action())
    assert classes[2:6].tolist() == [25, 25, 25, 49]
    np.testing.assert_allclose(PUBLISHED.decode(classes)[2:6], [0, 0, 0, 0.96], atol=1e-6)


@pytest.mark.parametrize(("x", "k", "back"), [(0.25, 0, 0.25), (0.5, 25, 0.5), (0.75, 49, 0.74)])
def test_published_classes_of_x(x, k, back):
    classes = PUBLISHED.encode(action(x=x))
    assert classes[0] == classes[6] == k
    assert metres(PUBLISHED.decode(classes))[0] == back


@pytest.mark.parametrize(("y", "k", "back"), [(-0.5, 0, -0.5), (0.0, 50, 0.0), (0.5, 99, 0.49)])
def test_published_classes_of_y(y, k, back):
    classes = PUBLISHED.encode(action(y=y))
    assert classes[1] == k
    assert metres(PUBLISHED.decode(classes))[1] == back


def test_every_convention_has_the_published_number_of_heads():
    assert [len(c.bins) for c in ALL] == [12, 14, 6, 8] * 2
    assert PoseCodec().bins == (50, 100, 50, 50, 50, 50) * 2
    assert PoseCodec(z=True).bins[:3] == (50, 100, 50)


def test_edges_of_the_workspace_come_back_within_half_a_bin_under_the_centred_rule():
    codec = PoseCodec()
    for x, y in ((0.25, -0.5), (0.75, 0.5)):
        back = metres(codec.decode(codec.encode(action(x, y))))
        assert abs(back[0] - x) <= 0.005 + 1e-6
        assert abs(back[1] - y) <= 0.005 + 1e-6


@given(st.integers(0, 7), st.data())
def test_classes_survive_decoding(which, data):
    codec = ALL[which]
    classes = torch.tensor([data.draw(st.integers(0, n - 1)) for n in codec.bins])
    back = codec.classes(codec.values(classes)) if codec.rule == "centred" else None
    if back is not None:
        assert back.tolist() == classes.tolist()
    else:  # the published rule decodes k/n, which lies below edge k of linspace(0, 1, n) and above edge k - 1
        assert codec.classes(codec.values(classes)).tolist() == classes.tolist()


@given(st.floats(0.25, 0.75), st.floats(-0.5, 0.5), st.floats(-math.pi, math.pi), st.integers(0, 7))
def test_poses_come_back_within_the_published_error(x, y, yaw, which):
    codec = ALL[which]
    decoded = codec.decode(codec.encode(action(x, y, yaw, codec.z)))
    back = metres(decoded)
    assert abs(back[0] - x) <= 0.0101
    assert abs(back[1] - y) <= 0.0101
    turn = decoded[codec.z + 2 :][:4]
    found = 2 * math.atan2(float(turn[2]), float(turn[3]))
    error = abs((found - yaw + math.pi) % (2 * math.pi) - math.pi)
    rounds_up = codec.rotation == "yaw" and codec.rule != "centred"  # by as much as a class of 5 degrees
    assert error <= math.radians(5.1 if rounds_up else 4.0)


@given(st.floats(-math.pi, math.pi))
def test_opposite_quaternions_are_one_rotation_unless_published_classes_are_asked_for(yaw):
    one = action(yaw=yaw)
    other = one.clone()
    other[2:6], other[8:12] = -other[2:6], -other[8:12]
    if abs(float(one[5])) > 1e-6:
        assert torch.equal(PoseCodec().encode(one), PoseCodec().encode(other))
    assert torch.equal(PoseCodec(rotation="yaw").encode(one), PoseCodec(rotation="yaw").encode(other))
    if abs(math.cos(yaw / 2)) > 0.1:
        assert not torch.equal(PUBLISHED.encode(one), PUBLISHED.encode(other))


def test_centred_rotations_are_of_unit_length():
    for codec in ALL:
        if codec.rule == "centred":
            first = codec.parts[0].stop
            decoded = codec.decode(torch.stack([torch.tensor(codec.bins) - 1, torch.zeros(len(codec.bins), dtype=torch.long)]))
            assert torch.allclose(decoded[:, first : first + 4].norm(dim=-1), torch.ones(2), atol=1e-5)


def test_actions_of_another_width_are_refused():
    with pytest.raises(ConfigError, match="12 numbers"):
        PoseCodec().encode(torch.zeros(14))
