"""One game being played and written down: forks, changes of player, and the rollout that remains (TTM spec 1 and 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from maskbench.envs.text.base import TextEnv, TextStep
from maskbench.errors import EnvError
from maskbench.policies.text_agents import Decision
from maskbench.text.rollout import Label, TextRollout, TextStepRecord


@dataclass
class Session:
    """A game from its reset to its end.

    about: fields of ``TextRollout`` that say what is played and by whom (env, split, policy, run_id, ...).
    """

    game: TextEnv
    seed: int
    about: Mapping[str, Any]
    now: TextStep = field(init=False)
    steps: list[TextStepRecord] = field(init=False, default_factory=list)
    _states: list[Any] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.now = self.game.reset(self.seed)
        self._remember()

    def _remember(self) -> None:
        try:
            self._states.append(self.game.save())
        except EnvError:  # such a game is replayed instead
            self._states.append(None)

    def send(self, decision: Decision) -> TextStep:
        """Gives a command to the game and notes it."""
        before, self.now = self.now, self.game.step(decision.command)
        self.steps.append(_record(before, decision, self.now.reward))
        self._remember()
        return self.now

    def say(self, command: str) -> None:
        """Notes a command to the book-keeping, which the game never sees."""
        self.steps.append(TextStepRecord(self.now.obs, command, score=self.now.score, system=True))

    def note(self, said: str, texts: Mapping[str, str], label: Label, answer: str) -> None:
        """Notes something that was asked instead of a command; the answer is read in place of the game's next observation."""
        decision = Decision(said, texts=texts, labels=(label,))
        self.steps.append(_record(self.now, decision, 0.0))
        self.now = replace(self.now, obs=answer, reward=0.0)

    def fork(self, steps: int) -> TextRollout:
        """Ends the rollout here and goes on from after the first ``steps`` game commands; book-keeping is not replayed.

        Returns what was played so far. Raises EnvError where there were fewer commands, or where the replayed game pays
        otherwise than before, by chance.
        """
        played = [i for i, step in enumerate(self.steps) if _sent(step)]
        if not 0 <= steps <= len(played):
            raise EnvError(f"restore:{steps} asks for {steps} commands; this game has had {len(played)}")
        finished = self.finish(Decision(""))
        kept = self.steps[: played[steps - 1] + 1] if steps else []
        if self._states[steps] is not None:
            self.now = self.game.load(self._states[steps])
        else:
            self.now = self.game.reset(self.seed)
            for step in (s for s in kept if _sent(s)):
                self.now = self.game.step(step.command)
                if self.now.reward != step.reward:
                    raise EnvError("the replayed game answers otherwise than before; restore needs a game without chance")
        self.steps, self._states = kept, self._states[: steps + 1]
        return finished

    def finish(self, last: Decision) -> TextRollout:
        """The rollout; ``last`` is what the player says about the last observation, whose command nobody hears."""
        end = _record(self.now, replace(last, command=""), 0.0)
        return TextRollout(
            steps=(*self.steps, end),
            seed=self.seed,
            score=self.now.score,
            max_score=self.now.max_score or None,
            won=self.now.won,
            lost=self.now.lost,
            timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
            **self.about,
        )


def _sent(step: TextStepRecord) -> bool:
    """Whether the game heard the command."""
    return not step.system and "question" not in step.texts


def _record(step: TextStep, decision: Decision, reward: float) -> TextStepRecord:
    return TextStepRecord(
        obs=step.obs,
        command=decision.command,
        reward=reward,
        score=step.score,
        labels=decision.labels,
        texts=dict(decision.texts),
        admissible=step.admissible,
        inventory=step.inventory,
        location=step.location,
        expert=step.expert,
        noise=decision.noise,
    )
