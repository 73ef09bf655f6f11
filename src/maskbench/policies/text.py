"""Playing text games with a language model: what it reads, what it is asked for, and how commands are chosen (TTM spec 3, 6.3).

    begin   <val> the wanted value
    step    <obs> what the game printed, [<exp> <sum> <len> <rew> its own words], <act> the command, <eos>

Only new tokens are read; all live games are read in one batch; all admissible commands of all games are scored in one more.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from maskbench.envs.base import Observation
from maskbench.envs.text.base import TextStep
from maskbench.envs.text.family import unpack
from maskbench.errors import ConfigError, did_you_mean
from maskbench.masking.text import EPISODE_WISE, TextScheme
from maskbench.models.branching import Tree, score
from maskbench.models.language import LanguageModel, Reading
from maskbench.policies.text_agents import Decision, TextAgent
from maskbench.policies.text_baselines import Filter, choices
from maskbench.rollout.plan import PlanRow
from maskbench.text.context import is_document
from maskbench.text.encoding import Encoding
from maskbench.text.lexicon import Lexicon
from maskbench.text.rollout import GOAL, Label
from maskbench.text.tokenizer import END

Decode = Literal["greedy", "sample", "admissible", "trie"]
Condition = Literal["highest", "fixed", "tilt"]
#: Most tokens of one generated span.
LONGEST = 40
#: Of a foretold observation, which may be a whole room.
LONGEST_OBSERVATION = 120
_OWN_WORDS = ("exp", "sum", "len", "rew", "next")


@dataclass(frozen=True)
class Decoding:
    """How commands are chosen.

    decode:      ``admissible`` scores every admissible command; ``trie`` draws token by token among their beginnings;
                 ``greedy`` and ``sample`` write freely.
    rank:        admissible commands by their summed log-probability, or by the ``mean`` per token.
    temperature: of draws; 0 takes the best.
    condition:   which value is asked for: the ``highest``, a ``fixed`` one (``value``, a bucket from 0), or one drawn from the
                 model's own expectation times ``exp(kappa * bucket)`` (``tilt``), among those more probable than 0.02.
    filter:      ``gata`` leaves out ``look`` and ``examine``, but for the cookbook.
    loop_guard:  admissible commands given this often at the same observation are no longer among the choices; None = never.
    """

    decode: Decode = "admissible"
    rank: Literal["sum", "mean"] = "sum"
    temperature: float = 0.0
    condition: Condition = "highest"
    value: int = 9
    kappa: float = 5.0
    filter: Filter = "gata"
    loop_guard: int | None = None

    def __post_init__(self) -> None:
        for name, valid in (
            ("decode", ("greedy", "sample", "admissible", "trie")),
            ("condition", ("highest", "fixed", "tilt")),
        ):
            found = getattr(self, name)
            if found not in valid:
                raise ConfigError(f"text {name}='{found}' is unknown. {did_you_mean(found, valid)}")


@dataclass
class _Game:
    """One live episode. ``unread``: tokens that the cache lacks; ``blocks``: all tokens, a list a step, the opening first."""

    random: Random
    lexicon: Lexicon | None
    blocks: list[list[int]]
    unread: list[int]
    document: list[int] = field(default_factory=list)
    observed: tuple[int, int] = (0, 0)
    answered: bool = True
    own: dict[str, str] = field(default_factory=dict)
    given: Counter[tuple[str, str]] = field(default_factory=Counter)


class TextReader:
    """A model with any number of games before it, each in a slot."""

    def __init__(self, model: LanguageModel, encoding: Encoding, scheme: TextScheme, decoding: Decoding) -> None:
        self.model, self.encoding, self.scheme, self.decoding = model.eval(), encoding, scheme, decoding
        self.tokenizer = encoding.tokenizer
        self.reading = Reading(model)
        self.games: dict[int, _Game] = {}
        self._surprise: dict[int, float] = {}

    def begin(self, slot: int, seed: int) -> None:
        """A new episode in a slot."""
        random = Random(seed)
        common = self.encoding.common
        self.reading.grow(max(0, slot + 1 - len(self.reading.lengths)))
        self.reading.clear(slot)
        opening: list[int] = []
        if self.scheme.goal:
            opening += self._span("goal", GOAL)
        game = _Game(random, Lexicon(common, random) if common is not None else None, [opening], list(opening))
        self.games[slot] = game
        if "val" in self.scheme.uses and self.scheme.value in EPISODE_WISE:
            if self.decoding.condition == "tilt":
                if not opening:
                    self._add(game, [self.tokenizer.specials["<val>"]])
                    self._read([slot])
                    wanted = self._tilted(slot)
                    self._add(game, self.tokenizer.encode(wanted) + [self._end] * ("val" in self.scheme.predict))
            else:
                self._add(game, self._span("val", self._asked(), "val" in self.scheme.predict))

    @property
    def _end(self) -> int:
        return self.tokenizer.specials[END]

    def _asked(self) -> str:
        words = self.encoding.buckets.words
        if self.decoding.condition == "fixed" and not 0 <= self.decoding.value < len(words):
            raise ConfigError(f"the wanted value is a bucket from 0 to {len(words) - 1}; found {self.decoding.value}")
        return words[self.decoding.value] if self.decoding.condition == "fixed" else words[-1]

    def _tilted(self, slot: int) -> str:
        """A value word drawn from p(b | text) * exp(kappa * b / (K - 1)), clipped at p > 0.02."""
        words = self.encoding.buckets.words
        ids = torch.tensor([self.tokenizer.encode(w)[0] for w in words])
        p = self.reading.next(self._rows([slot]))[0].cpu()[ids].softmax(-1)
        tilt = torch.linspace(0.0, self.decoding.kappa, len(words)).exp()
        tilted = torch.where(p > 0.02, p * tilt, torch.zeros(()))
        (word,) = self.games[slot].random.choices(words, tilted.tolist() if float(tilted.sum()) > 0 else p.tolist())
        return word

    def _span(self, tag: str, text: str, closed: bool = False) -> list[int]:
        return [self.tokenizer.specials[f"<{tag}>"], *self.tokenizer.encode(text), *([self._end] if closed else [])]

    def _add(self, game: _Game, ids: list[int]) -> None:
        game.blocks[-1] += ids
        game.unread += ids

    def observe(self, slots: Sequence[int], steps: Sequence[TextStep]) -> None:
        """Reads what the games printed, up to the place where the command stands; writes own words where the scheme says so."""
        layout = self.scheme.layout()
        layout = layout[: layout.index("act")] if "act" in layout else layout
        for slot, step in zip(slots, steps, strict=True):
            game = self.games[slot]
            game.answered = False
            if game.lexicon is not None:
                game.lexicon.meet(step.obs, step.admissible or ())
            shown = game.lexicon.hide(step.obs) if game.lexicon is not None else step.obs
            if is_document(step.obs):
                game.document = self._span("doc", shown)
            game.blocks.append([])
            for factor in (f for f in layout if f in ("val", "obs")):
                if factor == "obs":
                    game.observed = (len(game.unread) + 1, len(game.unread) + len(self._span("obs", shown)))
                    self._add(game, self._span("obs", shown))
                elif self.scheme.value not in EPISODE_WISE:
                    self._add(game, self._span("val", self._asked(), "val" in self.scheme.predict))
        for factor in (f for f in layout if f in _OWN_WORDS):
            for slot in slots:
                self._add(self.games[slot], [self.tokenizer.specials[f"<{factor}>"]])
            self._read(slots)
            for slot, ids in zip(slots, self._write(slots, 0.0, _longest(factor)), strict=True):
                self.games[slot].own[factor] = self.shown(slot, ids)
        for slot in slots:
            self._add(self.games[slot], [self.tokenizer.specials["<act>"]])
        self._read(slots)

    def answer(self, slot: int, command: str) -> None:
        """What was sent to the game."""
        game = self.games[slot]
        if game.answered:  # another command was sent instead
            marker = len(game.blocks[-1]) - game.blocks[-1][::-1].index(self.tokenizer.specials["<act>"])
            del game.blocks[-1][marker:]
            game.unread.clear()
        game.answered = True
        self._add(game, [*self.tokens(slot, command), self._end])

    def tokens(self, slot: int, command: str) -> list[int]:
        lexicon = self.games[slot].lexicon
        return self.tokenizer.encode(lexicon.hide(command) if lexicon is not None else command)

    def shown(self, slot: int, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(ids)
        lexicon = self.games[slot].lexicon
        return (lexicon.show(text) if lexicon is not None else text).strip()

    def _rows(self, slots: Sequence[int]) -> Tensor:
        return torch.tensor(slots, device=self.reading.last.device)

    def _read(self, slots: Sequence[int]) -> None:
        """Brings the cache up to date; where the context is full, the opening, the document and the latest steps remain."""
        fresh = []
        for slot in slots:
            game = self.games[slot]
            if int(self.reading.lengths[slot]) + len(game.unread) + LONGEST > self.model.context:
                game.unread = self._shortened(game)
                game.observed = (0, 0)
                self.reading.clear(slot)
            fresh.append(game.unread)
        rows = self._rows(slots)
        counts = torch.tensor([len(ids) for ids in fresh])
        tokens = torch.zeros(len(fresh), int(counts.max()), dtype=torch.int64)
        for i, ids in enumerate(fresh):
            tokens[i, : len(ids)] = torch.tensor(ids)
        logp = self.reading.read(rows, tokens.to(rows.device), counts.to(rows.device))
        for i, slot in enumerate(slots):
            game = self.games[slot]
            first, stop = game.observed
            if stop > first:
                self._surprise[slot] = -float(logp[i, first:stop].mean())
            game.observed = (0, 0)
            game.unread = []

    def _shortened(self, game: _Game) -> list[int]:
        opening, steps = game.blocks[0], game.blocks[1:]
        room = self.model.context * 3 // 4 - len(opening) - len(game.document)
        kept: list[list[int]] = []
        for block in reversed(steps):
            if sum(map(len, kept)) + len(block) > room and kept:
                break
            kept.insert(0, block)
        whole = [t for block in kept for t in block]
        document = game.document if len(kept) < len(steps) else []
        game.blocks = [opening + document, *kept]
        return (opening + document + whole)[-(self.model.context - 2 * LONGEST) :]

    def _write(self, slots: Sequence[int], temperature: float, longest: int = LONGEST) -> list[list[int]]:
        """Free text for each slot until ``<eos>``, read into the cache as it is written, the end included."""
        written: dict[int, list[int]] = {slot: [] for slot in slots}
        live = list(slots)
        while live:
            logp = self.reading.next(self._rows(live)).cpu()
            for i, slot in enumerate(live):
                game = self.games[slot]
                token = _draw(logp[i], temperature, game.random)
                if len(written[slot]) + 1 >= longest:
                    token = self._end
                written[slot].append(token)
                self._add(game, [token])
            self._read(live)
            live = [slot for slot in live if written[slot][-1] != self._end]
        return [written[slot][:-1] for slot in slots]

    def scores(self, slots: Sequence[int], commands: Sequence[Sequence[str]]) -> list[list[float]]:
        """How likely each command of each slot is, by ``Decoding.rank``."""
        each = self._each(slots, commands)
        mean = self.decoding.rank == "mean"
        return [[float(x.mean() if mean else x.sum()) for x in row] for row in each]

    def _each(self, slots: Sequence[int], commands: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        trees = [Tree.of([[*self.tokens(s, c), self._end] for c in found]) for s, found in zip(slots, commands, strict=True)]
        return score(self.reading, self._rows(slots), trees)

    def choose(self, slots: Sequence[int], steps: Sequence[TextStep]) -> list[Decision]:
        """One command for each slot, whose observation was read; it is noted as sent."""
        decode, temperature = self.decoding.decode, self.decoding.temperature
        if decode in ("admissible", "trie"):
            found = [self._choices(slot, step) for slot, step in zip(slots, steps, strict=True)]
            decisions = []
            for slot, commands, values in zip(slots, found, self.scores(slots, found), strict=True):
                hot = max(temperature, 1.0) if decode == "trie" else temperature
                best = _draw(torch.tensor(values), hot, self.games[slot].random)
                decisions.append(self._decision(slot, commands[best], values[best]))
            for slot, step, decision in zip(slots, steps, decisions, strict=True):
                self.games[slot].given[step.obs, decision.command] += 1
        else:
            hot = 0.0 if decode == "greedy" else temperature or 1.0
            decisions = [self._decision(slot, command, logp) for slot, command, logp in self.draft(slots, hot)]
        for slot, decision in zip(slots, decisions, strict=True):
            self.answer(slot, decision.command)
        return decisions

    def _choices(self, slot: int, step: TextStep) -> Sequence[str]:
        """What may be chosen: beyond the filter only where the guard leaves nothing else."""
        found, guard, given = choices(step, self.decoding.filter), self.decoding.loop_guard, self.games[slot].given
        if guard is None:
            return found
        return next(
            (f for f in ([c for c in s if given[step.obs, c] < guard] for s in (found, step.admissible or ())) if f), found
        )

    def draft(self, slots: Sequence[int], temperature: float) -> list[tuple[int, str, float]]:
        """Free commands, which leave no trace: the cache forgets them again."""
        lengths, last = self.reading.lengths.clone(), self.reading.last.clone()
        written = self._write(slots, temperature)
        for slot, ids in zip(slots, written, strict=True):
            del self.games[slot].blocks[-1][-len(ids) - 1 :]
        self.reading.rewind(lengths, last)
        commands = [[self.shown(slot, ids)] for slot, ids in zip(slots, written, strict=True)]
        values = self.scores(slots, commands)
        return [(slot, c[0], v[0]) for slot, c, v in zip(slots, commands, values, strict=True)]

    def _decision(self, slot: int, command: str, logp: float) -> Decision:
        own = self.games[slot].own
        said = {"hindsight_expectation": own.get("exp"), "expectation": own.get("next")}
        texts = {name: text for name, text in said.items() if text}
        labels: tuple[Label, ...] = ()
        if own.get("sum"):
            length, value = own.get("len", ""), own.get("rew", "")
            number = float(value) if value.replace(".", "", 1).isdigit() and 0 <= float(value) <= 1 else None
            labels = (Label(own["sum"], int(length) if length.isdigit() else 0, number),)
        return Decision(command, texts, labels, logprob=logp)

    def surprise(self, slot: int) -> float | None:
        return self._surprise.get(slot)


class TextModelPolicy:
    """A language model as the ``Policy`` of the rollout runner: all live games in one batch."""

    def __init__(self, model: LanguageModel, encoding: Encoding, scheme: TextScheme, decoding: Decoding) -> None:
        self.reader = TextReader(model, encoding, scheme, decoding)
        self._notes: dict[int, str] = {}

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        for slot, row in zip(slots, rows, strict=True):
            self.reader.begin(int(slot), row.policy_seed)

    def act(self, observations: Observation, slots: np.ndarray) -> np.ndarray:
        """``(len(slots),)`` objects: commands."""
        steps, live = unpack(observations), [int(s) for s in slots]
        self.reader.observe(live, steps)
        decisions = self.reader.choose(live, steps)
        commands = np.empty(len(live), object)
        for i, (slot, decision) in enumerate(zip(live, decisions, strict=True)):
            commands[i], self._notes[slot] = decision.command, decision.note()
        return commands

    def notes(self, slots: np.ndarray) -> list[str]:
        return [self._notes[int(slot)] for slot in slots]

    def record(self, slots: np.ndarray, rewards: np.ndarray) -> None:
        return None


class TextModelAgent(TextAgent):
    """A language model as a player of one game, for meta-policies that ask it for proposals."""

    def __init__(self, model: LanguageModel, encoding: Encoding, scheme: TextScheme, decoding: Decoding) -> None:
        self.reader = TextReader(model, encoding, scheme, decoding)
        self._step: TextStep | None = None

    def begin(self, seed: int) -> None:
        self.reader.begin(0, seed)
        self._step = None

    def decide(self, step: TextStep) -> Decision:
        self._look(step)
        return self.reader.choose([0], [step])[0]

    def propose(self, step: TextStep, n: int) -> list[Decision]:
        self._look(step)
        if self.reader.decoding.decode in ("admissible", "trie"):
            found = choices(step, self.reader.decoding.filter)
            (values,) = self.reader.scores([0], [found])
            ranked = sorted(zip(values, found, strict=True), reverse=True)[:n]
            return [Decision(command, logprob=value) for value, command in ranked]
        drafts = {command: value for _ in range(n) for _, command, value in self.reader.draft([0], 1.0)}
        return [Decision(c, logprob=v) for c, v in sorted(drafts.items(), key=lambda pair: -pair[1])]

    def surprise(self) -> float | None:
        return self.reader.surprise(0)

    def sent(self, command: str) -> None:
        self.reader.answer(0, command)

    def _look(self, step: TextStep) -> None:
        if step is not self._step:
            self._step = step
            self.reader.observe([0], [step])


def _longest(factor: str) -> int:
    return LONGEST_OBSERVATION if factor == "next" else LONGEST


def _draw(scores: Tensor, temperature: float, random: Random) -> int:
    """The best, or one drawn in proportion to ``exp(score / temperature)``."""
    if temperature <= 0:
        return int(scores.argmax())
    weights = (scores / temperature - float(scores.max()) / temperature).exp()
    total = float(weights.sum())
    if not math.isfinite(total):
        raise ConfigError(f"temperature {temperature} gives no probabilities; use 0, or a larger one")
    return random.choices(range(len(weights)), weights.tolist())[0]
