"""TextWorld's cooking games: scores, expert, splits, seeds. Games are made here, about two seconds each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskbench.envs.text.cooking.files import Collection, content_hash, make_games
from maskbench.envs.text.cooking.teacher import to_cookbook
from maskbench.envs.text.kitchen.pantry import FOODS
from maskbench.envs.text.levels import level_of
from maskbench.errors import EnvError, MissingExtraError

LEVELS = [(flavour, level) for flavour in ("gata", "ttm") for level in (1, 2, 3, 4)]
SCORES = dict(zip(LEVELS, (4, 5, 3, 11, 3, 4, 2, 8), strict=True))


def cooking(*args, **options):
    pytest.importorskip("textworld", reason="the cooking games need maskbench[text]")
    from maskbench.envs.text.cooking import Cooking

    return Cooking(*args, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cooking")


def win(game, seed: int) -> list[str]:
    step, read = game.reset(seed), []
    while not step.done and len(read) < 100:
        read += [step.obs, step.expert]
        step = game.step(step.expert)
    assert step.won
    assert step.score == step.max_score
    return [*read, step.obs]


@pytest.mark.slow
@pytest.mark.parametrize(("flavour", "level"), LEVELS)
def test_the_expert_wins_five_seeds_of_each_level(folder: Path, flavour: str, level: int) -> None:
    games = cooking(level, flavour, games=5, folder=str(folder), expert=True)
    games.prepare()
    assert games.max_score == SCORES[flavour, level]
    game = games.game()
    for seed in games.worlds:
        read = win(game, seed)
        commands = read[1::2]
        assert commands[0] == "inventory"
        cookbook = commands.index("examine cookbook")
        assert not any(c.startswith(("cook", "chop", "slice", "dice")) for c in commands[:cookbook])
        assert not any("=-" in line and line.rstrip()[-1].isdigit() for text in read for line in text.splitlines())
    game.close()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_game_and_the_same_transcript(tmp_path: Path) -> None:
    transcripts = []
    for name in ("a", "b"):
        games = cooking(2, split="valid", games=1, folder=str(tmp_path / name), expert=True)
        games.prepare()
        about = games.collection.manifest()["5000"]
        transcripts.append((about["sha256"], about["uuid"], win(games.game(), 5000)))
    assert transcripts[0] == transcripts[1]


@pytest.mark.slow
def test_training_recipes_use_no_food_of_the_other_splits(folder: Path) -> None:
    pytest.importorskip("textworld")
    collection = Collection(folder, 1, "gata", "train")
    list(make_games(collection, 5))
    other = {f.name for split in ("valid", "test") for f in FOODS[split]}  # type: ignore[index]
    for about in collection.manifest().values():
        assert not any(food in command for food in other for command in about["walkthrough"])
    card = json.loads((collection.folder / "card.json").read_text())
    assert card["games"] >= 5
    assert "make-games" in card["command"]


@pytest.mark.slow
def test_making_games_goes_on_where_it_stopped(folder: Path) -> None:
    pytest.importorskip("textworld")
    collection = Collection(folder, 2, "gata", "test")
    assert list(make_games(collection, 1)) == [9000]
    kept = collection.file(9000).stat().st_mtime_ns
    assert list(make_games(collection, 2)) == [9001]
    assert list(make_games(collection, 2)) == []
    assert collection.file(9000).stat().st_mtime_ns == kept
    assert not list(collection.folder.glob(".making*"))


@pytest.mark.slow
def test_the_expert_recovers_from_noise(folder: Path) -> None:
    from random import Random

    games = cooking(2, games=1, folder=str(folder), expert=True)
    games.prepare()
    game, random = games.game(), Random(1)
    step = game.reset(1000)
    for _ in range(6):
        step = game.step(
            random.choice([c for c in step.admissible if not c.startswith(("cook", "eat", "chop", "slice", "dice"))])
        )
    while not step.done:
        assert step.expert is not None
        step = game.step(step.expert)
    assert step.won
    with pytest.raises(EnvError, match="no cooking game has the seed 7"):
        game.reset(7)


def test_a_game_that_was_not_made_says_how(tmp_path: Path) -> None:
    game = cooking(1, games=1, folder=str(tmp_path)).game()
    with pytest.raises(EnvError, match="text make-games"):
        game.reset(1000)


def test_without_textworld_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "textworld", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'maskbench\[text\]'"):
        list(make_games(Collection(tmp_path, 1, "gata", "train"), 1))


def test_the_hash_of_a_game_leaves_its_paths_out() -> None:
    a, b = ({"world": [1], "metadata": {"path": p}} for p in "ab")
    assert content_hash(json.dumps(a).encode()) == content_hash(json.dumps(b).encode())
    assert content_hash(b'{"world": [2]}') != content_hash(b'{"world": [1]}')


class _Fact:
    """As TextWorld's propositions: a name and named arguments."""

    def __init__(self, text: str) -> None:
        self.name, *names = text.split()
        self.arguments = [type("Variable", (), {"name": n})() for n in names]


def test_the_way_to_the_cookbook_opens_doors_and_takes_the_shortest() -> None:
    def step(*more: str) -> str:
        # hall - kitchen to the east behind a door; hall - cellar to the south
        facts = [
            "at table kitchen",
            "on cookbook table",
            "east_of kitchen hall",
            "west_of hall kitchen",
            "north_of hall cellar",
        ]
        facts += ["south_of cellar hall", "link hall door kitchen", "link kitchen door hall", *more]
        return to_cookbook([_Fact(f) for f in facts])

    assert step("at P cellar", "closed door") == "go north"
    assert step("at P hall", "closed door") == "open door"
    assert step("at P hall", "open door") == "go east"
    assert step("at P kitchen") == "examine cookbook"
    assert level_of(3, "gata").rooms == 9
