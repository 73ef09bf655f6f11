"""What of a game's text is shown."""

from __future__ import annotations

import pytest

from maskbench.envs.text.clean import Cleaning

SPACES = " " * 60
RAW = (
    "\n\n  ________  __\n |  \\ $$ \\\n\nYou are hungry!\n\n-= Kitchen =-\nYou're in   a kitchen.\n\n\n"
    f"Your score has just gone up by one point.\n\n>{SPACES}-= Kitchen =-1/4"
)


def test_status_banner_and_empty_lines_go() -> None:
    assert Cleaning().text(RAW).splitlines() == [
        "You are hungry!",
        "-= Kitchen =-",
        "You're in a kitchen.",
        "Your score has just gone up by one point.",
    ]


def test_each_flag_keeps_or_drops_its_own_part() -> None:
    assert "-= Kitchen =-1/4" in Cleaning(status=True).text(RAW)
    assert "$$" in Cleaning(banner=True).text(RAW)
    assert "gone up" not in Cleaning(score=False).text(RAW)
    assert "in   a" in Cleaning(collapse=False).text(RAW)


@pytest.mark.parametrize("text", ["You see a table.", "A sign reads: NO ENTRY", "It costs $5 | or less"])
def test_a_games_own_words_stay(text: str) -> None:
    assert Cleaning().text(text) == text


def test_the_end_stays_without_the_question_that_nobody_answers() -> None:
    raw = (
        "*** The End ***\n\nYou scored 5 out of a possible 5, in 9 turns.\n\n\nWould you like to RESTART, RESTORE a saved game"
    )
    assert Cleaning().text(raw) == "*** The End ***\nYou scored 5 out of a possible 5, in 9 turns."
    assert Cleaning(score=False).text(raw) == "*** The End ***"
