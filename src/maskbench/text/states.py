"""A prefix of an episode as prompts show it: per step a dictionary of texts, in the original's field names (spec §1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskbench.text.hindsight import Foresight, Hindsight
from maskbench.text.rollout import Label, TextStepRecord

#: Fields that a player fills in about one step; the first has its predecessor's text where it is empty.
_INHERITED = "summary"
_NEXT = ("update", "summary", "expectation")
#: What follows the last observation of a recording in the ``next_*`` fields.
END = "end game"


@dataclass(frozen=True)
class State:
    """``texts`` by field (absent fields are absent), and the command that answered it."""

    texts: dict[str, str]
    command: str


def number(value: float | None) -> str:
    """``1`` for 1.0, ``0.5`` for 0.5, nothing for None."""
    return "" if value is None else f"{value:g}"


def label_texts(label: Label | None, step: TextStepRecord) -> dict[str, str]:
    """The three fields in which a label is written; words typed where a number was asked for stay."""
    written = {
        "hindsight_summary": label.summary if label else "",
        "hindsight_length": str(label.length) if label else "",
        "value": number(label.value) if label else "",
    }
    return written | {k: step.texts[k] for k in ("hindsight_length", "value") if k in step.texts}


def base_states(steps: Sequence[TextStepRecord]) -> list[State]:
    """All visible steps with what was read and written at them, without hindsight. Of several labels the last is shown."""
    states: list[State] = []
    for step in steps:
        texts = {"obs": step.obs} | label_texts(step.labels[-1] if step.labels else None, step)
        texts |= {k: v for k, v in step.texts.items() if k not in texts and not k.startswith("next_")}
        if states and not texts.get(_INHERITED) and _INHERITED in states[-1].texts:
            texts[_INHERITED] = states[-1].texts[_INHERITED]
        states.append(State(texts, step.command))
    for i, state in enumerate(states):
        following = states[i + 1].texts if i + 1 < len(states) else {"obs": END}
        state.texts["next_obs"] = following["obs"]
        state.texts.update({f"next_{k}": following[k] for k in _NEXT if k in following})
    return states


def prefix_states(base: Sequence[State], hindsight: Hindsight, current: int) -> tuple[list[State], Foresight]:
    """Steps ``0..current`` with the expectations that a model may see at ``current``, and the foresight of ``current``."""
    foresight = hindsight.future(current)
    states = []
    for j in range(current + 1):
        seen = foresight if j == current else hindsight.past(j, current)
        states.append(State(base[j].texts | {"hindsight_expectation": seen.expectation}, base[j].command))
    return states, foresight
