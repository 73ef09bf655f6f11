"""Story files through Jericho, on the game that comes with maskbench."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from maskbench.envs.text.zmachine import ZMachine
from maskbench.envs.text.zmachine.family import SHIPPED, games_at
from maskbench.envs.text.zmachine.game import ZMachineGame
from maskbench.envs.text.zmachine.story import Story, candidates
from maskbench.errors import EnvError, MissingExtraError

STORY = SHIPPED / "lantern_house.z3"


@pytest.fixture
def game() -> Iterator[ZMachineGame]:
    pytest.importorskip("jericho", reason="Z-machine games need maskbench[text]")
    game = ZMachine("lantern_house", admissible=True).game()
    yield game
    game.close()


def test_the_solution_reaches_the_greatest_score(game: ZMachineGame) -> None:
    step = game.reset(0)
    assert (step.score, step.max_score, step.location) == (0, 50, "Gate")
    earned = 0.0
    while not step.done:
        step = game.step(step.expert)
        earned += step.reward
    assert step.won
    assert not step.lost
    assert step.score == earned == 50


def test_the_score_in_memory_is_the_score_that_the_game_tells(game: ZMachineGame) -> None:
    step = game.reset(0)
    while not step.done:
        assert game.asked_score() == step.score
        step = game.step(step.expert)


def test_asking_the_game_works_for_stories_whose_memory_says_nothing(game: ZMachineGame) -> None:
    game._meter = "asked"
    game.max_score = 50
    step = game.reset(0)
    for _ in range(8):
        step = game.step(step.expert)
    assert step.score == 15


def test_admissible_commands_hold_what_the_solution_does(game: ZMachineGame) -> None:
    step = game.reset(0)
    covered = total = 0
    while not step.done:
        saved = game.save()
        here = game._state_of("")
        after = game._state_of(game._env.step(step.expert)[0])
        game.load(saved)
        reached = set()
        for command in step.admissible:
            reached.add(game._state_of(game._env.step(command)[0]))
            game.load(saved)
        assert len(reached) == len(step.admissible)
        assert here not in reached
        if after != here:
            total += 1
            covered += after in reached
        step = game.step(step.expert)
    assert total == 27
    assert covered >= 0.95 * total


def test_a_saved_game_continues_identically(game: ZMachineGame) -> None:
    step = game.reset(0)
    for _ in range(6):
        step = game.step(step.expert)
    saved, told = game.save(), step
    first = [step := game.step(step.expert) for _ in range(5)]
    assert game.load(saved) == told
    step = told
    for expected in first:
        step = game.step(step.expert)
        assert step == expected


def test_the_same_seed_gives_the_same_transcript(game: ZMachineGame) -> None:
    commands = ["north", "wait", "east", "take spade", "west", "inventory"]
    runs = [[game.reset(0), *(game.step(c) for c in commands)] for _ in range(2)]
    assert runs[0] == runs[1]


def test_falling_in_the_dark_is_a_loss(game: ZMachineGame) -> None:
    step = game.reset(0)
    for _ in range(8):
        step = game.step(step.expert)
    for command in ("down", "take oil"):
        step = game.step(command)
    assert step.done
    assert step.lost
    assert not step.won
    with pytest.raises(EnvError, match="over"):
        game.step("up")


def test_the_expert_is_silent_once_the_player_left_the_solution(game: ZMachineGame) -> None:
    game.reset(0)
    assert game.step("north").expert == "north"
    assert game.step("east").expert is None


def test_status_lines_are_not_shown_and_long_commands_are_cut(game: ZMachineGame) -> None:
    game.reset(0)
    for command in ("north", "x" * 500, "look ünd"):
        assert "Score:" not in game.step(command).obs
    shown = ZMachine("lantern_house", status=True).game()
    shown.reset(0)
    assert "Score: 0" in shown.step("north").obs


def test_the_story_says_what_it_is_made_of() -> None:
    memory = np.frombuffer(STORY.read_bytes(), np.uint8)
    story = Story.of(memory)
    words = story.words(memory)
    assert story.version == 3
    assert story.counts_score
    assert story.letters == 6
    assert {"take", "lanter", "crysta", "north", "score"} <= words
    assert story.status(memory) is not None
    assert story.status(memory)[1] == 0
    tried = candidates("A brass key lies here. You see a lantern.", words, 6)
    assert {"take key", "light lantern", "north", "put key in lantern"} <= set(tried)
    assert tried.index("take key") < tried.index("take brass")
    assert not any("moon" in c for c in candidates("the moon", words, 6))


def test_a_users_own_file_is_found_by_name_and_brings_its_solution(tmp_path: Path) -> None:
    pytest.importorskip("jericho")
    shutil.copy(STORY, tmp_path / "mine.z3")
    (tmp_path / "mine.txt").write_text("# my own way\nnorth\n\neast\n")
    games = ZMachine("mine", folder=str(tmp_path))
    assert games.name == "mine"
    assert games.max_score == 50
    assert games.game().solution == ("north", "east")
    assert [p.name for p in games_at(tmp_path)] == ["mine.z3", "lantern_house.z3"]
    assert ZMachine(str(tmp_path / "mine.z3")).path == tmp_path / "mine.z3"


def test_a_game_that_is_nowhere_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(EnvError, match=r"no story file 'zork1' in .*lantern_house\.z3"):
        ZMachine("zork1", folder=str(tmp_path)).prepare()


def test_without_jericho_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jericho", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'maskbench\[text\]'"):
        ZMachineGame(STORY)


@pytest.mark.skipif(
    not any(p.stem == "zork1" for p in games_at(Path(__file__).resolve().parents[3] / "data" / "games")),
    reason="no zork1 in data/games: bring your own",
)
def test_zork_plays_its_walkthrough() -> None:
    games = ZMachine("zork1", folder=str(Path(__file__).resolve().parents[3] / "data" / "games"))
    game = games.game()
    step = game.reset(0)
    for command in game.solution:
        step = game.step(command)
    assert step.score == (350 if game.known else step.score)
