"""What a model foretells is compared with what happened, and leaves no trace in what it reads."""

import math
from random import Random

import pytest
import torch

from maskbench.envs.text.kitchen import KitchenLite
from maskbench.masking.text import TextScheme
from maskbench.models.language import LanguageModel
from maskbench.policies.text import Decoding, TextReader
from maskbench.policies.text_expectation import foretell, token_f1
from maskbench.text.encoding import Encoding
from maskbench.text.rollout import TextRollout, TextStepRecord
from maskbench.text.tokenizer import Tokenizer
from maskbench.training.text import TextProblem

BYTES = Encoding(Tokenizer(), context=400)
FORWARD = TextScheme(
    "text_expect_act", ("obs",), ("next", "act"), order=("val", "obs", "exp", "sum", "len", "rew", "next", "act")
)


class Doors:
    """A red or a blue door, whose colour says which command opens it."""

    def rollout(self, index: int) -> TextRollout:
        red = Random(index).random() < 0.5
        steps = (
            TextStepRecord("A red door." if red else "A blue door.", "pull" if red else "push"),
            TextStepRecord("It opens." if red else "It is gone.", "wait"),
            TextStepRecord("End.", ""),
        )
        return TextRollout("doors", steps)


def trained(scheme: TextScheme, steps: int = 120) -> LanguageModel:
    torch.manual_seed(0)
    network = LanguageModel(BYTES.tokenizer.vocab_size, 2, 2, 32, 400, 0.0, lookback=2)
    problem = TextProblem(Doors(), [], BYTES, [(1.0, scheme)], 8)
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    for step in range(steps):
        optimiser.zero_grad()
        problem.losses(network, step)["loss"].backward()
        optimiser.step()
    return network


@pytest.mark.parametrize(("one", "other", "f1"), [("a b b", "b a b", 1.0), ("a b", "a c", 0.5), ("", "", 1.0), ("a", "", 0.0)])
def test_token_f1_counts_words_as_often_as_they_occur(one: str, other: str, f1: float) -> None:
    assert token_f1(one, other) == f1


def test_a_trained_model_foretells_the_observation_that_follows() -> None:
    found = foretell(trained(FORWARD), BYTES, FORWARD, [Doors().rollout(i) for i in range(6)])
    by = {factor: [s for s in found if s.factor == factor] for factor in ("next", "act", "obs")}
    assert [len(by["next"]), len(by["act"]), len(by["obs"])] == [12, 12, 18]
    assert all(s.exact and s.f1 == 1 and s.nats < 0.1 for s in (*by["next"], *by["act"]))
    assert {s.actual for s in by["next"]} == {"It opens.", "It is gone.", "End."}
    surprise = {t: [s.nats for s in by["obs"] if s.step == t] for t in (0, 1)}
    assert max(surprise[1]) < min(surprise[0]) or max(surprise[1]) < 0.1  # said before, hence no news


def test_observations_that_were_not_learnt_surprise_nobody() -> None:
    scheme = TextScheme("text_bc", observations=0.0)
    network = LanguageModel(BYTES.tokenizer.vocab_size, 1, 1, 16, 400, 0.0).eval()
    found = foretell(network, BYTES, scheme, [Doors().rollout(0)], longest=5)
    assert {s.factor for s in found} == {"act"}
    assert all(len(s.written) <= 5 and not s.exact for s in found)


def test_what_was_written_is_forgotten_before_the_truth_is_read() -> None:
    torch.manual_seed(1)
    network = LanguageModel(BYTES.tokenizer.vocab_size, 1, 2, 16, 400, 0.0).eval()
    short, long = (foretell(network, BYTES, FORWARD, [Doors().rollout(0)], longest=n) for n in (1, 30))
    assert [s.nats for s in short] == pytest.approx([s.nats for s in long], abs=1e-4)
    assert not any(math.isnan(s.nats) for s in short)


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        (FORWARD, ["<obs>", "<next>", "<act>"]),
        (TextScheme("text_rc", ("val", "obs"), value="rtg"), ["<val>", "<obs>", "<act>"]),
    ],
)
def test_play_reads_factors_in_the_order_of_training(scheme: TextScheme, tags: list[str]) -> None:
    network = LanguageModel(BYTES.tokenizer.vocab_size, 1, 1, 16, 3000, 0.0).eval()
    reader, step = TextReader(network, BYTES, scheme, Decoding()), KitchenLite(level=1).game().reset(1)
    reader.begin(0, 0)
    reader.observe([0], [step])
    names = {i: name for name, i in BYTES.tokenizer.specials.items() if name.strip("<>") in ("val", "obs", "next", "act")}
    assert [names[t] for t in reader.games[0].blocks[-1] if t in names][: len(tags)] == tags
    assert reader.surprise(0) is not None
