"""Hindsight labels without a person: read off the game, or proposed by a model and verified (spec §1.5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from maskbench.errors import ConfigError, did_you_mean
from maskbench.text.context import is_document
from maskbench.text.rollout import Label, TextRollout, TextStepRecord
from maskbench.text.values import THREE, Buckets, step_values

#: Responses to a command that changed nothing (spec §4.4): unknown words, absent things, impossible ways, questions back.
FAILURES = re.compile(
    r"(?i)(don't (?:know|understand)|didn't understand|not a verb|that's not something|can't see any|see no such|there is no|"
    r"can't go that way|you can't|isn't (?:here|available)|what do you want to|which do you mean|already|doesn't seem|"
    r"have to be holding|need to (?:take|be)|nothing happens|not possible)"
)

#: A labeller names, for the step at which a label would be written, the labels it writes there.
Labeller = Callable[[Sequence[TextStepRecord], TextRollout], list[tuple[int, Label]]]


def failed(response: str) -> bool:
    """Whether a game answered that a command could not be done."""
    return not response.strip() or bool(FAILURES.search(response))


def event(steps: Sequence[TextStepRecord], rollout: TextRollout) -> list[tuple[int, Label]]:
    """After every command that earned or cost points, or lost the game: what it was, back to the last such label."""
    out, last = [], 0
    for t in range(1, len(steps)):
        done = steps[t - 1]
        lost = rollout.lost and t == len(steps) - 1
        if done.reward > 0 or done.reward < 0 or lost:
            good = done.reward > 0 and not lost
            words = f"I got a point by: {done.command}." if good else f"I lost by: {done.command}."
            out.append((t, Label(words, t - last, 1.0 if good else 0.0, source="event")))
            last = t
    return out


def failure(steps: Sequence[TextStepRecord], rollout: TextRollout) -> list[tuple[int, Label]]:
    """After every command that did nothing."""
    return [
        (t, Label(f"That command did nothing: {steps[t - 1].command}.", 1, 0.0, source="failure"))
        for t in range(1, len(steps))
        if failed(steps[t].obs) and steps[t - 1].reward == 0
    ]


def reading(steps: Sequence[TextStepRecord], rollout: TextRollout) -> list[tuple[int, Label]]:
    """After a document was first read: its first sentence, or the recipe."""
    out = []
    seen: set[str] = set()
    for t in range(1, len(steps)):
        text = " ".join(steps[t].obs.split())
        if is_document(text) and text not in seen:
            seen.add(text)
            recipe = re.search(r"Ingredients:.*?(?=\s*(?:>|$))", text)
            words = recipe[0] if recipe else re.split(r"(?<=[.!?])\s", text)[0]
            out.append((t, Label(f"I read: {words}", 1, 0.5, source="reading")))
    return out


def recipe(steps: Sequence[TextStepRecord], rollout: TextRollout) -> list[tuple[int, Label]]:
    """After every rewarded command that carried out a line of the recipe read before: that line, behind the lines before it
    that are about the same food, word for word, so that foretelling it is copying. ``cook`` carries out the line about its food
    that is no way of cutting; which appliance that takes is for the player to learn."""
    out: list[tuple[int, Label]] = []
    lines: list[str] = []
    carried: set[int] = set()
    for t in range(1, len(steps)):
        listed = _DIRECTIONS.search(steps[t].obs)
        if listed and not lines:
            lines = [line for line in listed[1].split("\n") if line.strip()]
        done = steps[t - 1]
        if done.reward <= 0:
            continue
        at = next((i for i, x in enumerate(lines) if i not in carried and _carries_out(done.command, x.strip())), None)
        if at is not None:
            carried.add(at)
            food = _food(lines[at]) or (_food(lines[at - 1]) if at else "")
            first = next((i for i in range(at) if food and _food(lines[i]) == food), at)
            out.append((t, Label("\n".join(lines[first : at + 1]).strip(), 1, 1.0, source="recipe")))
    return out


def _food(line: str) -> str:
    return line.partition(" the ")[2].strip()


def _carries_out(command: str, line: str) -> bool:
    verb, _, rest = command.partition(" ")
    asked, food = line.partition(" the ")[0], _food(line)
    if not food:
        return command == line
    return rest.startswith(f"{food} with ") and (verb == asked or (verb == "cook" and asked not in _CUTS))


_DIRECTIONS = re.compile(r"Directions:\s*\n(.*)", re.DOTALL)
_CUTS = ("chop", "slice", "dice")


def outcome(steps: Sequence[TextStepRecord], rollout: TextRollout) -> list[tuple[int, Label]]:
    """At the end, about the whole game, where its maximum is known."""
    share, last = rollout.normalised_score, len(steps) - 1
    if share is None or last < 1:
        return []
    word = "won" if rollout.won else "lost" if rollout.lost else "stopped"
    words = f"I {word} with {rollout.score:g} of {rollout.max_score:g} points."
    return [(last, Label(words, last, min(max(share, 0.0), 1.0), source="outcome"))]


LABELLERS: dict[str, Labeller] = {"event": event, "failure": failure, "reading": reading, "recipe": recipe, "outcome": outcome}


def label(rollout: TextRollout, names: Iterable[str] = tuple(LABELLERS)) -> TextRollout:
    """The rollout with the labels of the named labellers behind those it has; earlier ones of the same names are replaced."""
    names = tuple(names)
    for name in names:
        if name not in LABELLERS:
            raise ConfigError(f"labeller '{name}' is unknown. {did_you_mean(name, LABELLERS)}")
    written = [found for name in names for found in LABELLERS[name](rollout.visible, rollout)]
    return add_labels(rollout, written, names)


def model_labels(
    rollout: TextRollout,
    propose: Callable[[Sequence[TextStepRecord]], Label | None],
    strategy: str = "rtg",
    buckets: Buckets = THREE,
) -> TextRollout:
    """Labels that ``propose`` (a trained model, format ``hindsight_labeling_str``) writes for each prefix, kept where the
    bucket of their value is that of what the game did to the steps they cover: a person's accuracy judgement, automatic."""
    steps = rollout.visible
    truth = step_values(rollout, strategy)
    kept = []
    for t in range(1, len(steps)):
        proposal = propose(steps[: t + 1])
        if proposal is None or proposal.value is None or not 1 <= proposal.length <= t:
            continue
        covered = [v for v in truth[t - proposal.length : t] if v is not None]
        if covered and buckets.index(sum(covered) / len(covered)) == buckets.index(proposal.value):
            kept.append((t, replace(proposal, source="model")))
    return add_labels(rollout, kept, ("model",))


def add_labels(rollout: TextRollout, written: Iterable[tuple[int, Label]], replacing: Iterable[str] = ()) -> TextRollout:
    """``written``: (visible step, label). Labels of the sources ``replacing`` go first."""
    gone = set(replacing)
    added: dict[int, list[Label]] = {}
    for t, new in written:
        added.setdefault(t, []).append(new)
    steps, number = [], 0
    for step in rollout.steps:
        if step.system:
            steps.append(step)
            continue
        kept = [x for x in step.labels if x.source not in gone]
        steps.append(replace(step, labels=(*kept, *added.get(number, ()))))
        number += 1
    return rollout.with_steps(steps)
