"""The eight-step game of spec §11: what a person read, answered and wrote about it."""

from pathlib import Path

from maskbench.text.rollout import Label, TextRollout, TextStepRecord

EMPTY = {"expectation": "", "update": "", "summary": ""}
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "ttm"


def step(obs: str, command: str, *labels: Label) -> TextStepRecord:
    return TextStepRecord(obs, command, labels=labels, texts=dict(EMPTY))


GAME = TextRollout(
    "kitchen_lite",
    (
        TextStepRecord("", "start"),
        TextStepRecord("load", "load: x", texts=dict(EMPTY), system=True),
        step("You are in a kitchen.\n\nYou see a table.", "look cookbook"),
        step("You can't {see} it.", "take knife", Label("I read the recipe", 1, 0.5)),
        step('Taken. You said "ok".', "chop apple"),
        step('It\'s "odd".', "cook apple with oven", Label('I cut the "apple" [well]', 2, 1.0)),
        step("You roasted it.", "prepare meal", Label("I wasted a move", 1, 0.0)),
        step("You prepare the meal.", "eat meal"),
        step("You eat the meal.", "blank", Label("I finished", 4, 1.0)),
    ),
    score=4.0,
    max_score=4.0,
)
