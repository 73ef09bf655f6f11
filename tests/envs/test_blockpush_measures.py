"""Block push: the three definitions of the published numbers, and what the study's recording hides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from maskbench.envs.base import MetricsVersion
from maskbench.envs.blockpush import MODES, BlockPush
from maskbench.envs.blockpush.measures import measures
from maskbench.envs.blockpush.rules import Placement, changes
from maskbench.rollout.metrics import mode_of, summarise
from maskbench.trajectory import Episode, EpisodeRecord

Events = tuple[tuple[int, str], ...]
#: What a perfect episode of 100 steps reports.
PERFECT: Events = (
    *((9, n) for n in ("reached:red",)),
    *((10, n) for n in ("moved:red", "first:red", "R1")),
    *((40, n) for n in ("entered:red:green", "route:red-green", "P1", "in:red:green")),
    *((70, n) for n in ("moved:green", "R2", "reached:green")),
    *((99, n) for n in ("entered:green:red", "route:green-red", "P2", "success", "in:green:red")),
)


def record(row: int, events: Events, length: int = 100, terminated: bool = True) -> EpisodeRecord:
    return EpisodeRecord(row, "blockpush", row, row, "bc", 1.0, length, terminated, terminated, events=events)


def found(records: list[EpisodeRecord], version: MetricsVersion, horizon: int = 300) -> dict[str, float]:
    return {m.name: float(np.mean(m.values)) for m in measures(records, version, horizon)}


def test_every_number_is_there_also_where_nothing_happens() -> None:
    family = BlockPush()
    rows = summarise(
        [record(0, (), 300, False), record(1, (), 300, False)],
        events=family.events,
        known_modes=dict.fromkeys(MODES, 250),
        measures=lambda r: family.measures(r, "paper"),
    )
    values = {r.metric: r for r in rows}
    assert {"R1", "R2", "P1", "P2", "first_reached:red", "first_pushed:green", "pushed:red:red"} <= set(values)
    assert {"event:success", "event:entered:green:red", *(f"mode:{m}" for m in MODES)} <= set(values)
    assert all(values[n].value == 0 < values[n].high for n in ("P2", "event:P2", "pushed:green:red", "event:moved:red"))
    assert values["mode_coverage"].value == 0
    assert np.isnan(values["mode_kl"].value)


def test_a_perfect_policy_is_perfect_by_both_sound_definitions() -> None:
    for version in ("paper", "strict"):
        values = found([record(i, PERFECT) for i in range(4)], version)
        assert [values[n] for n in ("R1", "R2", "P1", "P2")] == [1, 1, 1, 1]
        assert (values["first_reached:red"], values["first_pushed:red"], values["first_pushed:green"]) == (1, 1, 0)
        assert (values["pushed:red:green"], values["pushed:green:red"], values["pushed:red:red"]) == (1, 1, 0)


def test_the_studys_recording_hides_the_success_of_a_perfect_policy() -> None:
    records = [record(i, PERFECT) for i in range(4)]
    hidden = found(records, "repstudy_legacy", horizon=100)  # recording ends with the episode
    assert (hidden["P1"], hidden["P2"]) == (1, 0)
    swapped = {"red": "green", "green": "red"}
    other = tuple((t, ":".join(swapped.get(part, part) for part in n.split(":"))) for t, n in PERFECT)
    leaking = found([record(0, PERFECT), record(1, other)], "repstudy_legacy", horizon=300)
    assert leaking["P2"] == 1  # the next episode's first block completes the pair
    assert leaking["R2"] == 1
    one_way = found(records, "repstudy_legacy", horizon=300)
    assert one_way["P2"] == 0  # always the same block first: no pair is ever seen


def test_the_study_sees_failures_as_they_are() -> None:
    unfinished = record(0, PERFECT[:8], 300, False)
    for name, value in found([unfinished], "paper").items():
        assert found([unfinished], "repstudy_legacy")[name] == value


def test_strict_asks_for_contact_and_for_staying() -> None:
    events = (
        *((5, n) for n in ("moved:red", "first:red", "R1")),  # bumped by the other block
        *((40, n) for n in ("entered:red:green", "in:red:green", "P1")),
        (60, "out:red:green"),
    )
    paper, strict = (found([record(0, events, 300, False)], v) for v in ("paper", "strict"))
    assert (paper["R1"], paper["P1"]) == (1, 1)
    assert (strict["R1"], strict["P1"]) == (0, 0)
    back = found([record(0, (*events, (80, "in:red:green")), 300, False)], "strict")
    assert (back["P1"], back["P2"]) == (1, 0)


def test_placements_are_reported_as_they_come_and_go() -> None:
    zones = ((0.5, 0.2), (0.3, 0.2))
    far = Placement.of((0.3, -0.4), ((0.5, 0.0), (0.3, 0.0)), zones)
    near = Placement.of((0.5, -0.04), ((0.5, 0.0), (0.3, 0.19)), zones)
    assert list(changes(far, near)) == ["reached:red", "in:green:green"]
    assert list(changes(near, far)) == ["out:green:green"]
    assert list(changes(near, near)) == []


def test_demonstrations_tell_their_mode_also_without_meta_or_final_state() -> None:
    pytest.importorskip("mujoco")
    family = BlockPush()
    for episode in family.generate(8, seed=3):
        bare = Episode(episode.values, episode.final)
        assert family.mode(episode) == family.mode(bare) == episode.meta["mode"]
        assert family.mode(Episode(episode.values)) == episode.meta["mode"]


def test_experts_success_collapses_in_the_studys_recording() -> None:
    pytest.importorskip("mujoco")
    from tests.envs.test_blockpush_oracle import rollouts

    played = rollouts(40)
    records = [played[i] for i in np.random.default_rng(0).permutation(40)]  # what follows what is chance
    true, strict, legacy = (found(records, v) for v in ("paper", "strict", "repstudy_legacy"))
    assert true["P2"] >= 0.95
    assert strict["P2"] >= 0.95
    assert strict["R2"] == true["R2"] == 1
    assert legacy["P1"] >= 0.95
    assert 0.2 < legacy["P2"] < 0.7  # 0.45 over 60 episodes in the specification
    assert found(records, "repstudy_legacy", horizon=1)["P2"] == 0
    shares = Counter(mode_of(r).partition("-")[0] for r in records)
    assert true["first_pushed:red"] == pytest.approx(shares["red"] / 40)
