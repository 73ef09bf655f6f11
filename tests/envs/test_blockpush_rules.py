"""Block push: rewards, events and predicates, without a simulator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.envs.blockpush.rules import Progress, events, inside, reward, solved

ZONES = ((0.52, 0.2), (0.28, 0.2))
RED, GREEN = (0.45, -0.2), (0.35, -0.1)
START = Progress((0.4924428900898052, 0.3640054944640259))
IN_RED, IN_GREEN = (0.5, 0.19), (0.29, 0.21)


def play(*positions: tuple[tuple[float, float], tuple[float, float]]) -> tuple[list[float], list[tuple[str, ...]]]:
    """Rewards and events of an episode whose blocks come to lie at ``positions``."""
    progress, rewards, names = START, [], []
    for blocks in positions:
        after, success = progress.after(blocks, ZONES), solved(blocks, ZONES)
        rewards.append(reward(progress, after, success))
        names.append(tuple(events(progress, after, success)))
        progress = after
    return rewards, names


def test_a_perfect_episode_earns_one() -> None:
    rewards, names = play((RED, GREEN), (IN_GREEN, GREEN), (IN_GREEN, GREEN), (IN_GREEN, (0.45, 0.0)), (IN_GREEN, IN_RED))
    assert rewards == [0, 0.49, 0, 0, 0.51]
    assert names == [
        (),
        ("moved:red", "first:red", "R1", "entered:red:green", "route:red-green", "P1"),
        (),
        ("moved:green", "R2"),
        ("entered:green:red", "route:green-red", "P2", "success"),
    ]


def test_one_block_in_both_zones_earns_98_hundredths_without_success() -> None:
    rewards, names = play((IN_RED, GREEN), (RED, GREEN), (IN_GREEN, GREEN), (IN_RED, GREEN))
    assert rewards == [0.49, 0, 0.49, 0]
    flat = [n for row in names for n in row]
    assert flat.count("entered:red:red") == flat.count("entered:red:green") == flat.count("P1") == 1
    assert [n for n in flat if n.startswith("route:")] == ["route:red-red"]
    assert not {"P2", "success", "R2"} & set(flat)


def test_both_zones_entered_at_different_times_is_p2_without_success() -> None:
    rewards, names = play((IN_RED, GREEN), (RED, GREEN), (RED, IN_GREEN))
    assert rewards == [0.49, 0, 0.49]
    assert names[-1] == ("moved:green", "R2", "entered:green:green", "route:green-green", "P2")


def test_both_blocks_in_the_same_zone_are_no_success() -> None:
    rewards, names = play((IN_RED, (0.54, 0.21)))
    assert rewards == [0.98]
    assert not {"P2", "success"} & set(names[0])


def test_the_reward_of_success_replaces_those_of_entries() -> None:
    rewards, names = play((IN_RED, IN_GREEN))
    assert rewards == [0.51]
    assert names[0][-2:] == ("P2", "success")


def test_motion_is_a_change_of_distance_to_the_origin_beyond_a_millimetre() -> None:
    x, y = RED
    for factor, moved in ((1 + 0.99e-3 / START.origin[0], False), (1 + 1.01e-3 / START.origin[0], True)):
        assert START.after(((x * factor, y * factor), GREEN), ZONES).moved == (moved, False)
    assert START.after(((-x, y), GREEN), ZONES).moved == (False, False)  # the published metric is blind to turning


@pytest.mark.parametrize(("gap", "within"), [(0.0499, True), (0.0501, False), (-0.0499, True)])
def test_tolerance_is_five_centimetres(gap: float, within: bool) -> None:
    assert inside((0.4, 0.2 + gap), (0.4, 0.2)) is within


points = st.tuples(st.floats(0.15, 0.7), st.floats(-0.5, 0.5))


@given(st.lists(st.tuples(points, points), min_size=1, max_size=8))
def test_every_event_happens_once_and_rewards_follow_them(path: list[tuple[tuple[float, float], tuple[float, float]]]) -> None:
    progress, seen, flat = START, [START], []
    for blocks in path:
        after, success = progress.after(blocks, ZONES), solved(blocks, ZONES)
        again = tuple(events(progress, after, success))
        assert again == tuple(events(progress, after, success))  # asking changes nothing
        entries = sum(n.startswith("entered:") for n in again)
        assert reward(progress, after, success) == (0.51 if success else 0.49 * entries)
        assert Progress.of(after.row()) == after
        flat += [n for n in again if n != "success"]
        seen.append(after)
        progress = after
    assert len(set(flat)) == len(flat)
    assert ("P1" in flat) == any(map(any, progress.entered))
    assert ("P2" in flat) == progress.both_entered
    assert ("R2" in flat) == all(progress.moved)
    assert sum(n.startswith("route:") for n in flat) == sum(map(any, progress.entered))
