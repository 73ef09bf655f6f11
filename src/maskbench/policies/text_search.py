"""Looking things up in what was played: windows of an episode, and of remembered ones (TTM spec 3.5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from maskbench.envs.text.base import TextEnv, TextStep
from maskbench.policies.bm25 import BM25
from maskbench.policies.text_agents import Decision, TextAgent
from maskbench.text.rollout import TextRollout, TextStepRecord

#: Steps of a window, and the most windows that a search returns.
WINDOW, MOST = 4, 30


@dataclass(frozen=True)
class Found:
    """A window of an episode: its last step, and its text."""

    step: int
    text: str


def windows(steps: Sequence[TextStepRecord]) -> list[Found]:
    """Windows of four consecutive visible steps, one ending at each; those that hold a question are left out."""
    found = []
    for i in range(len(steps)):
        part = [(k, steps[k]) for k in range(max(0, i - WINDOW + 1), i + 1) if not steps[k].system]
        if part and part[-1][0] == i and not any("question" in s.texts for _, s in part):
            lines = [f"step: {k} state: {' '.join(s.obs.split())}\naction: {s.command}" for k, s in part]
            found.append(Found(i, "\n".join(lines)))
    return found


def search(steps: Sequence[TextStepRecord], term: str, k: int = MOST) -> list[Found]:
    """Windows that share a word with ``term``, or match it as a regular expression, by BM25; the newest of equals first."""
    found = windows(steps)
    scores = BM25([f.text for f in found]).scores(term)
    try:
        pattern = re.compile(term, re.IGNORECASE)
    except re.error:
        pattern = re.compile(re.escape(term), re.IGNORECASE)
    ranked = [(float(s), f) for s, f in zip(scores, found, strict=True) if s > 0 or pattern.search(f.text)]
    return [f for _, f in sorted(ranked, key=lambda pair: (-pair[0], -pair[1].step))[: min(k, MOST)]]


class Remembering(TextAgent):
    """Shows a player what it has read before that looks like the present: the ``k`` best windows of this episode, and of
    ``rollouts`` where there are any, as lines ``memory: ...`` in front of the observation."""

    def __init__(self, agent: TextAgent, k: int = 2, rollouts: Iterable[TextRollout] = ()) -> None:
        self.agent, self.k = agent, k
        self._others = [w.text for r in rollouts for w in windows(r.steps)]
        self._steps: list[TextStepRecord] = []

    def begin(self, seed: int) -> None:
        self._steps = []
        self.agent.begin(seed)

    def attach(self, game: TextEnv) -> None:
        self.agent.attach(game)

    def decide(self, step: TextStep) -> Decision:
        decision = self.agent.decide(self._reminded(step))
        self._steps.append(TextStepRecord(step.obs, decision.command))
        return decision

    def propose(self, step: TextStep, n: int) -> list[Decision]:
        return self.agent.propose(self._reminded(step), n)

    def value(self, step: TextStep, command: str) -> float:
        return self.agent.value(step, command)

    def surprise(self) -> float | None:
        return self.agent.surprise()

    def sent(self, command: str) -> None:
        self._steps[-1] = replace(self._steps[-1], command=command)
        self.agent.sent(command)

    def _reminded(self, step: TextStep) -> TextStep:
        texts = [*self._others, *(w.text for w in windows(self._steps))]
        best = BM25(texts).top(step.obs, self.k) if texts else []
        lines = [f"memory: {' '.join(texts[i].split())}" for i in best]
        return replace(step, obs="\n".join([*lines, step.obs]))
