"""Kitchen: published numbers of rollouts from the order of completed tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskbench.envs.base import MetricsVersion
from maskbench.envs.kitchen import Kitchen
from maskbench.envs.kitchen.expert import ORDERS
from maskbench.envs.kitchen.measures import sequence
from maskbench.envs.kitchen.simulator import START
from maskbench.envs.kitchen.tasks import LETTERS, TASKS
from maskbench.rollout.metrics import MetricRow, summarise
from maskbench.trajectory import Episode, EpisodeRecord


def record(row: int, order: str) -> EpisodeRecord:
    events = []
    for n, letter in enumerate(order, start=1):
        events += [(10 * n, f"task:{LETTERS[letter].name}"), (10 * n, f"route:{letter}"), (10 * n, f"tasks:{n}")]
    return EpisodeRecord(row, "kitchen", row, row, "bc", float(len(order)), 280, len(order) > 3, False, events=tuple(events))


def judged(orders: list[str], version: MetricsVersion = "paper", **more: object) -> dict[str, MetricRow]:
    family = Kitchen()
    rows = summarise(
        [record(i, o) for i, o in enumerate(orders)],
        events=family.events,
        measures=lambda r: family.measures(r, version),
        **more,  # type: ignore[arg-type]
    )
    return {r.metric: r for r in rows}


def test_completions_are_counted_up_to_all_seven_and_zero_is_told() -> None:
    found = judged(["mkls", "mk", "m", ""])
    assert [found[f"p_{n}"].value for n in range(1, 8)] == [0.75, 0.5, 0.25, 0.25, 0, 0, 0]
    assert found["tasks"].value == 1.75
    assert found["event:task:kettle"].value == 0.5
    assert found["event:task:hinge_cabinet"].value == 0 < found["event:task:hinge_cabinet"].high


def test_sequences_are_padded_and_their_entropy_counts_every_rollout() -> None:
    assert [sequence(record(0, o)) for o in ("mkls", "")] == ["mkls___", "_______"]
    found = judged(["mkls", "mkls", "lsmk", ""])["sequence_entropy"]
    assert found.value == pytest.approx(1.5)
    assert found.low <= 1.5 <= found.high


def test_task_entropy_follows_the_version() -> None:
    orders = ["mk"] * 3 + ["ls"]
    strict, paper, legacy = (judged(orders, v)["task_entropy"].value for v in ("strict", "paper", "repstudy_legacy"))
    assert strict == pytest.approx(-2 * (3 / 8 * math.log2(3 / 8) + 1 / 8 * math.log2(1 / 8)))
    shares = np.array([3, 3, 1, 1, 12]) / 20  # two tasks and three fillers an episode
    assert paper == pytest.approx(-(shares * np.log2(shares)).sum())
    shares = np.array([1, 1, 1, 1, 6]) / 10  # each distinct sequence once
    assert legacy == pytest.approx(-(shares * np.log2(shares)).sum())
    assert judged(orders)["task_entropy_of_100"].value == pytest.approx(paper)  # fewer than 100 episodes: all of them


def test_four_of_seven_tasks_with_a_filler_have_the_published_entropy_of_the_demonstrations() -> None:
    rng = np.random.default_rng(0)
    demonstrations = list(rng.choice(list(ORDERS), 1000, p=np.array(list(ORDERS.values())) / sum(ORDERS.values())))
    found = judged(demonstrations)
    assert found["task_entropy"].value == pytest.approx(2.88, abs=0.08)
    assert found["sequence_entropy"].value == pytest.approx(4.69, abs=0.08)
    assert found["task_entropy_of_100"].value == pytest.approx(found["task_entropy"].value, abs=0.05)
    assert 0 < found["sequence_entropy"].high - found["sequence_entropy"].low < 0.2


def test_a_policy_that_plays_the_demonstrations_has_little_divergence_and_one_that_does_not_has_much() -> None:
    modes = {"m>k>l>s": 60, "l>s>m>k": 40}
    alike = judged(["mkls"] * 58 + ["lsmk"] * 42, known_modes=modes)
    assert alike["mode_coverage"].value == 1
    assert alike["mode_kl"].value == pytest.approx(0, abs=0.005)
    single = judged(["mkls"] * 100, known_modes=modes)
    assert single["mode_kl"].value == pytest.approx(-math.log2(0.6), abs=0.06)
    other = judged(["hkmb"] * 100, known_modes=modes)["mode_kl"]
    assert other.low > 5
    assert other.value == pytest.approx(other.high, abs=1e-9)
    assert judged(["mkls"], known_modes=list(modes)).keys() >= {"mode_coverage"}
    assert "mode_kl" not in judged(["mkls"], known_modes=list(modes))


def test_a_recording_tells_its_order_without_meta() -> None:
    family = Kitchen()
    states = np.zeros((5, 60), np.float32)
    states[:, :30] = START
    states[2:, TASKS["microwave"].joints] = TASKS["microwave"].goal
    states[4:, TASKS["kettle"].joints] = TASKS["kettle"].goal
    bare = Episode({"state": states[:-1], "action": np.zeros((4, 9))}, {"state": states[-1]})
    assert family.mode(bare) == "m>k"
    assert family.mode(Episode(bare.values)) == "m"
    told = Episode(bare.values, meta={"completions": {"kettle": 3, "light_switch": 9, "slide_cabinet": 5}})
    assert family.mode(told) == "k>s>l"
    assert Kitchen(tasks=["kettle", "light_switch"]).mode(told) == "k>l"
