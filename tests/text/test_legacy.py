"""The original's pickles: a genuine one whole, a synthetic one, and a malicious one refused."""

import argparse
import datetime
import json
import pickle
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskbench.__main__ import app
from maskbench.errors import DataError
from maskbench.text.admission import Admission
from maskbench.text.examples import ORIGINAL_ENGINES, ORIGINAL_EPOCHS, Job, original_job, pairs
from maskbench.text.finetune import check_finetune, rows, write_finetune
from maskbench.text.formats import get_format
from maskbench.text.legacy import parse_key, read_legacy
from maskbench.text.values import THREE
from tests.text.fixture import DATA, GAME

genuine = pytest.mark.skipif(not DATA.is_dir(), reason="the original's files are not here")
FORM = get_format("hindsight_expectation_str")


@genuine
def test_the_shipped_file_is_made_again_from_the_shipped_pickle_byte_for_byte(tmp_path: Path) -> None:
    out = tmp_path / "made.jsonl"
    options = ["--pickle_path", DATA / "grounding_data.pkl", "--finetune_path", out, "--format", FORM.name]
    options += ["--run_id", "1", "--epoch", "7", "--partition", "student_train", "--mode", "original"]
    result = CliRunner().invoke(app, ["text", "write-finetune", *map(str, options)])
    assert result.exit_code == 0, result.output
    assert out.read_bytes() == (DATA / "grounding_data.jsonl").read_bytes()
    assert check_finetune(out, "completion", FORM)["lines"] == 446


@genuine
def test_unlabelled_steps_of_the_shipped_pickle_are_no_longer_high() -> None:
    imported = read_legacy(DATA / "grounding_data.pkl")
    assert (len(imported.rollouts), imported.copies, len(imported.skipped)) == (112, 29, 1)
    admission = Admission(
        run_id=1, epoch=7, partition="student_train", agents=None, engines=ORIGINAL_ENGINES, epochs=ORIGINAL_EPOCHS
    )

    def count(job: Job) -> dict[str, int]:
        words = [p.value for p in pairs(FORM, imported.rollouts, job, imported.batches)]
        return {w: words.count(w) for w in sorted(set(words))}

    assert count(original_job(admission)) == {"high": 331, "low": 103, "middle": 12}
    assert count(Job(admission)) == {"": 166, "high": 173, "low": 98, "middle": 9}


def old_style(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **state: object) -> Path:
    """A pickle as the original would have written it: its classes live in a module called ``trajectory``."""
    module = types.ModuleType("trajectory")
    for name, base in (("Trajectory", list), ("Rollout", dict), ("Goal", object)):
        setattr(module, name, type(name, (base,), {"__module__": "trajectory"}))
    monkeypatch.setitem(sys.modules, "trajectory", module)
    goal = module.Goal()
    goal.goal = "get a high batch_fitness"
    triples = [
        [{"obs": ""}, goal, "start"],
        [{"obs": "start", "invisible": True}, goal, "load: ['game': 'zork1.z5', 'split': 'train']"],
        [{"obs": "West of House", **state}, "explore", "open mailbox"],
        [{"obs": "A leaflet.", "hindsight_summary": "I opened it", "hindsight_length": "1", "value": "1"}, "explore", "blank"],
    ]
    rollout = module.Rollout({"trajectory": module.Trajectory(triples), "goal": goal, "scores": [5]})
    rollout.agent = {"name": "human", "engine": ""}
    rollout.timestamp = datetime.datetime(2022, 2, 1)
    key = f"{argparse.Namespace(env='zork1.z5', epoch='7', meta_policy='human', partition='teacher', run_id=1, split='train')}"
    file = tmp_path / "old.pkl"
    file.write_bytes(pickle.dumps({f"{key} game='zork1.z5'": [rollout, rollout]}))
    return file


def test_an_old_style_pickle_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = read_legacy(old_style(tmp_path, monkeypatch))
    assert imported.copies == 1
    (rollout,) = imported.rollouts
    assert (rollout.env, rollout.epoch, rollout.run_id, rollout.agent, rollout.score) == ("zork1.z5", 7, 1, "human", 5.0)
    assert [s.command for s in rollout.visible] == ["start", "open mailbox", "blank"]
    assert [s.reward for s in rollout.visible] == [0.0, 5.0, 0.0]
    assert [(x.summary, x.length, x.value) for x in rollout.visible[2].labels] == [("I opened it", 1, 1.0)]


def test_a_length_that_is_no_number_covers_nothing_and_keeps_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = old_style(tmp_path, monkeypatch, hindsight_summary="x", hindsight_length="south", value="0")
    step = read_legacy(file).rollouts[0].visible[1]
    assert (step.labels[0].length, step.texts["hindsight_length"]) == (0, "south")


class Malicious:
    def __reduce__(self) -> tuple:
        import os

        return os.system, ("touch owned",)


def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.pkl").write_bytes(pickle.dumps({"Namespace() game=''": [Malicious()]}))
    with pytest.raises(DataError, match=r"refuses to build 'posix\.system'"):
        read_legacy(Path("bad.pkl"))
    assert not Path("owned").exists()


def test_keys_are_parsed_and_never_evaluated() -> None:
    assert parse_key("Namespace(env='a', epoch=3) game='b.z5'") == {"env": "a", "epoch": "3", "game": "b.z5"}
    assert parse_key("grounding_game_1.z8") == {}
    with pytest.raises(ValueError, match="malformed"):
        parse_key("Namespace(env=__import__('os')) game='b'")


@pytest.mark.parametrize("style", ["completion", "chat", "value"])
def test_files_pass_their_checker(tmp_path: Path, style: str) -> None:
    file = tmp_path / "a.jsonl"
    for form in (FORM, None, get_format("expected_observation"), get_format("imitation_inference_str")):
        assert write_finetune(file, rows(style, pairs(form, [GAME], Job()), form, THREE)) == 7
        assert check_finetune(file, style, form)["lines"] == 7


def test_preferences_pair_the_best_with_the_worst_of_the_same_prompt(tmp_path: Path) -> None:
    from dataclasses import replace

    worse = GAME.with_steps((*GAME.steps[:-1], replace(GAME.steps[-1], labels=(replace(GAME.steps[-1].labels[0], value=0.0),))))
    file = tmp_path / "a.jsonl"
    made = list(rows("preference", pairs(get_format("imitation_inference_str"), [GAME, worse], Job()), None, THREE))
    assert made == []  # the same commands: nothing to prefer
    other = worse.with_steps(replace(s, command="wait") if s.command == "eat meal" else s for s in worse.steps)
    form = get_format("imitation_inference_str")
    assert write_finetune(file, rows("preference", pairs(form, [GAME, other], Job()), form, THREE)) == 1
    assert check_finetune(file, "preference", form)["lines"] == 1
    row = json.loads(file.read_text())
    assert (row["preferred_output"], row["non_preferred_output"]) == ("action: [ eat meal ]\n", "action: [ wait ]\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\xff", "UTF-8"),
        (b"{", "expected JSON"),
        (b"[]", "expected an object"),
        (b'{"prompt": "x"}', "expected the keys"),
        (b'{"prompt": "x", "completion": " "}', "empty"),
        (b'{"prompt": "x", "completion": "] action: [ a ]"}', "stop token"),
        (b'{"prompt": "x", "completion": "nothing\\n"}', "no command"),
        (b'{"prompt": "x", "completion": "] action: [ a ]\\n"}', "none of"),
    ],
)
def test_the_checker_names_the_line_and_the_fault(tmp_path: Path, line: bytes, message: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(line)
    with pytest.raises(DataError, match=message):
        check_finetune(file, "completion", FORM)


def test_chat_roles_must_alternate(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}))
    with pytest.raises(DataError, match="in turn"):
        check_finetune(file, "chat", FORM)
