"""The pass in which a person judges machine-written hindsight (the original's ``label.py``, TTM spec 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from maskbench.app.text_play import Terminal
from maskbench.errors import DataError
from maskbench.text.rollout import TextRollout, TextStepRecord, read, write


@dataclass(frozen=True)
class Wanted:
    """Which rollouts are looked at; None = all."""

    run_id: int | None = None
    epoch: int | None = None
    env: str | None = None
    partitions: tuple[str, ...] | None = None

    def admits(self, rollout: TextRollout) -> bool:
        return (
            self.run_id in (None, rollout.run_id)
            and self.epoch in (None, rollout.epoch)
            and self.env in (None, rollout.env)
            and (self.partitions is None or rollout.partition in self.partitions)
        )


def judge(path: Path, kind: Literal["summary", "novel_expectation"], wanted: Wanted, terminal: Terminal) -> tuple[int, int]:
    """Asks about each machine-written text that was not judged yet, and writes the answers into its file as soon as the file is
    through, or the person stops (end of input). Returns how many were judged accurate (or replaced), and how many were asked.

    Raises DataError where there are no rollouts at ``path``.
    """
    files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    if not files or not all(f.is_file() for f in files):
        raise DataError(f"there are no rollouts at {path}")
    good = asked = 0
    for file in files:
        rollouts = list(read(file))
        answers = _Answers(terminal)
        judged = [_judged(r, kind, answers) if wanted.admits(r) and r.agent != "human" else r for r in rollouts]
        if judged != rollouts:
            write(file, judged)
        good, asked = good + answers.good, asked + answers.asked
        if answers.over:
            break
    terminal.show(f"{good} of {asked} {'accurate' if kind == 'summary' else 'replaced'}")
    return good, asked


class _Answers:
    """A person at a terminal, until they stop."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal, self.over, self.good, self.asked = terminal, False, 0, 0

    def ask(self, prompt: str) -> str:
        if self.over:
            return ""
        try:
            return self.terminal.ask(prompt)
        except EOFError:
            self.over = True
            return ""


def _judged(rollout: TextRollout, kind: str, answers: _Answers) -> TextRollout:
    steps = list(rollout.steps)
    for t in range(len(steps)):
        if not answers.over:
            steps[t] = _summary(steps, t, answers) if kind == "summary" else _expectation(steps, t, answers)
    return rollout.with_steps(steps)


def _summary(steps: list[TextStepRecord], t: int, answers: _Answers) -> TextStepRecord:
    labels = list(steps[t].labels)
    for i, label in enumerate(labels):
        if label.accurate is not None or answers.over:
            continue
        for step in _shown(steps, t - label.length, t):
            answers.terminal.show(step)
        answers.terminal.show(f"summary: {label.summary}")
        answer = ""
        while answer not in ("0", "1") and not answers.over:
            answer = answers.ask("accurate? (1/0):")
        if answer:
            labels[i] = replace(label, accurate=answer == "1")
            answers.asked, answers.good = answers.asked + 1, answers.good + (answer == "1")
    return replace(steps[t], labels=tuple(labels))


def _expectation(steps: list[TextStepRecord], t: int, answers: _Answers) -> TextStepRecord:
    said = steps[t].texts.get("hindsight_expectation")
    if not said or "novel_hindsight_expectation" in steps[t].texts:
        return steps[t]
    for step in _shown(steps, t, t + 4):
        answers.terminal.show(step)
    answers.terminal.show(f"expectation: {said}")
    better = answers.ask("replacement (empty = keep):")
    answers.asked += not answers.over
    if not better:
        return steps[t]
    answers.good += 1
    return replace(steps[t], texts={**steps[t].texts, "novel_hindsight_expectation": better})


def _shown(steps: list[TextStepRecord], start: int, stop: int) -> Iterator[str]:
    for step in steps[max(0, start) : stop]:
        if not step.system:
            yield f"{step.obs}\n> {step.command}"
