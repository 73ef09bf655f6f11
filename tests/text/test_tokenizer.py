"""Text survives its tokens; names of rare things become tokens drawn anew, the same ones all through an episode."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.errors import ConfigError, DataError
from maskbench.text.encoding import Encoding
from maskbench.text.lexicon import Lexicon, common_names, names_in_commands, names_in_text
from maskbench.text.rollout import TextStepRecord
from maskbench.text.tokenizer import SPECIALS, Tokenizer, fit_tokenizer

CORPUS = ["take the knife from the counter", "You take the knife from the counter.", "cook @3 with oven"] * 9
RECIPE = "Recipe #1\nIngredients:\n  red apple\n  white onion\n\nDirections:\n  chop the red apple"


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    pytest.importorskip("tokenizers", reason="byte pairs need maskbench[text]")
    return fit_tokenizer("bpe_300", CORPUS)


@given(st.text().filter(lambda t: "@" not in t and "<" not in t))
def test_bytes_survive(text: str) -> None:
    tokenizer = Tokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text().filter(lambda t: "@" not in t and "<" not in t))
def test_byte_pairs_survive(bpe: Tokenizer, text: str) -> None:
    assert bpe.decode(bpe.encode(text)) == text


def test_byte_pairs_are_shorter_and_specials_are_whole(bpe: Tokenizer) -> None:
    assert len(bpe.encode("take the knife")) < len(Tokenizer().encode("take the knife"))
    assert bpe.encode(" @7") == [SPECIALS.index("@7")]
    assert bpe.encode("<v9>") == [SPECIALS.index("<v9>")]
    assert bpe.decode(bpe.encode("cook @7 with oven")) == "cook @7 with oven"


def test_a_tokenizer_survives_its_checkpoint(bpe: Tokenizer) -> None:
    encoding = Encoding(bpe, common=frozenset({"knife"}), context=99)
    again = Encoding.from_json(encoding.to_json())
    assert again.tokenizer.encode("take the knife @3") == bpe.encode("take the knife @3")
    assert (again.common, again.context, again.buckets) == (encoding.common, 99, encoding.buckets)
    with pytest.raises(DataError, match="other special tokens"):
        Tokenizer.from_json({"specials": ["<pad>"], "merges": None})


@pytest.mark.parametrize("name", ["bpe", "bpe_12", "words"])
def test_other_tokenizers_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="bpe_1200"):
        fit_tokenizer(name, CORPUS)


def test_names_are_read_off_commands_and_recipes() -> None:
    assert names_in_commands(["take red apple from fridge", "go north", "look", "open oven"]) == {"red apple", "fridge", "oven"}
    assert names_in_text(RECIPE) == {"red apple", "white onion"}
    assert names_in_text("a kitchen") == set()


def test_what_most_games_have_is_common() -> None:
    games = [[TextStepRecord("o", "c", admissible=("take knife", f"take food {i}"))] for i in range(10)]
    assert common_names(games) == {"knife"}


def test_an_entity_keeps_its_token_through_an_episode_and_changes_it_between_episodes() -> None:
    first, second = (Lexicon(frozenset({"fridge"}), Random(seed)) for seed in (1, 2))
    for lexicon in (first, second):
        lexicon.meet(RECIPE, ["take apple from fridge"])
    hidden = first.hide("a raw red apple and an apple in the fridge, no pineapple")
    assert hidden.count("@") == 2
    assert "fridge" in hidden
    assert "pineapple" in hidden
    assert first.show(hidden) == "a raw red apple and an apple in the fridge, no pineapple"
    before = first.hide("red apple")
    first.meet("", ["take green pepper"])
    assert first.hide("red apple") == before != second.hide("red apple")
