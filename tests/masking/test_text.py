"""Text schemes say which spans carry the loss: nothing else does, and noise does not where it is not to be learnt."""

import re
from dataclasses import replace
from random import Random

import pytest
import torch

from maskbench.errors import ConfigError
from maskbench.masking.text import TextScheme, pieces, sequence
from maskbench.models.language import LanguageModel
from maskbench.text.encoding import Encoding
from maskbench.text.rollout import Label, TextRollout, TextStepRecord
from maskbench.text.tokenizer import Tokenizer
from maskbench.training.text import TextProblem

GAME = TextRollout(
    "kitchen_lite",
    (
        TextStepRecord("A kitchen.", "take red apple", admissible=("take red apple", "wait"), reward=1.0),
        TextStepRecord("Taken.", "wait", score=1.0, noise=True, labels=(Label("I took it", 1, 1.0),)),
        TextStepRecord("Time passes.", "eat red apple", score=1.0, reward=1.0),
        TextStepRecord("You ate it.", "", score=2.0),
    ),
    score=2.0,
    max_score=4.0,
)
ENCODING = Encoding(Tokenizer())


def learnt(scheme: TextScheme) -> list[tuple[str, str]]:
    return [(p.span.tag, p.span.text) for p in pieces(scheme, GAME) if p.weight >= 1]


def read(scheme: TextScheme) -> list[str]:
    return [p.span.tag for p in pieces(scheme, GAME)]


def test_cloning_learns_commands_but_not_noise() -> None:
    assert learnt(TextScheme()) == [("act", "take red apple"), ("act", "eat red apple")]
    assert read(TextScheme()) == ["obs", "act", "obs", "act", "obs", "act", "obs"]


def test_value_conditioning_learns_what_was_done_behind_the_value() -> None:
    scheme = TextScheme("text_rc", ("obs", "val"), learn="executed")
    assert learnt(scheme) == [("act", "take red apple"), ("act", "wait"), ("act", "eat red apple")]
    first = next(pieces(scheme, GAME))
    assert (first.span.tag, first.span.text, first.step) == ("val", "<v5>", -1)
    stepwise = replace(scheme, value="rtg")
    assert [p.span.text for p in pieces(stepwise, GAME) if p.span.tag == "val"] == ["<v5>", "<v2>", "<v2>", "<v0>"]


def test_hindsight_foretells_summarises_and_acts() -> None:
    scheme = TextScheme("text_hindsight", ("obs", "val"), ("exp", "sum", "len", "rew", "act"))
    assert learnt(scheme)[:5] == [("exp", "I took it"), ("sum", ""), ("len", ""), ("rew", ""), ("act", "take red apple")]
    assert learnt(scheme)[5:8] == [("sum", "I took it"), ("len", "1"), ("rew", "1")]  # nothing is foretold of a random command
    assert learnt(replace(scheme, learn="executed"))[5:7] == [("exp", ""), ("sum", "I took it")]


def test_orders_put_what_follows_before_or_behind_the_command() -> None:
    assert read(TextScheme("text_inverse", ("obs", "next"), ("act",), ("obs", "next", "act")))[:3] == ["obs", "next", "act"]
    assert read(TextScheme("text_expect_act", ("obs",), ("next", "act"), ("obs", "next", "act")))[:3] == ["obs", "next", "act"]


def test_a_factor_is_named_once_and_must_exist() -> None:
    with pytest.raises(ConfigError, match="both gives and predicts"):
        TextScheme(given=("obs", "act"))
    with pytest.raises(ConfigError, match="'action' is unknown"):
        TextScheme(predict=("action",))


@pytest.mark.parametrize("copying", [True, False])
def test_the_gradient_of_noise_commands_is_exactly_zero(copying: bool) -> None:
    """Only through the targets could noise be learnt: with them replaced by anything the loss does not change."""
    ids, weights = sequence(ENCODING, TextScheme(observations=0.0), GAME, Random(0))
    noise = ENCODING.tokenizer.encode("wait")
    at = next(i for i in range(len(ids)) if ids[i : i + len(noise)] == noise)
    assert weights[at : at + len(noise) + 1] == [0.0] * (len(noise) + 1)
    torch.manual_seed(0)
    model = LanguageModel(ENCODING.tokenizer.vocab_size, 2, 2, 16, 256, 0.0, copying)
    problem = TextProblem(_One(), [GAME], ENCODING, [(1.0, TextScheme(observations=0.0))], 2)
    logits_of_noise = torch.zeros(len(ids), requires_grad=True)
    loss = problem.losses(model, 0)["loss"] + (logits_of_noise * torch.tensor(weights)).sum()
    loss.backward()
    assert logits_of_noise.grad is not None
    assert float(logits_of_noise.grad[at : at + len(noise)].abs().max()) == 0.0


def test_windowed_pairs_learn_the_completion_of_a_named_format() -> None:
    scheme = TextScheme(format="hindsight_expectation_str", value="label_mean")
    ids, weights = sequence(ENCODING, scheme, GAME, Random(1))
    text = ENCODING.tokenizer.decode(ids)
    told = ENCODING.tokenizer.decode([i for i, w in zip(ids, weights, strict=True) if w])
    assert text.startswith("goal: [get a high batch_fitness]")
    assert told.startswith(" 'hindsight_expectation': '")
    assert told.endswith(" ]\n")


class _One:
    def rollout(self, index: int) -> TextRollout:
        return GAME


def test_batches_are_a_pure_function_of_the_step() -> None:
    def problem() -> TextProblem:
        return TextProblem(_One(), [GAME], ENCODING, [(1.0, TextScheme(random=True, given=("obs", "val")))], 2, seed=3)

    one, other = problem(), problem()
    for step in (0, 5, 17):
        one.batch(step)
    torch.testing.assert_close(one.batch(9)[0], other.batch(9)[0])
    assert one.batch(9)[0].shape[0] == 2


def test_of_episodes_beyond_the_context_windows_are_drawn_that_reach_every_step() -> None:
    recipe = "Recipe #1: Ingredients: a leek."
    played = [TextStepRecord(f"room {i}" if i != 2 else recipe, f"go {i}") for i in range(30)]
    rollout = TextRollout("kitchen_lite", (*played, TextStepRecord("The end.", "")), score=1.0, max_score=1.0)
    small = Encoding(Tokenizer(), context=120)
    scheme = TextScheme("text_rc", ("obs", "val"))
    marks = small.tokenizer.specials
    seen: set[str] = set()
    for seed in range(60):
        ids, weights = sequence(small, scheme, rollout, Random(seed))
        assert len(ids) == len(weights) <= 120
        text = small.tokenizer.decode(ids)
        assert text.startswith("<val><v9>")
        first = int(re.findall(r"<act>go (\d+)", text)[0])
        assert (ids[2] == marks["<doc>"]) == (first > 2)
        assert sum(w for w, i in zip(weights, ids, strict=True) if i == marks["<doc>"]) == 0
        seen.update(re.findall(r"<act>(go \d+)<eos>", text))
    assert seen == {f"go {i}" for i in range(30)}
