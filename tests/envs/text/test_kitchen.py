"""The pure-Python kitchen: TextWorld's rules and scores, an expert that wins, and names that splits do not share."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskbench.envs.text.kitchen.babble import babble
from maskbench.envs.text.kitchen.game import Kitchen
from maskbench.envs.text.kitchen.house import HELD, KITCHEN, build
from maskbench.envs.text.kitchen.pantry import FOODS, stock
from maskbench.envs.text.levels import level_of
from maskbench.errors import ConfigError, EnvError

LEVELS = [(flavour, level) for flavour in ("gata", "ttm") for level in (1, 2, 3, 4)]


def win(game: Kitchen, seed: int) -> list[str]:
    """The expert's commands, with everything that was read."""
    step, read = game.reset(seed), []
    while not step.done:
        assert step.expert in step.admissible
        read += [step.obs, step.expert]
        step = game.step(step.expert)
    assert step.won
    assert not step.lost
    assert step.score == step.max_score == game.level.max_score
    return [*read, step.obs]


def test_levels_have_the_scores_of_the_specification() -> None:
    assert [level_of(level, flavour).max_score for flavour, level in LEVELS] == [4, 5, 3, 11, 3, 4, 2, 8]
    with pytest.raises(ConfigError, match=r"levels \[1, 2, 3, 4\]"):
        level_of(5, "gata")


@pytest.mark.parametrize(("flavour", "level"), LEVELS)
@pytest.mark.parametrize("invented", [False, True])
def test_the_expert_wins_every_game_within_its_admissible_commands(flavour: str, level: int, invented: bool) -> None:
    game = Kitchen(level_of(level, flavour), invented=invented)  # type: ignore[arg-type]
    for seed in range(20):
        win(game, seed)


def test_the_same_seed_gives_the_same_transcript_and_another_seed_another_game() -> None:
    game = Kitchen(level_of(4, "gata"))
    first = win(game, 7)
    assert win(Kitchen(level_of(4, "gata")), 7) == first
    assert win(game, 7) == first
    assert win(game, 8)[0] != first[0]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.integers(0, 10_000), level=st.sampled_from(LEVELS))
def test_the_expert_recovers_from_whatever_was_done_after_reading(seed: int, noise: int, level: tuple[str, int]) -> None:
    game, random = Kitchen(level_of(level[1], level[0])), Random(noise)  # type: ignore[arg-type]
    step = game.reset(seed)
    earned = 0.0
    for _ in range(30):
        step = game.step(random.choice(step.admissible))
        earned += step.reward
        assert step.score == earned
        if step.done:
            assert step.lost or step.won
            return
    for _ in range(60):
        step = game.step(step.expert)
        if step.done:
            break
    assert step.won


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.integers(0, 10_000))
def test_every_admissible_command_is_understood(seed: int, noise: int) -> None:
    game, random = Kitchen(level_of(4, "gata"), expert=False), Random(noise)
    step = game.reset(seed)
    for _ in range(20):
        command = random.choice(step.admissible)
        step = game.step(command)
        assert not step.obs.startswith(("That's not a verb", "You can't see", "You haven't got", "You have to open")), command
        if step.done:
            return


def test_wrong_heat_wrong_cut_burning_and_eating_lose_at_once() -> None:
    level = level_of(2, "ttm")
    verbs = {"chopped": "chop", "sliced": "slice", "diced": "dice"}
    game = Kitchen(level)
    for seed in range(6):
        for mistake in ("heat", "cut", "burn", "eat"):
            step = game.reset(seed)
            item = game.house.recipe[0]
            right = {"fried": "stove", "roasted": "oven"}[item.cooking]
            wrong = {"stove": "oven", "oven": "stove"}[right]
            knife = game.state.places["knife"]
            commands = {
                "heat": [f"cook {item.food} with {wrong}"],
                "cut": [
                    f"take knife from {knife}",
                    f"{next(v for c, v in verbs.items() if c != item.cutting)} {item.food} with knife",
                ],
                "burn": [f"cook {item.food} with {right}", f"cook {item.food} with oven"],
                "eat": [f"cook {item.food} with {right}", f"eat {item.food}"],
            }[mistake]
            for command in commands:
                step = game.step(command)
            assert (step.lost, step.done, step.won) == (True, True, False), (seed, mistake, step.obs)
            assert step.score == (1 if mistake in ("burn", "eat") else 0)
            with pytest.raises(EnvError, match="over"):
                game.step("look")


def test_what_fails_says_so_in_textworlds_words_and_changes_nothing() -> None:
    game = Kitchen(level_of(2, "gata"))
    game.reset(3)
    before = game.state.copy()
    for command, answer in (
        ("go north", "You can't go that way."),
        ("take moon", "You can't see any such thing."),
        ("drop knife", "You haven't got that."),
        ("dance", "That's not a verb I recognise."),
    ):
        assert game.step(command).obs == answer
    assert game.state == before
    assert game.step("prepare meal").obs == "You still miss something."


def test_a_saved_game_continues_identically() -> None:
    game = Kitchen(level_of(4, "gata"))
    step = game.reset(11)
    for _ in range(5):
        step = game.step(step.expert)
    saved, told = game.save(), step
    rest = []
    while not step.done:
        step = game.step(step.expert)
        rest.append(step)
    step = game.load(saved)
    assert step == told
    for expected in rest:
        step = game.step(step.expert)
        assert step == expected


def test_recipes_of_valid_and_test_games_use_their_own_foods_too_and_train_games_never() -> None:
    own = {split: {f.name for f in foods} for split, foods in FOODS.items()}
    assert not own["train"] & (own["valid"] | own["test"])
    for split in ("train", "valid", "test"):
        used = {i.food for s in range(200) for i in build(level_of(2, "gata"), split, False, Random(s)).recipe}  # type: ignore[arg-type]
        assert used <= own[split] | own["train"]
        assert bool(used & own[split])


def test_invented_names_of_different_splits_share_no_noun() -> None:
    nouns = {
        split: {f.name.split()[-1] for s in range(100) for f in stock(split, True, 20, Random(s))}  # type: ignore[arg-type]
        for split in ("train", "valid", "test")
    }
    assert len(nouns["train"]) > 300
    assert not nouns["train"] & nouns["test"]
    assert not nouns["train"] & nouns["valid"]
    assert not nouns["valid"] & nouns["test"]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), rooms=st.sampled_from([3, 4]))
def test_every_room_can_be_reached_and_every_ingredient_lies_somewhere(seed: int, rooms: int) -> None:
    house = build(level_of(rooms, "gata"), "train", False, Random(seed))
    assert len(house.exits) == {3: 9, 4: 6}[rooms]
    for room, ways in house.exits.items():
        assert room == KITCHEN or house.towards(room, KITCHEN) is not None
        for other, door in ways.values():
            assert (room, door) in house.exits[other].values()
    places = {*house.furniture, *house.exits, HELD}
    assert set(house.places.values()) <= places
    assert {i.food for i in house.recipe} <= set(house.places)


def test_a_game_has_to_be_reset_first() -> None:
    with pytest.raises(EnvError, match="reset"):
        Kitchen(level_of(1, "gata")).step("look")


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_strange_kitchens_are_the_same_games_in_other_words(level: int) -> None:
    plain, strange = (Kitchen(level_of(level, "gata"), invented=True, strange=share) for share in (0.0, 1.0))
    for seed in range(5):
        known, unknown = plain.reset(seed), strange.reset(seed)
        assert known.obs != unknown.obs
        assert known.admissible == unknown.admissible
        for place in (p for p in strange.surfaces() if p in strange.house.furniture):
            assert all(thing in unknown.obs for thing in (place, *strange.at(place)))
        assert win(plain, seed)[1::2] == win(strange, seed)[1::2]


def test_half_strange_kitchens_keep_half_of_the_sentences() -> None:
    def sentences(share: float) -> list[str]:
        kitchens = Kitchen(level_of(2, "gata"), invented=True, strange=share)
        return [kitchens.reset(seed).obs.split("\n")[2] for seed in range(200)]

    kept = sum(a == b for a, b in zip(sentences(0.0), sentences(0.5), strict=True))
    assert 60 < kept < 140


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from(["{0}", "the {1}", "kitchen"]), max_size=3))
def test_babble_keeps_its_parts_in_their_order_and_ends_a_sentence(seed: int, parts: list[str]) -> None:
    said = babble(Random(seed), *parts)
    assert said[-1] in ".!?"
    at = 0
    for part in parts:
        at = said.lower().index(part.lower(), at) + len(part)
