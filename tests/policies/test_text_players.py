"""Players of text games that need no model, the ones that choose for others, search, and the game written down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.envs.text.base import TextEnv, TextStep
from maskbench.envs.text.kitchen.game import Kitchen
from maskbench.envs.text.levels import level_of
from maskbench.errors import ConfigError, DataError, EnvError
from maskbench.policies.bm25 import BM25, words
from maskbench.policies.text_agents import Decision, TextAgent
from maskbench.policies.text_baselines import Expert, Noisy, RandomAdmissible, Retrieval, choices
from maskbench.policies.text_meta import BestOfN, ExpectationGate, Lookahead, LoopGuard
from maskbench.policies.text_search import Remembering, search, windows
from maskbench.policies.text_session import Session
from maskbench.text.rollout import Label, TextRollout, TextStepRecord

ABOUT = {"env": "kitchen_lite", "policy": "test"}


def step(obs: str = "A room.", admissible: tuple[str, ...] | None = ("look", "go", "examine cookbook", "examine oven"), **more):
    told = {"score": 0.0, "max_score": 5.0, "reward": 0.0, "done": False, "won": False, "lost": False}
    return TextStep(obs, admissible=admissible, inventory=None, location=None, expert=more.pop("expert", None), **told | more)


def kitchen() -> Kitchen:
    return Kitchen(level_of(2, "gata"))


def play(agent: TextAgent, seed: int = 1, own: int = 0, most: int = 40) -> TextRollout:
    session = Session(kitchen(), seed, ABOUT)
    agent.attach(session.game)
    agent.begin(own)
    while not session.now.done and len(session.steps) < most:
        session.send(agent.decide(session.now))
    return session.finish(Decision(""))


class Fixed(TextAgent):
    """Proposes given commands with given likelihoods and values."""

    def __init__(self, commands: dict[str, tuple[float, float]], surprises: tuple[float, ...] = ()) -> None:
        self.commands, self.surprises, self.sent_commands, self.t = commands, surprises, list[str](), -1

    def decide(self, step: TextStep) -> Decision:
        self.t += 1
        return self.propose(step, 1)[0]

    def propose(self, step: TextStep, n: int) -> list[Decision]:
        return [Decision(c, logprob=p) for c, (p, _) in self.commands.items()][:n]

    def value(self, step: TextStep, command: str) -> float:
        return self.commands[command][1]

    def surprise(self) -> float | None:
        return self.surprises[self.t] if self.surprises else None

    def sent(self, command: str) -> None:
        self.sent_commands.append(command)


# --- baselines ---------------------------------------------------------------------------------------------------------


def test_the_gata_filter_keeps_the_cookbook_and_drops_idle_commands() -> None:
    assert choices(step(), "gata") == ("go", "examine cookbook")
    assert choices(step(), "none") == step().admissible
    assert choices(step(admissible=("look",)), "gata") == ("look",)
    with pytest.raises(EnvError, match=r"env\.admissible=true"):
        choices(step(admissible=None), "none")


def test_a_random_player_is_told_by_its_seed() -> None:
    first, again, other = (play(RandomAdmissible(), own=s).steps for s in (3, 3, 4))
    assert [s.command for s in first] == [s.command for s in again] != [s.command for s in other]


def test_the_expert_wins_and_says_where_there_is_none() -> None:
    assert play(Expert()).won
    with pytest.raises(EnvError, match=r"env\.expert=true"):
        Expert().decide(step())


def test_noise_waits_for_the_recipe_and_is_marked() -> None:
    rollout = play(Noisy(Expert(), 1.0, after="Recipe #"), own=2, most=12)
    read = next(i for i, s in enumerate(rollout.steps) if "Recipe #" in s.obs)
    assert [s.noise for s in rollout.steps[:-1]] == [i >= read for i in range(len(rollout.steps) - 1)]
    assert not any(s.noise for s in play(Noisy(Expert(), 0.0)).steps)
    with pytest.raises(ConfigError, match="probability"):
        Noisy(Expert(), 1.5)


def test_retrieval_replays_what_it_remembers_and_leaves_noise_out() -> None:
    agent = Retrieval([play(Expert(), seed=s) for s in range(3)])
    assert play(agent, seed=1).won
    with pytest.raises(DataError, match="memory"):
        Retrieval([TextRollout("a", (TextStepRecord("x", "look", noise=True),))])


def test_retrieval_stays_within_the_admissible_commands() -> None:
    agent = Retrieval([play(Expert(), seed=s) for s in range(5)])
    rollout = play(agent, seed=77, most=20)
    assert all(s.command in (s.admissible or ()) for s in rollout.steps[:-1])


# --- players that choose ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rank_by", "beta", "chosen"), [("logprob", 1, "a"), ("value", 1, "c"), ("both", 0.5, "a"), ("both", 9, "c")]
)
def test_every_candidate_is_scored_by_its_own_value(rank_by, beta, chosen) -> None:
    inner = Fixed({"a": (-1.0, 0.0), "b": (-2.0, 0.1), "c": (-3.0, 1.0)})
    assert BestOfN(inner, 3, rank_by, beta).decide(step()).command == chosen
    assert inner.sent_commands == [chosen]


def test_the_gate_looks_around_after_two_surprises_only() -> None:
    gate = ExpectationGate(Fixed({"go": (0, 0), "take": (0, 0)}, (1, 9, 9, 9, 9, 1)), threshold=5, window=2)
    gate.begin(0)
    assert [gate.decide(step()).command for _ in range(6)] == ["go", "go", "look", "go", "inventory", "go"]
    gate = ExpectationGate(Fixed({"go": (0, 0), "take": (0, 0)}, (9, 9)), threshold=5, fallback="resample")
    gate.begin(0)
    assert [gate.decide(step()).command for _ in range(2)] == ["go", "take"]
    calm = ExpectationGate(Fixed({"go": (0, 0)}), threshold=0)
    assert [calm.decide(step()).command for _ in range(4)] == ["go"] * 4


def test_lookahead_takes_what_pays_and_leaves_the_game_as_it_was() -> None:
    session = Session(kitchen(), 1, ABOUT)
    while session.now.expert == "inventory" or not session.now.expert.startswith("take"):
        session.send(Decision(session.now.expert))
    take = session.now.expert
    agent = Lookahead(Fixed({"look": (0, 0), "inventory": (0, 0), take: (-9, 0)}), n=3)
    agent.attach(session.game)
    before = session.game.save()[2]
    assert agent.decide(session.now).command == take
    assert session.game.save()[2] == before
    with pytest.raises(EnvError, match="text play"):
        Lookahead(Fixed({"look": (0, 0)})).decide(step())


def test_a_loop_guard_bans_the_fourth_repetition_in_a_state() -> None:
    guard = LoopGuard(Fixed({"look": (0, 0), "go": (-1, 0)}), times=3)
    guard.begin(0)
    assert [guard.decide(step()).command for _ in range(5)] == ["look"] * 3 + ["go"] * 2
    assert guard.decide(step("Elsewhere.")).command == "look"
    guard.begin(0)
    assert guard.decide(step()).command == "look"


# --- search ----------------------------------------------------------------------------------------------------------------


def test_bm25_prefers_rare_words_and_short_documents() -> None:
    index = BM25(["the red key", "the lamp", "the red lamp and the red door and much more of the same", "the door"])
    assert index.top("key", 4) == [0]
    assert index.top("red lamp", 2) == [2, 1] or index.scores("red lamp")[2] > index.scores("red lamp")[0]
    assert index.scores("lamp")[1] > index.scores("lamp")[2] > 0
    assert index.top("nothing here", 3) == []
    assert list(BM25([]).scores("x")) == []


@given(st.lists(st.text("abc ", max_size=12), max_size=8), st.text("abc ", max_size=6))
def test_bm25_scores_exactly_the_documents_that_share_a_word(documents: list[str], query: str) -> None:
    shared = [bool(set(words(d)) & set(words(query))) for d in documents]
    assert [s > 0 for s in BM25(documents).scores(query)] == shared


def test_windows_hold_four_steps_and_no_questions() -> None:
    steps = [TextStepRecord(f"room {i}", f"go {i}") for i in range(6)]
    assert [w.text.count("step:") for w in windows(steps)] == [1, 2, 3, 4, 4, 4]
    asked = [*steps, TextStepRecord("room 6", "where?", texts={"question": "where?"}), TextStepRecord("room 7", "go")]
    assert [w.step for w in windows(asked)] == [0, 1, 2, 3, 4, 5]
    assert [w.step for w in search(steps, "room 2")][:1] == [2]
    assert search(steps, "(unclosed") == []
    assert {w.step for w in search(steps, "ro+m [45]")} >= {4, 5}


def test_a_reminded_player_reads_what_it_saw_before() -> None:
    class Reader(TextAgent):
        read: list[str] = []  # noqa: RUF012

        def decide(self, step: TextStep) -> Decision:
            self.read.append(step.obs)
            return Decision("look")

    agent = Remembering(Reader(), k=1)
    agent.begin(0)
    for obs in ("The recipe: fry the egg.", "A hall.", "An egg lies here."):
        agent.decide(step(obs))
    assert Reader.read[0] == "The recipe: fry the egg."
    assert Reader.read[2].startswith("memory: ")
    assert "fry the egg" in Reader.read[2]


# --- sessions --------------------------------------------------------------------------------------------------------------


class Forgetful(Kitchen):
    """A kitchen that cannot be saved, so that forks replay."""

    def save(self):
        return TextEnv.save(self)


@pytest.mark.parametrize("make", [Kitchen, Forgetful])
def test_a_fork_goes_on_from_the_middle_and_keeps_both(make) -> None:
    session = Session(make(level_of(2, "gata")), 5, ABOUT)
    for _ in range(4):
        session.say("agent: 'expert'")
        session.send(Decision(session.now.expert))
    told = session.steps[5].obs  # what the third command answered
    first = session.fork(2)
    assert len(first.steps) == 9
    assert tuple(session.steps) == first.steps[:4]
    assert session.now.obs == told
    while not session.now.done:
        session.send(Decision(session.now.expert))
    assert session.finish(Decision("")).won
    with pytest.raises(EnvError, match="restore:99"):
        session.fork(99)


def test_a_rollout_says_everything_that_was_shown_and_said() -> None:
    session = Session(kitchen(), 5, ABOUT)
    session.send(Decision("inventory", {"hindsight_expectation": "nothing"}, (Label("start", 0, 0.5),)))
    session.note("where?", {"question": "where?", "answer": "there"}, Label("where? there", 0, 1.0), "there")
    session.send(Decision("look"))
    rollout = session.finish(Decision("ignored", labels=(Label("all", 2, 0.0),)))
    assert [s.command for s in rollout.steps] == ["inventory", "where?", "look", ""]
    assert rollout.steps[0].texts == {"hindsight_expectation": "nothing"}
    assert rollout.steps[0].labels[0].summary == "start"
    assert rollout.steps[2].obs == "there"
    assert rollout.steps[-1].labels[0].summary == "all"
    assert (rollout.seed, rollout.max_score, rollout.env) == (5, 5.0, "kitchen_lite")


def test_notes_carry_what_was_said_beside_a_command() -> None:
    said = Decision("go", {"hindsight_expectation": 'a "door" é'}, (Label("s", 1, 0.2, source="model"),), noise=True)
    assert Decision.noted("go", said.note()) == said
    assert Decision("go").note() == ""
    assert Decision.noted("go", "") == Decision("go")


def test_the_same_seed_and_player_give_the_same_rollout() -> None:
    rollouts = [play(Noisy(Expert(), 0.5), seed=9, own=4) for _ in range(2)]
    assert rollouts[0].steps == rollouts[1].steps
