"""Every named format, byte for byte, on the fixture of spec §11."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.errors import ConfigError, DataError
from maskbench.text.examples import Job, original_job, pairs
from maskbench.text.formats import FORMATS, get_format
from maskbench.text.lossless import TAGS, Span, parse_spans, render_spans
from maskbench.text.parsing import parse_completion
from tests.text.fixture import GAME

#: Formats in which the game's fourth decision (t=4 of the fixture) is asked: what the open line holds, and the completion.
GOAL = "goal: [get a high batch_fitness]\n"
OBS = [
    "'obs': ''",
    "'obs': 'You are in a kitchen. You see a table.'",
    "'obs': \"You can't see it.\"",
    "'obs': 'Taken. You said \"ok\".'",
    "'obs': 'It\\'s \"odd\".'",
]
COMMANDS = ["start", "look cookbook", "take knife", "chop apple"]
ACT = "] action: [ cook apple with oven ]\n"
PLAIN = GOAL + "".join(f"state: [{o},] action: [ {c} ]\n" for o, c in zip(OBS, COMMANDS, strict=False))
FULL = GOAL + "".join(f"step {i} state: [{o}] action: [ {c} ]\n" for i, (o, c) in enumerate(zip(OBS, COMMANDS, strict=False)))
MODEL = "'update': '', 'summary': '', 'expectation': '', 'next_update': ''"
MODELS = ["'next_update': ''", MODEL, MODEL, MODEL, MODEL]
ACTING = ["'obs': '', 'next_update': ''"] + [
    f"'obs': '{o}', 'summary': '', 'next_update': ''"
    for o in ("You are in a kitchen. You see a table.", "You cant see it.", "Taken. You said ok.", "Its odd.")
]
LABEL = "'hindsight_summary': 'I cut the apple well', 'hindsight_length': '2', 'value': '1'"
EMPTY = "'hindsight_summary': '', 'hindsight_length': '', 'value': ''"
FORESEEN = "'hindsight_expectation': 'I finished || I wasted a move'"
ASKED = f"state: [{OBS[4]},fitness: 'middle' batch_fitness: ''"
FIVE = f"state: [{OBS[4]},"

GOLDEN = {
    "model_inference_str": (
        PLAIN.replace("ok\".',]", "ok\".','summary': '']") + FIVE,
        f" 'summary': '', 'next_obs': 'You roasted it.'{ACT}",
    ),
    "obs_summary_t_to_expectation_action": (
        PLAIN + FIVE + "fitness: '4' 'summary': ''",
        f" 'next_obs': 'You roasted it.'{ACT}",
    ),
    "hindsight_expectation_str": (
        GOAL
        + f"state: [{OBS[0]},'hindsight_expectation': ''] action: [ start ]\n"
        + f"state: [{OBS[1]},'hindsight_expectation': 'I read the recipe'] action: [ look cookbook ]\n"
        + f"state: [{OBS[2]},'hindsight_expectation': ''] action: [ take knife ]\n"
        + f"state: [{OBS[3]},'hindsight_expectation': ''] action: [ chop apple ]\n"
        + ASKED,
        f" {FORESEEN}, {LABEL}{ACT}",
    ),
    "hindsight_expectation_plain_str": (PLAIN + ASKED, f" {FORESEEN}, {EMPTY}{ACT}"),
    "hindsight_labeling_str": (PLAIN + ASKED, f" 'hindsight_expectation': '', {LABEL}{ACT}"),
    "expected_observation_update": (PLAIN + FIVE, f" 'next_obs': 'You roasted it.', 'next_update': ''{ACT}"),
    "expected_observation_summary": (PLAIN + FIVE, f" 'next_obs': 'You roasted it.', 'next_summary': ''{ACT}"),
    "expected_observation": (PLAIN + FIVE, f" 'next_obs': 'You roasted it.'{ACT}"),
    "model_expectation_inference_str": (
        GOAL
        + "".join(
            f"step {i} state: [{o},{m}] action: [ {c} ]\n"
            for i, (o, m, c) in enumerate(zip(OBS, MODELS, COMMANDS, strict=False))
        )
        + f"step 4 {FIVE}",
        f"{MODEL}{ACT}",
    ),
    "model_action_inference_str": (
        GOAL
        + "".join(f"step {i} state: [{s}] action: [ {c} ]\n" for i, (s, c) in enumerate(zip(ACTING, COMMANDS, strict=False)))
        + f"step 4 state: [{ACTING[4]}] ",
        "action: [ cook apple with oven ]\n",
    ),
    "imitation_inference_str": (
        GOAL + "".join(f"state: [{o},action: [ {c} ]\n" for o, c in zip(OBS, COMMANDS, strict=False)) + FIVE,
        "action: [ cook apple with oven ]\n",
    ),
    "action_inference_str": (FULL + f"step 4 state: [{OBS[4]}] ", "action: [ cook apple with oven ]\n"),
    "state_inference_str": (
        FULL + f"step 4 state: [{OBS[4]}] action: [ cook apple with oven ] next_state: [",
        "'obs': 'You roasted it.']\n",
    ),
    "imagination_action_str": (
        FULL + f"step 4 state: [{OBS[4]}] ",
        "next_state: ['obs': 'You roasted it.'] action: [ cook apple with oven ]\n",
    ),
}
GOLDEN["imagination_action_inference_str"] = GOLDEN["imagination_action_str"]


def test_every_format_has_its_golden_example() -> None:
    assert set(GOLDEN) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_rendered_byte_for_byte(name: str) -> None:
    made = list(pairs(get_format(name), [GAME], Job(batch_fitness="none")))
    assert len(made) == 7
    assert (made[3].example.prompt, made[3].example.completion) == GOLDEN[name]


def test_values_of_the_fixture_and_the_original_mistake() -> None:
    def words(job: Job) -> list[str]:
        return [p.value for p in pairs(get_format("hindsight_expectation_str"), [GAME], job)]

    assert words(Job()) == ["middle", "high", "high", "middle", "high", "high", ""]
    assert words(original_job(Job().admission)) == ["middle", "high", "high", "middle", "high", "high", "high"]


def test_the_window_drops_the_placeholder_and_shows_what_was_written_before() -> None:
    prompt = list(pairs(get_format("hindsight_expectation_str"), [GAME], Job()))[5].example.prompt
    assert prompt.count("\n") == 6
    assert "[ start ]" not in prompt
    shown = [line.split("'hindsight_expectation': ")[1].split("]")[0] for line in prompt.split("\n")[1:-1]]
    assert shown == ["'I read the recipe'", "'I cut the apple well'", "'I cut the apple well'", "'I wasted a move'", "''"]


PLAIN_TEXT = st.text("abc xyz,.:", min_size=1, max_size=12).map(str.strip)


@given(st.lists(PLAIN_TEXT, min_size=5, max_size=5))
def test_format_3_parses_back_on_text_without_quotes_and_brackets(texts: list[str]) -> None:
    form = get_format("hindsight_expectation_str")
    fields = dict(zip(form.predicted, texts, strict=False))
    body = ", ".join(f"'{k}': '{v}'" for k, v in fields.items())
    assert parse_completion(form, f"  {body}] action: [ {texts[4]} ]\n") == {**fields, "action": texts[4]}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", None),
        ("'value': '1'", None),
        ("] action: [ go east", {"action": "go east"}),
        ("'value': '1', 'noise': 'x'] action: [ look ] trailing", {"value": "1", "action": "look"}),
        ("'hindsight_length': '2'] action:[look]", {"hindsight_length": "2", "action": "look"}),
        ("'value': 'cut off] action: [ a ]", {"value": "cut off] ", "action": "a"}),
        (
            "'hindsight_summary': \"it's\", 'value': ''] action: [ a ]",
            {"hindsight_summary": "it's", "value": "", "action": "a"},
        ),
    ],
)
def test_broken_completions_give_what_they_hold(text: str, fields: dict | None) -> None:
    assert parse_completion(get_format("hindsight_expectation_str"), text) == fields


spans = st.lists(
    st.builds(Span, st.sampled_from(TAGS), st.text() | st.sampled_from(["<act>", "a<eos>b", "\\u003cact>", "<v9>"]))
)


@given(spans)
def test_v2_survives_any_text(made: list[Span]) -> None:
    assert parse_spans(render_spans(made)) == made


@pytest.mark.parametrize("text", ["look", "x<act>y", "<act>look<eos>more", '<obs>"quoted"'])
def test_v2_refuses_what_it_never_writes(text: str) -> None:
    with pytest.raises(DataError):
        parse_spans(text)


def test_v2_pairs_hold_the_fields_of_format_3() -> None:
    pair = list(pairs(None, [GAME], Job()))[3]
    assert pair.example.completion == (
        '<exp>I finished || I wasted a move<sum>I cut the \\"apple\\" [well]<len>2<rew>1<act>cook apple with oven<eos>'
    )
    assert pair.example.prompt.endswith('<obs>It\'s \\"odd\\".<val>middle')


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="expected_observation"):
        get_format("expected_observations")
