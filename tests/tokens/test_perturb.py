"""Changed instructions keep what they must: words, tokens, pictures (VIMA spec 3.5)."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.errors import ConfigError
from maskbench.prompt import PLACEHOLDER, Prompt, PromptImage, PromptObject
from maskbench.tokens.perturb import NAMES, Perturbation
from maskbench.tokens.perturb.paraphrase import SYNONYMS, TEMPLATES
from maskbench.tokens.prompt import PromptTokeniser, Readable
from maskbench.tokens.wordpieces import UNKNOWN, WordPieces

OBJECT = PromptImage("object", {}, {}, (PromptObject(0, "letter M", "red and blue stripe"),))
SCENE = PromptImage("scene", {}, {}, (PromptObject(2, "pan", "tiger"), PromptObject(3, "heart", "red")))

INSTRUCTIONS = {
    "visual_manipulation": "Put the {dragged_obj_1} into the {base_obj}.",
    "scene_understanding": "Put the red and blue stripe object in {scene} into the purple swirl object.",
    "rotate": "Rotate the {dragged_obj} 150 degrees.",
    "rearrange": "Rearrange to this {scene}.",
    "rearrange_then_restore": "Rearrange objects to this setup {scene} and then restore.",
    "novel_adj": "{d_1} is kobar than {d_2}. Put the kobar {dragged_obj} into the {base_obj}.",
    "novel_noun": "This is a dax {dragged_obj}. This is a zup {base_obj}. Put a dax into a zup.",
    "twist": '"Twist" is defined as rotating object a specific angle. For examples: From {before_twist_1} to {after_twist_1}. '
    "Now twist all red objects.",
    "follow_motion": "Follow this motion for {dragged_obj}: {frame_0} {frame_1} {frame_2}.",
    "follow_order": "Stack objects in this order {frame_0} {frame_1} {frame_2}.",
    "sweep_without_exceeding": "Sweep any {swept_obj} into {bounds} without exceeding {constraint}.",
    "sweep_without_touching": "Sweep two {swept_obj} into {bounds} without touching {constraint}.",
    "same_texture": "Put all objects with the same texture as {base_obj} into it.",
    "same_shape": "Put all objects with the same profile as {base_obj} into it.",
    "manipulate_old_neighbor": "First put {dragged_obj} into {base_obj} then put the object that was previously at its north "
    "into the same {base_obj}.",
    "pick_in_order_then_restore": "Put {dragged_obj} into {base_obj_1} then {base_obj_2}. Finally restore it into its original "
    "container.",
}


def prompt(task: str) -> Prompt:
    text = INSTRUCTIONS[task]
    names = PLACEHOLDER.findall(text)
    kinds = {n: SCENE if n == "scene" or n.startswith(("frame", "before", "after")) else OBJECT for n in names}
    return Prompt(text, kinds)


def words(text: str) -> list[str]:
    return [w for w in text.split() if not PLACEHOLDER.search(w)]


tasks = st.sampled_from(sorted(INSTRUCTIONS))
seeds = st.integers(0, 2**31)


@given(tasks, seeds)
def test_gibberish_words_keep_their_lengths_and_placeholders_their_places(task, seed):
    before, after = prompt(task), Perturbation(["gobbledygook_word"])(prompt(task), task, [seed])
    assert Counter(map(len, words(before.text))) == Counter(map(len, words(after.text)))
    assert all(re.fullmatch("[A-Za-z]+", w) for w in words(after.text))
    for b, a in zip(before.text.split(), after.text.split(), strict=True):
        if PLACEHOLDER.search(b):
            assert a == b


@given(tasks, seeds)
def test_gibberish_tokens_keep_the_number_of_tokens(task, seed):
    tokeniser = WordPieces()
    before, after = prompt(task), Perturbation(["gobbledygook_tokens"])(prompt(task), task, [seed])
    assert len(tokeniser.encode(after.text)) == len(tokeniser.encode(before.text))
    assert after.placeholders == before.placeholders


@given(tasks, seeds)
def test_paraphrases_keep_pictures_and_values(task, seed):
    before, after = prompt(task), Perturbation(["reworded"])(prompt(task), task, [seed])
    assert set(after.placeholders) == set(before.placeholders)
    kept = ("150", "purple", "swirl", "dax", "zup", "north", "kobar", "stripe")
    for word in kept:
        assert (word in before.text) == (word in after.text)
    assert after.text[0].isupper() or after.text[0] in '{"'


def test_paraphrases_differ_and_are_made_of_known_words():
    tokeniser = WordPieces()
    for task in INSTRUCTIONS:
        said = {Perturbation(["reworded"])(prompt(task), task, [seed]).text for seed in range(30)}
        assert len(said) > (1 if task != "twist" else 0), task
        assert all(UNKNOWN not in tokeniser.encode(text) for text in said)


def test_every_template_reads_its_own_instruction():
    for task in TEMPLATES:
        said = {Perturbation(["reworded"])(prompt(task), task, [seed]).text.rstrip(".").lower() for seed in range(40)}
        ways = len(TEMPLATES[task][1])
        assert len(said) >= min(ways, 4), task
    assert all(len(set(s)) == len(s) for s in SYNONYMS.values())


def test_textual_prompts_say_what_pictures_show():
    change = Perturbation(["textual"])
    said = change(prompt("visual_manipulation"), "visual_manipulation", [0])
    assert said.text == "Put the red and blue stripe letter M into the red and blue stripe letter M."
    assert not said.images
    assert change(prompt("follow_order"), "follow_order", [0]) == prompt("follow_order")
    assert change(prompt("same_shape"), "same_shape", [0]).text.endswith("as the red and blue stripe letter M into it.")
    none = Perturbation(["textual_no_noun"])(prompt("rotate"), "rotate", [0])
    assert none.text == "Rotate the red and blue stripe 150 degrees."
    assert Perturbation(["textual_no_texture"])(prompt("rotate"), "rotate", [0]).text == "Rotate the letter M 150 degrees."
    generic = Perturbation(["textual_generic_noun"])(prompt("rotate"), "rotate", [0]).text
    assert re.fullmatch("Rotate the red and blue stripe (object|item|thing) 150 degrees.", generic)


def test_siblings_exchange_their_instructions():
    change = Perturbation(["different_instruction"])
    assert re.fullmatch(
        r"Rotate the {dragged_obj_1} \d+ degrees\.", change(prompt("visual_manipulation"), "visual_manipulation", [1]).text
    )
    assert "touching" in change(prompt("sweep_without_exceeding"), "sweep_without_exceeding", [1]).text
    assert "exceeding" in change(prompt("sweep_without_touching"), "sweep_without_touching", [1]).text
    assert "texture" in change(prompt("same_shape"), "same_shape", [1]).text
    assert "profile" in change(prompt("same_texture"), "same_texture", [1]).text
    assert change(prompt("twist"), "twist", [1]) == prompt("twist")


def test_words_can_be_taken_out_or_exchanged():
    before = prompt("pick_in_order_then_restore")
    swapped = Perturbation(["swapped_words"])(before, "", [3])
    assert Counter(words(swapped.text)) == Counter(words(before.text))
    assert swapped.text != before.text
    unknown = Perturbation(["unknown_words"])(before, "", [3])
    assert len(unknown.text.split()) == len(before.text.split())
    assert UNKNOWN in WordPieces().encode(unknown.text)


@given(tasks, seeds, st.lists(st.sampled_from(NAMES), max_size=3))
def test_chains_are_functions_of_their_seed_and_stay_readable(task, seed, names):
    change = Perturbation(names)
    once, again = change(prompt(task), task, [seed, 7]), change(prompt(task), task, [seed, 7])
    assert once == again
    cells = {n: np.zeros((2, 1, 3077), np.uint8) for n in once.images}
    assert PromptTokeniser()([Readable(once.text, cells)]).valid.any()


def test_adding_a_change_does_not_alter_the_draws_of_those_before():
    first = Perturbation(["reworded"])(prompt("rotate"), "rotate", [5])
    chained = Perturbation(["reworded", "different_instruction"])(prompt("rotate"), "rotate", [5])
    assert chained == first  # rotation has no sibling


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="reworded"):
        Perturbation(["rewordd"])
