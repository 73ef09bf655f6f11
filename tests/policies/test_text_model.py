"""A language model at play: admissible commands only, the same alone as in a batch, wanted values obeyed, long games cut."""

from collections.abc import Sequence
from random import Random

import pytest
import torch

from maskbench.envs.text.base import TextEnv, TextStep
from maskbench.envs.text.kitchen import KitchenLite
from maskbench.errors import ConfigError
from maskbench.masking.text import TextScheme
from maskbench.models.language import LanguageModel
from maskbench.policies.text import Decoding, TextModelAgent, TextReader
from maskbench.policies.text_baselines import choices
from maskbench.text.encoding import Encoding
from maskbench.text.rollout import TextRollout, TextStepRecord
from maskbench.text.tokenizer import Tokenizer
from maskbench.training.text import TextProblem

ENCODING = Encoding(Tokenizer(), common=frozenset({"knife", "fridge", "oven"}), context=700)
SCHEME = TextScheme("text_rc", ("obs", "val"), learn="executed")


def model(context: int = 4000, seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    made = LanguageModel(ENCODING.tokenizer.vocab_size, 2, 2, 16, context, 0.0).eval()
    for p in made.parameters():
        torch.nn.init.normal_(p, 0.0, 0.2)
    return made


def play(reader: TextReader, seeds: Sequence[int], steps: int) -> list[list[str]]:
    """Games in lock step; the commands of each."""
    games = [KitchenLite(level=1).game() for _ in seeds]
    now = [game.reset(seed) for game, seed in zip(games, seeds, strict=True)]
    log: list[list[str]] = [[] for _ in seeds]
    for slot, seed in enumerate(seeds):
        reader.begin(slot, seed)
    for _ in range(steps):
        live = [i for i in range(len(seeds)) if not now[i].done]
        if not live:
            break
        reader.observe(live, [now[i] for i in live])
        for i, decision in zip(live, reader.choose(live, [now[i] for i in live]), strict=True):
            if reader.decoding.decode in ("admissible", "trie"):
                assert decision.command in choices(now[i], reader.decoding.filter)
            log[i].append(decision.command)
            now[i] = games[i].step(decision.command)
    return log


@pytest.mark.parametrize("decode", ["admissible", "trie"])
def test_constrained_decoding_never_leaves_the_set_and_plays_alone_as_in_a_batch(decode: str) -> None:
    decoding = Decoding(decode)  # type: ignore[arg-type]
    network = model()
    together = play(TextReader(network, ENCODING, SCHEME, decoding), [3, 4, 5], 5)
    alone = [play(TextReader(network, ENCODING, SCHEME, decoding), [seed], 5)[0] for seed in (3, 4, 5)]
    assert together == alone


@pytest.mark.parametrize("decode", ["greedy", "sample"])
def test_free_text_plays_alone_as_in_a_batch(decode: str) -> None:
    network = model()
    together = play(TextReader(network, ENCODING, SCHEME, Decoding(decode)), [3, 4], 2)  # type: ignore[arg-type]
    alone = [play(TextReader(network, ENCODING, SCHEME, Decoding(decode)), [s], 2)[0] for s in (3, 4)]  # type: ignore[arg-type]
    assert together == alone


def test_a_guarded_model_gives_no_command_more_often_than_it_may_at_one_observation() -> None:
    reader = TextReader(model(), ENCODING, SCHEME, Decoding(loop_guard=2))
    step = TextStep("A room.", 0.0, 1.0, 0.0, False, False, False, ("look", "pull", "push"), None, None, None)
    reader.begin(0, 0)
    given = []
    for _ in range(6):
        reader.observe([0], [step])
        given.append(reader.choose([0], [step])[0].command)
    assert sorted(given[:4]) == ["pull", "pull", "push", "push"]
    assert given[4:] == ["look", "look"]  # the filter gives way before the guard


def test_scores_are_those_of_reading_everything_anew() -> None:
    network = model()
    reader, game = TextReader(network, ENCODING, SCHEME, Decoding()), KitchenLite(level=1).game()
    step = game.reset(3)
    reader.begin(0, 0)
    for _ in range(3):
        reader.observe([0], [step])
        commands = choices(step, "gata")
        (found,) = reader.scores([0], [commands])
        prefix = [t for block in reader.games[0].blocks for t in block]
        with torch.no_grad():
            for command, value in list(zip(commands, found, strict=True))[:4]:
                ids = [*reader.tokens(0, command), 1]
                whole = torch.tensor([prefix + ids])
                states = network.states(whole)
                at = torch.arange(len(prefix) - 1, whole.shape[1] - 1)
                visible = torch.arange(whole.shape[1])[None] <= at[:, None]
                memory = network.remember(whole, states)
                logp = network.log_probs(states[:, at], whole[:, at + 1], memory, visible[None])
                assert value == pytest.approx(float(logp.sum()), abs=1e-3)
        step = game.step(reader.choose([0], [step])[0].command)


def test_proposals_are_ranked_and_leave_no_trace() -> None:
    step = KitchenLite(level=1).game().reset(3)
    for decode in ("admissible", "sample"):
        agent = TextModelAgent(model(), ENCODING, SCHEME, Decoding(decode))  # type: ignore[arg-type]
        agent.begin(0)
        agent.propose(step, 3)
        before = [list(b) for b in agent.reader.games[0].blocks]
        proposals = agent.propose(step, 3)
        assert [list(b) for b in agent.reader.games[0].blocks] == before
        values = [p.logprob for p in proposals]
        assert values == sorted(values, reverse=True)  # type: ignore[type-var]
        if decode == "admissible":
            assert agent.decide(step).command == proposals[0].command
        assert agent.surprise() is not None


def test_what_was_sent_instead_is_what_is_remembered() -> None:
    step = KitchenLite(level=1).game().reset(3)
    agents = [TextModelAgent(model(), ENCODING, SCHEME, Decoding()) for _ in range(2)]
    for agent in agents:
        agent.begin(0)
    agents[0].decide(step)
    agents[0].sent("examine cookbook")
    agents[1].propose(step, 1)
    agents[1].sent("examine cookbook")
    assert agents[0].reader.games[0].blocks == agents[1].reader.games[0].blocks
    assert agents[0].reader.games[0].unread == agents[1].reader.games[0].unread


def test_long_games_are_cut_to_the_context_and_go_on() -> None:
    log = play(TextReader(model(context=900), ENCODING, SCHEME, Decoding(filter="none")), [3], 12)
    assert len(log[0]) == 12


def test_values_out_of_range_and_unknown_modes_are_refused() -> None:
    with pytest.raises(ConfigError, match="from 0 to 9"):
        TextReader(model(), ENCODING, SCHEME, Decoding(condition="fixed", value=10)).begin(0, 0)
    with pytest.raises(ConfigError, match="beam"):
        Decoding("beam")  # type: ignore[arg-type]


class Arms(TextEnv):
    """Two arms; the good one wins."""

    def reset(self, seed: int) -> TextStep:
        return self._step("Left or right?", 0.0, False)

    def step(self, command: str) -> TextStep:
        return self._step("Done.", float(command == "pull left"), True)

    def _step(self, obs: str, score: float, done: bool) -> TextStep:
        return TextStep(obs, score, 1.0, score, done, bool(score), False, ("pull left", "pull right"), None, None, None)


class Pulls:
    def rollout(self, index: int) -> TextRollout:
        random = Random(index)
        left = random.random() < 0.5
        steps = (
            TextStepRecord("Left or right?", "pull left" if left else "pull right", reward=float(left)),
            TextStepRecord("Done.", "", score=float(left)),
        )
        return TextRollout("arms", steps, score=float(left), max_score=1.0)


def test_the_wanted_value_chooses_the_arm() -> None:
    torch.manual_seed(0)
    words = Encoding(Tokenizer())
    network = LanguageModel(ENCODING.tokenizer.vocab_size, 2, 2, 32, 128, 0.0)
    problem = TextProblem(Pulls(), [], words, [(1.0, SCHEME)], 16)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(150):
        optimiser.zero_grad()
        problem.losses(network, step)["loss"].backward()
        optimiser.step()
    for wanted, command in ((9, "pull left"), (0, "pull right")):
        reader, game = TextReader(network, words, SCHEME, Decoding("trie", condition="fixed", value=wanted)), Arms()
        pulled = []
        for seed in range(40):
            reader.begin(0, seed)
            step_now = game.reset(seed)
            reader.observe([0], [step_now])
            pulled.append(reader.choose([0], [step_now])[0].command)
        assert pulled.count(command) / 40 >= 0.95
