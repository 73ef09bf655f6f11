"""Text games from the command line: collecting, playing at the terminal, judging, rolling out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskbench.__main__ import app
from maskbench.app.config.compose import load
from maskbench.app.text_collect import MIXES, collect_rollouts, describe, read_mix, store
from maskbench.app.text_judge import Wanted, judge
from maskbench.app.text_play import batch_statistics, play_configured
from maskbench.app.text_rollout import run_text
from maskbench.errors import ConfigError
from maskbench.text.rollout import Label, TextRollout, TextStepRecord, read, write


class Script:
    """A terminal at which everything is typed in advance. Raises EOFError at its end."""

    def __init__(self, *lines: str) -> None:
        self.lines, self.shown = list(lines), list[str]()

    def show(self, text: str) -> None:
        self.shown.append(text)

    def ask(self, prompt: str) -> str:
        if not self.lines:
            raise EOFError
        self.shown.append(f"{prompt} {self.lines[0]}")
        return self.lines.pop(0)


def configured(root: Path, *overrides: str):
    return load("run_on_env", [*overrides, f"experiment.data_root={root}"])


def human(root: Path, *lines: str, more: tuple[str, ...] = ()) -> tuple[Script, list[TextRollout]]:
    script = Script(*lines)
    play_configured(configured(root, "env=kitchen_lite", "policy=human", "policy.labels=false", *more), script)
    stored = list(read(root / "text")) if (root / "text").exists() else []
    return script, stored


def test_a_person_plays_and_the_rollout_is_stored(tmp_path: Path) -> None:
    script, stored = human(tmp_path, "inventory", "", "look", "end:")
    assert [s.command for s in stored[0].steps] == ["inventory", "look", ""]
    assert (stored[0].agent, stored[0].partition, stored[0].policy, stored[0].run_id) == ("human", "teacher", "human", 0)
    assert any("You are carrying nothing." in s for s in script.shown)


def test_hindsight_is_asked_and_checked(tmp_path: Path) -> None:
    lines = ("", "inventory", "I looked", "-1", "1", "2", "0.5", "look", "", "end:")
    _, stored = human(tmp_path, *lines, more=("policy.labels=true",))
    assert stored[0].steps[1].labels == (Label("I looked", 1, 0.5),)
    assert stored[0].labelled


def test_the_end_of_input_keeps_what_was_played(tmp_path: Path) -> None:
    _, stored = human(tmp_path, "inventory")
    assert [s.command for s in stored[0].steps] == ["inventory", ""]


def test_forks_keep_both_branches(tmp_path: Path) -> None:
    _, stored = human(tmp_path, "inventory", "look", "restore:1", "examine cookbook", "restore:9", "end:")
    assert [[s.command for s in r.steps] for r in stored] == [["inventory", "look", ""], ["inventory", "examine cookbook", ""]]


def test_another_player_takes_over_and_wins(tmp_path: Path) -> None:
    _, stored = human(tmp_path, "inventory", "agent: 'nobody'", "agent: 'expert'")
    assert stored[0].won
    assert stored[0].agent == "expert"
    assert [s.command for s in stored[0].steps if s.system] == ["agent: 'expert'"]


def test_another_game_is_loaded_in_the_middle(tmp_path: Path) -> None:
    script, stored = human(
        tmp_path, "inventory", "load: ['split': 'test']", "load: ['game': 'kitchen_lite', 'split': 'test']", "look", "end:"
    )
    assert sorted((r.split, [s.command for s in r.visible]) for r in stored) == [
        ("test", ["look", ""]),
        ("train", ["inventory", ""]),
    ]
    assert any("load needs a game" in s for s in script.shown)


def test_a_question_is_searched_answered_and_hidden_from_the_game(tmp_path: Path) -> None:
    script, stored = human(
        tmp_path, "examine cookbook", "what is it?", "recipe", "0 7", "", "an egg", "look", "restore:1", "end:"
    )
    step = stored[0].steps[1]
    assert step.texts["question"] == "what is it?"
    assert step.texts["answer"] == "an egg"
    assert step.texts["searches"] == "recipe"
    assert step.labels[0] == Label("what is it? an egg", 0, 1.0)
    assert stored[0].steps[2].obs == "an egg"
    assert [s.command for s in stored[1].steps if s.command] == ["examine cookbook"]
    assert any(s.startswith("[0] step: 0") for s in script.shown)


def test_fitness_and_help_are_shown(tmp_path: Path) -> None:
    script, _ = human(tmp_path, "help:", "fitness:", "look", "restore:0", "fitness:", "end:")
    assert any("no rollouts are stored" in s for s in script.shown)
    assert any("fitness: 0.000" in s for s in script.shown)


def test_statistics_of_a_batch() -> None:
    steps = (TextStepRecord("a", "x"), TextStepRecord("a", "y"), TextStepRecord("b", ""))
    batch = [TextRollout("e", steps, score=2.0, won=True), TextRollout("e", steps, score=0.0)]
    assert batch_statistics(batch) == {
        "rollouts": 2.0,
        "fitness": 1.0,
        "won": 0.5,
        "unique actions": 1.0,
        "unique observations": 0.5,
    }


def test_the_old_flags_of_play_work(tmp_path: Path) -> None:
    flags = "--policy mine --meta_policy expert --run_id 3 --epoch 1 --env kitchen_lite --max_rollouts 2 --max_actions 40"
    result = CliRunner().invoke(app, ["text", "play", *flags.split(), "--partition", "student_train", "--root", str(tmp_path)])
    assert result.exit_code == 0, result.output
    stored = list(read(tmp_path / "text" / "mine"))
    assert [(r.run_id, r.epoch, r.partition, r.won) for r in stored] == [(3, 1, "student_train", True)] * 2


def test_mixes_are_named_or_written_out() -> None:
    assert read_mix("default") == MIXES["default"]
    assert [(s.epsilon, s.episodes) for s in read_mix("0:1,0.2:3,random:2")] == [(0.0, 1), (0.2, 3), (None, 2)]
    for wrong in ("", "0.2", "2:1", "0:0", "noise:1"):
        with pytest.raises(ConfigError, match="a mix is"):
            read_mix(wrong)


def test_collected_data_for_values_fail_often_enough_and_name_their_origin(tmp_path: Path) -> None:
    config = configured(tmp_path, "env=kitchen_lite", "env.games=6", "policy=expert")
    rollouts = collect_rollouts(config.env, MIXES["value"], {"policy": "expert"})
    assert len(rollouts) == 6 * sum(s.episodes for s in MIXES["value"])
    found = describe(rollouts)
    assert 0.3 <= found["failed"] <= 0.6
    assert found["players"]["expert"]["won"] == 1.0
    assert {r.seed for r in rollouts} == set(range(1000, 1006))
    assert all(s.expert for r in rollouts for s in r.steps[:-1])  # what the teacher would have done, beside the noise
    assert any(s.noise for r in rollouts for s in r.steps)
    file = store(rollouts, tmp_path / "text", "here")
    assert list(read(file)) == rollouts
    assert json.loads(file.with_name("card.json").read_text())["rollouts"] == len(rollouts)
    with pytest.raises(ConfigError, match="overwrite"):
        store(rollouts, tmp_path / "text", "here")


@pytest.mark.slow
def test_collecting_in_processes_gives_the_same_rollouts(tmp_path: Path) -> None:
    config = configured(tmp_path, "env=kitchen_lite", "env.games=3", "policy=expert")
    one, two = (collect_rollouts(config.env, MIXES["default"], {"policy": "x"}, workers=n) for n in (1, 2))
    assert one == two


def test_a_baseline_is_rolled_out_with_intervals_and_stored(tmp_path: Path) -> None:
    overrides = ["env=kitchen_lite", "env.split=test", "policy=random_admissible", "experiment.num_eval_eps=6"]
    config = configured(tmp_path, *overrides, "experiment.run_id=2", "experiment.epoch=1", "policy.loop_guard=3")
    value = run_text(config, tmp_path / "run")
    stored = list(read(tmp_path / "text" / "random_admissible"))
    assert value == pytest.approx(-sum(r.score for r in stored) / 6)
    assert {(r.run_id, r.epoch, r.partition, r.split) for r in stored} == {(2, 1, "student_test", "test")}
    table = (tmp_path / "run" / "evaluation" / "rollouts.csv").read_text()
    assert "normalised_score" in table
    assert "won" in table
    assert "low" in table
    assert (tmp_path / "run" / "evaluation" / "bc" / "plan.json").is_file()


def test_retrieval_copies_from_stored_rollouts(tmp_path: Path) -> None:
    config = configured(tmp_path, "env=kitchen_lite", "env.games=3", "policy=expert")
    store(collect_rollouts(config.env, MIXES["clean"], {"policy": "expert"}), tmp_path / "text", "here")
    overrides = ["env=kitchen_lite", "env.games=3", "policy=retrieval", f"policy.data={tmp_path / 'text'}"]
    assert run_text(configured(tmp_path, *overrides), tmp_path / "run") == -5.0


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["env=doorkey", "policy=expert"], "plays text games"),
        (["policy=human"], "name the environment"),
        (["env=kitchen_lite", "policy=retrieval"], "policy.data"),
        (["env=kitchen_lite", "policy=expert", "experiment.store=a/b"], "names a folder"),
        (["env=kitchen_lite", "env.level=7", "policy=expert"], "env.level"),
    ],
)
def test_what_cannot_be_played_is_refused_before_it_starts(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load("run_on_env", overrides)


def test_lookahead_and_models_are_sent_where_they_can_play(tmp_path: Path) -> None:
    config = configured(tmp_path, "env=kitchen_lite", "policy=admissible_uniform", "policy.meta=lookahead")
    with pytest.raises(ConfigError, match="text play"):
        run_text(config, tmp_path)


def machine(tmp_path: Path) -> Path:
    steps = (
        TextStepRecord("a", "x", texts={"hindsight_expectation": "I win"}),
        TextStepRecord("b", "y", labels=(Label("I moved", 1, 1.0, source="model"),)),
        TextStepRecord("c", "", labels=(Label("I rested", 2, 0.0, source="model"),)),
    )
    file = tmp_path / "rollouts.jsonl"
    write(file, [TextRollout("e", steps, agent="model"), TextRollout("e", steps, agent="human")])
    return file


def test_a_person_judges_machine_written_summaries_once(tmp_path: Path) -> None:
    file = machine(tmp_path)
    assert judge(file, "summary", Wanted(), Script("2", "1", "0")) == (1, 2)
    judged, people = read(file)
    assert [x.accurate for s in judged.steps for x in s.labels] == [True, False]
    assert [x.accurate for s in people.steps for x in s.labels] == [None, None]
    assert judge(file, "summary", Wanted(), Script()) == (0, 0)


def test_judging_stops_when_the_person_does_and_keeps_what_was_said(tmp_path: Path) -> None:
    file = machine(tmp_path)
    assert judge(file, "summary", Wanted(), Script("1")) == (1, 1)
    assert [x.accurate for s in next(iter(read(file))).steps for x in s.labels] == [True, None]
    assert judge(file, "summary", Wanted(epoch=5), Script("1")) == (0, 0)


def test_expectations_are_replaced_by_better_ones(tmp_path: Path) -> None:
    file = machine(tmp_path)
    assert judge(tmp_path, "novel_expectation", Wanted(partitions=("teacher",)), Script("I move")) == (1, 1)
    assert next(iter(read(file))).steps[0].texts["novel_hindsight_expectation"] == "I move"
