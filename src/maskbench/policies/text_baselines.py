"""Players that need no model: chance, the environment's teacher, and copying from memory (TTM spec 3.7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import Literal

from maskbench.envs.text.base import TextStep
from maskbench.errors import ConfigError, DataError, EnvError
from maskbench.policies.bm25 import BM25
from maskbench.policies.text_agents import Decision, TextAgent
from maskbench.text.rollout import TextRollout

#: ``gata`` leaves ``look``, ``inventory`` kept, and every ``examine`` but that of the cookbook out (arXiv:2002.09127).
Filter = Literal["none", "gata"]


def choices(step: TextStep, filter: Filter) -> tuple[str, ...]:
    """Admissible commands, filtered; all of them where the filter would leave nothing. Raises EnvError where the environment
    does not tell."""
    if not step.admissible:
        raise EnvError("this player needs admissible commands, which the environment does not tell; set env.admissible=true")
    if filter == "none":
        return step.admissible
    kept = tuple(c for c in step.admissible if c != "look" and (not c.startswith("examine ") or c == "examine cookbook"))
    return kept or step.admissible


class RandomAdmissible(TextAgent):
    """Any admissible command that passes the filter, all equally likely."""

    def __init__(self, filter: Filter = "gata") -> None:
        self.filter = filter
        self._random = Random(0)

    def begin(self, seed: int) -> None:
        self._random = Random(seed)

    def decide(self, step: TextStep) -> Decision:
        return Decision(self._random.choice(choices(step, self.filter)))

    def propose(self, step: TextStep, n: int) -> list[Decision]:
        found = choices(step, self.filter)
        return [Decision(c) for c in self._random.sample(found, min(n, len(found)))]


class Expert(TextAgent):
    """The environment's teacher; once it knows no way to win, ``look``. Raises EnvError where there is no teacher."""

    def __init__(self) -> None:
        self._began = False

    def begin(self, seed: int) -> None:
        self._began = False

    def decide(self, step: TextStep) -> Decision:
        if step.expert is None and not self._began:
            raise EnvError("the environment names no teacher's command; set env.expert=true, or give the story a solution file")
        self._began = True
        return Decision(step.expert or "look")


class Noisy(TextAgent):
    """A player whose command gives way to a random admissible one with probability ``epsilon``, from the step on at which
    ``after`` was read; such commands are marked as noise."""

    def __init__(self, agent: TextAgent, epsilon: float, after: str = "", filter: Filter = "gata") -> None:
        if not 0 <= epsilon <= 1:
            raise ConfigError(f"epsilon is a probability; found {epsilon}")
        self.agent, self.epsilon, self.after, self.filter = agent, epsilon, after, filter
        self._random, self._read = Random(0), False

    def begin(self, seed: int) -> None:
        self._random, self._read = Random(seed), not self.after
        self.agent.begin(seed)

    def decide(self, step: TextStep) -> Decision:
        self._read |= self.after in step.obs
        wanted = self.agent.decide(step)
        if not self._read or self._random.random() >= self.epsilon:
            return wanted
        return Decision(self._random.choice(choices(step, self.filter)), noise=True)


class Retrieval(TextAgent):
    """Copies the command that followed the nearest training observation by BM25, the newest of equals; among admissible
    commands where the environment tells them, with the foods of the memory replaced by none: it only copies.

    rollouts: memory; steps of noise or without a command are left out.
    previous: also match the command before, so that repeated observations are told apart.
    Raises DataError where nothing is left to remember.
    """

    def __init__(self, rollouts: Iterable[TextRollout], k: int = 50, previous: bool = True) -> None:
        self.k, self.previous = k, previous
        keys, self._commands = [], list[str]()
        for rollout in rollouts:
            before = ""
            for step in rollout.visible:
                if step.command and not step.noise:
                    keys.append(self._key(step.obs, before))
                    self._commands.append(step.command)
                before = step.command
        if not keys:
            raise DataError("the memory of retrieval is empty; give rollouts with commands (policy.data=<folder>)")
        self._index = BM25(keys)
        self._before = ""

    def begin(self, seed: int) -> None:
        self._before = ""

    def decide(self, step: TextStep) -> Decision:
        chosen = self.propose(step, 1)
        self._before = chosen[0].command
        return chosen[0]

    def propose(self, step: TextStep, n: int) -> list[Decision]:
        nearest = [self._commands[i] for i in self._index.top(self._key(step.obs, self._before), self.k)]
        return [Decision(c) for c in _fitting(nearest or self._commands[-1:], step.admissible)][:n]

    def sent(self, command: str) -> None:
        self._before = command

    def _key(self, obs: str, before: str) -> str:
        marked = " ".join(f"did{word}" for word in re.findall(r"\w+", before)) if self.previous else ""
        return f"{obs} {marked}"


def _fitting(commands: Sequence[str], admissible: Sequence[str] | None) -> list[str]:
    """Different commands in order, admissible ones only; where none is, the first admissible one of the nearest one's verb, or
    the first of all."""
    different = list(dict.fromkeys(commands))
    if not admissible:
        return different
    kept = [c for c in different if c in admissible]
    alike = [c for c in admissible if c.split()[0] == different[0].split()[0]]
    return kept or alike[:1] or [admissible[0]]
