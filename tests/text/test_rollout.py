"""Rollouts of text games survive their files, and files that are no rollouts say where and why."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.errors import DataError
from maskbench.text.rollout import Label, TextRollout, TextStepRecord, append, from_json, read, to_json, write

words = st.text(max_size=20)
labels = st.builds(Label, words, st.integers(0, 9), st.none() | st.floats(0, 1), st.none() | st.booleans())
steps = st.builds(
    TextStepRecord,
    words,
    words,
    reward=st.floats(-9, 9),
    labels=st.lists(labels, max_size=2).map(tuple),
    texts=st.dictionaries(words, words, max_size=2),
    admissible=st.none() | st.lists(words, max_size=3).map(tuple),
    noise=st.booleans(),
    system=st.booleans(),
)
rollouts = st.builds(TextRollout, st.just("kitchen_lite"), st.lists(steps, max_size=4).map(tuple), epoch=st.integers(0, 5))


@given(rollouts)
def test_a_rollout_survives_json(rollout: TextRollout) -> None:
    assert from_json(json.loads(json.dumps(to_json(rollout)))) == rollout


def simple(**changes: object) -> TextRollout:
    return replace(TextRollout("zork1.z5", (TextStepRecord("West of House", "open mailbox"),)), **changes)  # type: ignore[arg-type]


def test_rollouts_are_filed_by_policy_run_epoch_partition_env_and_split(tmp_path: Path) -> None:
    file = append(tmp_path, simple(policy="mine", run_id=2, epoch=7, partition="student_test", split="valid"))
    assert file == tmp_path / "mine/run=2/epoch=7/partition=student_test/env=zork1.z5/split=valid/rollouts.jsonl"
    append(tmp_path, simple(policy="mine", run_id=2, epoch=7, partition="student_test", split="valid", seed=3))
    append(tmp_path, simple(policy="mine", run_id=1))
    assert [(r.run_id, r.seed) for r in read(tmp_path)] == [(1, None), (2, None), (2, 3)]


def test_a_written_file_reads_back(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [simple(), simple(seed=1)])
    assert list(read(tmp_path / "a.jsonl")) == [simple(), simple(seed=1)]
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "expected schema 1"),
        ({"epochs": 1}, "Did you mean 'epoch'"),
        ({"epoch": "1"}, "'epoch' should be int"),
        ({"won": 1}, "'won' should be bool"),
        ({"run_id": True}, "'run_id' should be int"),
        ({"partition": "student"}, "partition 'student' is unknown"),
        ({"env": "../x"}, "names a folder"),
        ({"steps": [{"obs": "x"}]}, "step 0: field 'command' is missing"),
        ({"steps": [{"obs": "x", "command": "y", "texts": {"a": 1}}]}, "'texts' should be"),
        ({"steps": [{"obs": "x", "command": "y", "labels": [{"summary": "s", "length": 1, "value": 2}]}]}, "lies in 0..1"),
        ({"steps": [{"obs": "x", "command": "y", "admissible": [1]}]}, "'admissible' should be"),
    ],
)
def test_a_line_that_is_no_rollout_says_why(tmp_path: Path, change: dict, message: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({**to_json(simple()), **change}))
    with pytest.raises(DataError, match=message):
        list(read(file))


def test_a_line_that_was_cut_off_is_named(tmp_path: Path) -> None:
    file = append(tmp_path, simple())
    file.write_text(file.read_text() + '{"schema": 1, "env"')
    with pytest.raises(DataError, match="line 2"):
        list(read(tmp_path))


def test_the_score_is_a_share_of_the_maximum_where_that_is_known() -> None:
    assert simple(score=3.0, max_score=4.0).normalised_score == 0.75
    assert simple(score=3.0).normalised_score is None
