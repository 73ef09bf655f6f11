"""Token budgets keep the recent past, and pin the recipe that has scrolled away."""

import pytest

from maskbench.errors import ConfigError
from maskbench.text.context import fit, is_document
from maskbench.text.rollout import TextStepRecord

RECIPE = "Recipe #1 Ingredients: apple Directions: fry the apple"


def words(text: str) -> int:
    return len(text.split())


def game(length: int) -> list[TextStepRecord]:
    steps = [TextStepRecord("one two three", "go east") for _ in range(length)]
    steps[0] = TextStepRecord(RECIPE, "go east")
    return steps


def test_everything_fits_a_large_budget_and_nothing_is_pinned() -> None:
    assert fit(game(4), 100, words) == fit(game(4), 25, words)
    assert (fit(game(4), 100, words).first, fit(game(4), 100, words).pinned) == (0, ())


def test_the_recipe_is_pinned_once_its_step_is_gone() -> None:
    context = fit(game(10), 25, words)
    assert context.pinned == (("doc", RECIPE),)
    assert context.first == 7  # three steps of five words beside the nine of the recipe


def test_a_document_that_does_not_fit_gives_way() -> None:
    assert fit(game(10), 8, words).pinned == ()
    assert fit(game(10), 8, words).first == 9


def test_a_budget_below_one_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="raise it"):
        fit(game(10), 4, words)


def test_documents_are_told_from_rooms() -> None:
    assert is_document(RECIPE)
    assert not is_document("You are in a kitchen. You see a cookbook.")
