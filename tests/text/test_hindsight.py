"""Relabelling shows no future, loses no label, and copies the original's mistakes only where asked."""

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.errors import ConfigError, DataError
from maskbench.text.admission import Admission
from maskbench.text.hindsight import JOIN, ORIGINAL, Hindsight, Relabelling, trusted
from maskbench.text.labellers import LABELLERS, label, model_labels
from maskbench.text.rollout import PARTITIONS, Label, TextRollout, TextStepRecord
from maskbench.text.values import BATCH, TEN, THREE, buckets, quantiles, step_values
from tests.text.fixture import GAME


@st.composite
def labelled_steps(draw: st.DrawFn) -> list[TextStepRecord]:
    """Steps whose labels are called by the step that they were written at."""
    out = []
    for t in range(draw(st.integers(2, 9))):
        lengths = draw(st.lists(st.integers(0, 11), max_size=2))
        value = st.sampled_from([0.0, 0.5, 1.0])
        out.append(TextStepRecord("o", "c", labels=tuple(Label(f"at {t}", n, draw(value)) for n in lengths)))
    return out


@given(labelled_steps(), st.sampled_from(["covered", "written"]))
def test_no_past_step_shows_a_label_of_the_future(steps: list[TextStepRecord], visible: str) -> None:
    hindsight = Hindsight(steps, Relabelling(visible=visible))  # type: ignore[arg-type]
    for current in range(len(steps)):
        for j in range(current):
            shown = hindsight.past(j, current).expectation
            assert all(int(text.split()[1]) < current for text in shown.split(JOIN) if text)


@given(labelled_steps())
def test_each_label_is_foreseen_at_exactly_the_steps_that_it_covers(steps: list[TextStepRecord]) -> None:
    hindsight = Hindsight(steps)
    foreseen = sorted((c, t) for c in range(len(steps)) for t in hindsight.future(c).expectation.split(JOIN) if t)
    written = sorted((c, x.summary) for t, s in enumerate(steps) for x in s.labels for c in range(max(t - x.length, 0), t))
    assert foreseen == written


@given(labelled_steps())
def test_the_mean_value_does_not_depend_on_the_order_of_labels(steps: list[TextStepRecord]) -> None:
    turned = [replace(s, labels=s.labels[::-1]) for s in steps]
    for c in range(len(steps)):
        a, b = Hindsight(steps).future(c).value, Hindsight(turned).future(c).value
        assert a == b or math.isclose(a, b)  # type: ignore[arg-type]


def test_a_label_longer_than_its_past_wraps_in_the_original_only() -> None:
    steps = [TextStepRecord("o", "c") for _ in range(6)]
    steps[2] = replace(steps[2], labels=(Label("long", 4, 1.0),))
    assert [bool(Hindsight(steps).future(c).expectation) for c in range(6)] == [True, True, False, False, False, False]
    assert [bool(Hindsight(steps, ORIGINAL).future(c).expectation) for c in range(6)] == [True, True, False, False, False, True]


def test_labels_without_a_value_count_as_nothing_or_as_zero() -> None:
    steps = [TextStepRecord("o", "c"), TextStepRecord("o", "c", labels=(Label("a", 1), Label("b", 1, 1.0)))]
    assert Hindsight(steps).future(0).value == 1.0
    assert Hindsight(steps, ORIGINAL).future(0).value == 0.5
    assert Hindsight(steps).future(1).value is None


def test_the_nearest_label_can_be_kept_alone() -> None:
    hindsight = Hindsight(GAME.visible, Relabelling(keep="nearest"))
    assert hindsight.future(4).expectation == "I wasted a move"


def test_credit_goes_to_the_steps_that_an_answer_came_from_once() -> None:
    steps = [TextStepRecord("o", "c") for _ in range(6)]
    steps[3] = replace(steps[3], texts={"relevant": "1 3 5"})
    steps[1] = replace(steps[1], texts={"relevant": "0 1"})
    steps[4] = replace(steps[4], labels=(Label("found", 1, 1.0),))
    assert [c for c in range(6) if Hindsight(steps).future(c).expectation] == [0, 1, 3]


def test_a_machine_is_believed_where_a_person_or_the_game_confirms() -> None:
    labels = (Label("a", 1), Label("b", 1, accurate=True), Label("c", 1, accurate=False), Label("d", 1, source="event"))
    rollout = TextRollout("zork1.z5", (TextStepRecord("o", "c", labels=labels),), agent="model")
    assert [x.summary for x in trusted(rollout).steps[0].labels] == ["b", "d"]
    assert trusted(replace(rollout, agent="human")).steps[0].labels == labels


@pytest.mark.parametrize(
    ("value", "word"), [(0.2, "middle"), (0.8, "high"), (0.1999, "low"), (None, ""), (0.0, "low"), (1.0, "high")]
)
def test_three_buckets(value: float | None, word: str) -> None:
    assert THREE.word(value) == word


def test_buckets_of_batches_ten_and_quantiles() -> None:
    assert [BATCH.word(v) for v in (0.9, 1, 3)] == ["low", "middle", "high"]
    assert [TEN.index(v / 10) for v in range(11)] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert quantiles([0, 0, 1, 1], 2).edges == (1,)
    assert buckets("quantile_4", [0.1, 0.2, 0.3, 0.4]).words == ("<v0>", "<v1>", "<v2>", "<v3>")
    with pytest.raises(DataError, match="not a number"):
        THREE.word(math.nan)
    with pytest.raises(ConfigError, match="ten"):
        buckets("tenn")


def earned(*rewards: float, lost: bool = False) -> TextRollout:
    total, steps = 0.0, []
    for r in rewards:
        steps.append(TextStepRecord(f"obs {len(steps)}", f"do {len(steps)}", reward=r, score=total))
        total += r
    steps.append(TextStepRecord("The end.", "", score=total))
    return TextRollout("kitchen_lite", tuple(steps), score=total, max_score=4.0, lost=lost, won=total == 4.0)


def test_value_strategies() -> None:
    rollout = earned(1, 0, 1)
    assert step_values(rollout, "final") == [0.5] * 4
    assert step_values(rollout, "rtg") == [0.5, 0.25, 0.25, 0.0]
    assert step_values(rollout, "steps_to_reward") == [1.0, 0.9, 1.0, 0.0]
    assert step_values(rollout, "rtg_discounted") == pytest.approx([1.81 / 4, 0.9 / 4, 0.25, 0.0])
    assert step_values(replace(rollout, max_score=None), "rtg") == [None] * 4
    assert step_values(GAME, "label_mean") == [None, 0.5, 1.0, 1.0, 0.5, 1.0, 1.0, None]
    with pytest.raises(ConfigError, match="rtg"):
        step_values(rollout, "rtgg")


def test_events_failures_readings_and_outcomes_are_labelled() -> None:
    rollout = earned(0, 1, 0, 0, lost=True)
    steps = list(rollout.steps)
    steps[1] = replace(steps[1], obs="Recipe #1\n\nIngredients:\n  apple\n\nDirections:\n  fry the apple\n")
    steps[3] = replace(steps[3], obs="You can't see any such thing.")
    made = label(rollout.with_steps(steps))
    assert [[(x.summary, x.length, x.value, x.source) for x in s.labels] for s in made.steps] == [
        [],
        [("I read: Ingredients: apple Directions: fry the apple", 1, 0.5, "reading")],
        [("I got a point by: do 1.", 2, 1.0, "event")],
        [("That command did nothing: do 2.", 1, 0.0, "failure")],
        [("I lost by: do 3.", 2, 0.0, "event"), ("I lost with 1 of 4 points.", 4, 0.25, "outcome")],
    ]
    assert label(made) == made
    with pytest.raises(ConfigError, match="event"):
        label(made, ["events"])
    assert set(LABELLERS) == {"event", "failure", "reading", "recipe", "outcome"}


COOKBOOK = "Recipe #1\nIngredients:\n  red apple\n\nDirections:\n  dice the red apple\n  roast the red apple\n  prepare meal\n"


def test_the_line_of_the_recipe_that_a_rewarded_command_carried_out_is_its_label() -> None:
    played = [
        ("You see a table.", "examine cookbook", 0.0),
        (COOKBOOK, "take red apple from counter", 1.0),
        ("Taken.", "chop block of cheese with knife", 0.0),
        ("You chop it.", "dice red apple with knife", 1.0),
        ("You dice it.", "cook red apple with oven", 1.0),
        ("You roasted it.", "prepare meal", 1.0),
        ("You prepare the meal.", "eat meal", 1.0),
        ("The end.", "", 0.0),
    ]
    rollout = TextRollout("cooking_level_2", tuple(TextStepRecord(o, c, reward=r) for o, c, r in played))
    made = label(rollout, ["recipe"])
    found = {t: x.summary for t, s in enumerate(made.steps) for x in s.labels}
    both = "dice the red apple\n  roast the red apple"
    assert found == {4: "dice the red apple", 5: both, 6: f"{both}\n  prepare meal"}
    assert Hindsight(made.visible).future(4).expectation == both
    assert label(made, ["recipe"]) == made


def test_a_models_labels_are_kept_where_the_game_agrees() -> None:
    rollout = earned(1, 1, 1, 1)  # returns to go: 1, .75, .5, .25, 0
    made = model_labels(rollout, lambda prefix: Label("I think", 1, 0.5))
    assert [len(s.labels) for s in made.steps] == [0, 0, 1, 1, 1]
    assert model_labels(rollout, lambda prefix: None) == rollout


@pytest.mark.parametrize(("job", "found", "epoch"), product(PARTITIONS, PARTITIONS, [4, 5, 6]))
def test_the_partition_rule(job: str, found: str, epoch: int) -> None:
    admission = Admission(run_id=1, epoch=5, partition=job)  # type: ignore[arg-type]
    expected = {
        "teacher": epoch <= 5 and found != "student_test",
        "student_train": epoch <= 5 and found != "student_test",
        "student_test": (epoch < 5 and found != "student_test") or (epoch == 5 and found == "teacher"),
    }[job]
    assert admission.of_this_job(1, epoch, found) is expected
    assert not admission.of_this_job(2, epoch, found)


@pytest.mark.parametrize(
    "change", [{"agent": "x"}, {"split": "test"}, {"labelled": False}, {"epoch": 3}, {"env": "zork1.z5"}, {"engine": "gpt"}]
)
def test_lists_filter_by_their_own_field(change: dict) -> None:
    admission = Admission(epoch=3, epochs=(0,), envs=("kitchen_lite",), engines=("",))
    assert admission.admits(GAME)
    assert not admission.admits(replace(GAME, **change))
