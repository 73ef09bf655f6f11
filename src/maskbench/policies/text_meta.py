"""Players that choose among what another one proposes (TTM spec 3.3, 3.4, 3.6)."""

from __future__ import annotations

from collections import Counter, deque
from typing import Literal

from maskbench.envs.text.base import TextEnv, TextStep
from maskbench.errors import ConfigError, EnvError
from maskbench.policies.text_agents import Decision, TextAgent

RankBy = Literal["logprob", "value", "both"]


class _Wrapped(TextAgent):
    """A player around another one."""

    def __init__(self, agent: TextAgent) -> None:
        self.agent = agent

    def begin(self, seed: int) -> None:
        self.agent.begin(seed)

    def attach(self, game: TextEnv) -> None:
        self.agent.attach(game)

    def propose(self, step: TextStep, n: int) -> list[Decision]:
        return self.agent.propose(step, n)

    def value(self, step: TextStep, command: str) -> float:
        return self.agent.value(step, command)

    def surprise(self) -> float | None:
        return self.agent.surprise()

    def sent(self, command: str) -> None:
        self.agent.sent(command)


class BestOfN(_Wrapped):
    """The best of ``n`` proposals: by their likelihood, by the value model, or by ``logprob + beta * value``. Every candidate
    is scored (the original scored the first one for all of them)."""

    def __init__(self, agent: TextAgent, n: int = 5, rank_by: RankBy = "both", beta: float = 1.0) -> None:
        if n < 1:
            raise ConfigError(f"best_of_n chooses among at least one proposal; found n={n}")
        super().__init__(agent)
        self.n, self.rank_by, self.beta = n, rank_by, beta

    def decide(self, step: TextStep) -> Decision:
        found = self.agent.propose(step, self.n)
        scored = [self._score(step, decision) for decision in found]
        best = found[scored.index(max(scored))]
        self.agent.sent(best.command)
        return best

    def _score(self, step: TextStep, decision: Decision) -> float:
        likely = decision.logprob or 0.0
        if self.rank_by == "logprob":
            return likely
        value = self.agent.value(step, decision.command)
        return value if self.rank_by == "value" else likely + self.beta * value


class ExpectationGate(_Wrapped):
    """Stops to look around while the world surprises: where the mean surprise of the last ``window`` observations is above
    ``threshold`` (the 90th percentile in training), ``look`` and ``inventory`` in turn, or the second-best proposal.

    fallback: ``look`` or ``resample``.
    """

    def __init__(
        self, agent: TextAgent, threshold: float, window: int = 2, fallback: Literal["look", "resample"] = "look"
    ) -> None:
        super().__init__(agent)
        self.threshold, self.fallback = threshold, fallback
        self._recent: deque[float] = deque(maxlen=window)
        self._looked = 0

    def begin(self, seed: int) -> None:
        super().begin(seed)
        self._recent.clear()
        self._looked = 0

    def decide(self, step: TextStep) -> Decision:
        decision = self.agent.decide(step)
        surprise = self.agent.surprise()
        if surprise is not None:
            self._recent.append(surprise)
        full = len(self._recent) == self._recent.maxlen
        if not full or sum(self._recent) / len(self._recent) <= self.threshold:
            return decision
        self._recent.clear()  # one pause for one surprise
        if self.fallback == "resample":
            others = [d for d in self.agent.propose(step, 4) if d.command != decision.command]
            chosen = others[0] if others else decision
        else:
            chosen = Decision(("look", "inventory")[self._looked % 2])
            self._looked += 1
        self.agent.sent(chosen.command)
        return chosen


class Lookahead(_Wrapped):
    """Tries each of ``n`` proposals in the game itself, follows each with the player's first proposals for ``depth`` more
    steps, and takes the one with the best score; ties go to the likelier one. For games that can be saved."""

    def __init__(self, agent: TextAgent, n: int = 8, depth: int = 0) -> None:
        super().__init__(agent)
        self.n, self.depth = n, depth
        self._game: TextEnv | None = None

    def attach(self, game: TextEnv) -> None:
        super().attach(game)
        self._game = game

    def decide(self, step: TextStep) -> Decision:
        if self._game is None:
            raise EnvError("lookahead tries commands in the game; play it with: python -m maskbench text play")
        found = self.agent.propose(step, self.n)
        here = self._game.save()
        outcomes = []
        for decision in found:
            after = self._game.step(decision.command)
            for _ in range(self.depth):
                if after.done:
                    break
                after = self._game.step(self.agent.propose(after, 1)[0].command)
            outcomes.append((after.won, not after.lost, after.score))
            self._game.load(here)
        best = found[outcomes.index(max(outcomes))]
        self.agent.sent(best.command)
        return best


class LoopGuard(_Wrapped):
    """Bans a command in a state once it was given ``times`` times there: the same observation, the same command. The next
    best proposal is taken instead, or an admissible command that was not tried yet."""

    def __init__(self, agent: TextAgent, times: int = 3) -> None:
        if times < 1:
            raise ConfigError(f"a loop guard needs times >= 1; found {times}")
        super().__init__(agent)
        self.times = times
        self._given: Counter[tuple[str, str]] = Counter()

    def begin(self, seed: int) -> None:
        super().begin(seed)
        self._given.clear()

    def decide(self, step: TextStep) -> Decision:
        decision = self.agent.decide(step)
        if self._given[step.obs, decision.command] >= self.times:
            others = [*self.agent.propose(step, 8), *(Decision(c) for c in step.admissible or ())]
            free = [d for d in others if self._given[step.obs, d.command] < self.times]
            if free:
                decision = free[0]
                self.agent.sent(decision.command)
        self._given[step.obs, decision.command] += 1
        return decision
