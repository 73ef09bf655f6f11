"""The named prompt formats of the original, byte for byte (spec §2).

goal: [get a high batch_fitness]
state: ['obs': 'You see a table.','hindsight_expectation': ''] action: [ look cookbook ]       a history line
state: ['obs': 'Ingredients: apple',fitness: 'high' batch_fitness: ''                          the open last line
 'hindsight_expectation': 'I cut it.', ... 'value': '1'] action: [ take knife ]                the completion
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from maskbench.errors import ConfigError, did_you_mean
from maskbench.text.states import State

WINDOW = 6
STOP = "\n"
HINDSIGHT = ("hindsight_expectation", "hindsight_summary", "hindsight_length", "value")
_MARKS = re.compile(r"""['"\[\]]""")
_MODEL = ("update", "summary", "expectation", "next_update")
_ACTING = ("obs", "summary", "next_update")


@dataclass(frozen=True)
class Conditions:
    """What a prompt asks for. ``value`` and ``batch`` are bucket words, ``fitness`` the rollout's score as text."""

    value: str = ""
    batch: str = ""
    fitness: str = "4"


@dataclass(frozen=True)
class Example:
    """One training pair. ``completion`` ends with the stop token; ``predicted`` holds its fields, the command as ``action``."""

    prompt: str
    completion: str
    predicted: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """One row of the table of spec §2.2.

    context:   fields of history lines; ``last_context`` those of the last-but-one step, where they differ.
    tail:      what follows the observation of the open line.
    predicted: fields of the completion.
    window:    history steps with the current one; None = all.
    """

    name: str
    context: tuple[str, ...] = ()
    last_context: tuple[str, ...] | None = None
    tail: Callable[[State, Conditions], str] = lambda state, asked: ""
    predicted: tuple[str, ...] = ()
    blank: tuple[str, ...] = ()
    window: int | None = WINDOW
    numbered: bool = False
    layout: str = "plain"


def clean(text: str) -> str:
    """Runs of whitespace become one space; braces go."""
    return re.sub(r"\s+", " ", text).replace("{", "").replace("}", "")


def observation(text: str) -> str:
    """``'obs': 'text'`` as Python prints it in a dictionary."""
    return f"'obs': {clean(text)!r}"


def key_values(texts: dict[str, str], keys: Sequence[str]) -> str:
    """``'k': 'v', ...`` for the keys that are present; quotes and square brackets go from the values."""
    out = ""
    for i, key in enumerate(keys):
        if key in texts:
            out += f"'{key}': '{_MARKS.sub('', clean(texts[key]))}'" + (", " if i + 1 < len(keys) else "")
    return out


def render(form: Format, states: Sequence[State], asked: Conditions, goal: str) -> Example:
    """The pair that asks about the last of ``states`` (a prefix, as ``prefix_states`` gives it)."""
    current = len(states) - 1
    states = [*states[:-1], State({**states[-1].texts, **dict.fromkeys(form.blank, "")}, states[-1].command)]
    first = 0 if form.window is None else max(0, current + 1 - form.window)
    lines = [f"goal: [{goal}]\n"]
    for j in range(first, current):
        lines.append((f"step {j} " if form.numbered else "") + _history(form, states[j], j == current - 1))
    lines.append(f"step {current} " if form.numbered else "")
    opening, completion = _LAYOUTS[form.layout](form, states[current], asked)
    shown = {k: states[current].texts[k] for k in form.predicted if k in states[current].texts}
    return Example("".join(lines) + opening, completion, {**shown, "action": states[current].command})


def get_format(name: str) -> Format:
    """Raises ConfigError for an unknown name."""
    if name not in FORMATS:
        raise ConfigError(f"format '{name}' is unknown. {did_you_mean(name, FORMATS)}")
    return FORMATS[name]


def _history(form: Format, state: State, last: bool) -> str:
    action = f"action: [ {state.command} ]\n"
    if form.layout == "imitation":
        return f"state: [{observation(state.texts['obs'])},{action}"
    if form.layout == "acting":
        return f"state: [{key_values(state.texts, _ACTING)}] {action}"
    if form.layout in ("full", "full_state", "imagination"):
        return f"state: [{observation(state.texts['obs'])}] {action}"
    context = form.last_context if last and form.last_context is not None else form.context
    return f"state: [{observation(state.texts['obs'])},{key_values(state.texts, context)}] {action}"


def _plain(form: Format, state: State, asked: Conditions) -> tuple[str, str]:
    space = "" if form.numbered else " "
    completion = f"{space}{key_values(state.texts, form.predicted)}] action: [ {state.command} ]\n"
    return f"state: [{observation(state.texts['obs'])},{form.tail(state, asked)}", completion


def _acting(form: Format, state: State, asked: Conditions) -> tuple[str, str]:
    return f"state: [{key_values(state.texts, _ACTING)}] ", f"action: [ {state.command} ]\n"


def _imitation(form: Format, state: State, asked: Conditions) -> tuple[str, str]:
    return f"state: [{observation(state.texts['obs'])},", f"action: [ {state.command} ]\n"


def _full(form: Format, state: State, asked: Conditions) -> tuple[str, str]:
    return f"state: [{observation(state.texts['obs'])}] ", f"action: [ {state.command} ]\n"


def _full_state(form: Format, state: State, asked: Conditions) -> tuple[str, str]:
    opening = f"state: [{observation(state.texts['obs'])}] action: [ {state.command} ] next_state: ["
    return opening, f"{observation(state.texts['next_obs'])}]\n"


def _imagination(form: Format, state: State, asked: Conditions) -> tuple[str, str]:
    following = f"next_state: [{observation(state.texts['next_obs'])}] action: [ {state.command} ]\n"
    return f"state: [{observation(state.texts['obs'])}] ", following


_LAYOUTS: dict[str, Callable[[Format, State, Conditions], tuple[str, str]]] = {
    "plain": _plain,
    "acting": _acting,
    "imitation": _imitation,
    "full": _full,
    "full_state": _full_state,
    "imagination": _imagination,
}


def _asked(state: State, asked: Conditions) -> str:
    return f"fitness: '{asked.value}' batch_fitness: '{asked.batch}'"


def _scored(state: State, asked: Conditions) -> str:
    return f"fitness: '{asked.fitness}' {key_values(state.texts, ('summary',))}"


_ALL = (
    Format("model_inference_str", last_context=("summary",), predicted=("summary", "next_obs")),
    Format("obs_summary_t_to_expectation_action", tail=_scored, predicted=("next_obs",)),
    Format("hindsight_expectation_str", context=("hindsight_expectation",), tail=_asked, predicted=HINDSIGHT),
    Format("hindsight_expectation_plain_str", tail=_asked, predicted=HINDSIGHT, blank=HINDSIGHT[1:]),
    Format("hindsight_labeling_str", tail=_asked, predicted=HINDSIGHT, blank=HINDSIGHT[:1]),
    Format("expected_observation_update", predicted=("next_obs", "next_update")),
    Format("expected_observation_summary", predicted=("next_obs", "next_summary")),
    Format("expected_observation", predicted=("next_obs",)),
    Format("model_expectation_inference_str", context=_MODEL, predicted=_MODEL, numbered=True),
    Format("model_action_inference_str", numbered=True, layout="acting"),
    Format("imitation_inference_str", layout="imitation"),
    Format("action_inference_str", window=None, numbered=True, layout="full"),
    Format("state_inference_str", window=None, numbered=True, layout="full_state", predicted=("next_obs",)),
    Format("imagination_action_str", window=None, numbered=True, layout="imagination", predicted=("next_obs",)),
)
FORMATS: dict[str, Format] = {f.name: f for f in _ALL} | {"imagination_action_inference_str": _ALL[-1]}
