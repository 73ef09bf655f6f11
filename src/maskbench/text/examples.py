"""Training pairs from rollouts: every prefix of every admitted rollout, in one of the named formats (spec §1.4, §2)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from maskbench.text.admission import Admission
from maskbench.text.formats import Conditions, Example, Format, render
from maskbench.text.hindsight import ORIGINAL, Hindsight, Relabelling, trusted
from maskbench.text.lossless import Span, render_spans
from maskbench.text.rollout import GOAL, TextRollout
from maskbench.text.states import State, base_states, number, prefix_states
from maskbench.text.values import BATCH, THREE, Buckets, step_values


@dataclass(frozen=True)
class Job:
    """How pairs are made.

    strategy, buckets: what value a pair asks for, in which words.
    batch_fitness:     ``epoch`` means over rollouts of the same run, epoch, partition and environment; ``list`` over those of
                       one list of the pickle, as the original; ``none`` leaves it empty.
    current_batch:     False leaves it empty for the batch that is being trained.
    unlabelled:        the word for a step without a value; ``high`` in the original, by mistake.
    machine_needs_label: pairs of a machine's rollouts only where somebody trusted said something about the step.
    """

    admission: Admission = field(default_factory=Admission)
    relabelling: Relabelling = field(default_factory=Relabelling)
    strategy: str = "label_mean"
    buckets: Buckets = THREE
    batch_fitness: str = "epoch"
    current_batch: bool = True
    unlabelled: str = ""
    machine_needs_label: bool = True


#: The arguments that the original's shipped file was made with: epochs and the one engine are fixed in its source.
ORIGINAL_EPOCHS = (0, 5, 6, 7)
ORIGINAL_ENGINES = ("", "curie:ft-personal-2022-02-01-05-23-34")


def original_job(admission: Admission, current_batch: bool = True) -> Job:
    """The published code's behaviour, its mistakes included."""
    return Job(admission, ORIGINAL, batch_fitness="list", current_batch=current_batch, unlabelled="high")


@dataclass(frozen=True)
class Pair:
    """A rendered example with what it was made from. ``key`` is the prompt without what it asks for."""

    example: Example
    rollout: TextRollout
    step: int
    value: str
    key: str


def pairs(
    form: Format | None, rollouts: Sequence[TextRollout], job: Job, lists: Sequence[Hashable] | None = None
) -> Iterator[Pair]:
    """All pairs in the order of ``rollouts``; ``form=None`` renders ``v2``. ``lists`` names the list of each rollout."""
    batches = _batch_words(rollouts, job, lists)
    for index, rollout in enumerate(rollouts):
        if not job.admission.admits(rollout):
            continue
        believed = trusted(rollout)
        hindsight = Hindsight(believed.visible, job.relabelling)
        base = base_states(believed.visible)
        values = None if job.strategy == "label_mean" else step_values(believed, job.strategy)
        for current in range(1, len(base)):
            states, foresight = prefix_states(base, hindsight, current)
            if job.machine_needs_label and rollout.agent != "human" and not foresight.expectation:
                continue
            value = foresight.value if values is None else values[current]
            word = job.unlabelled if value is None else job.buckets.word(value)
            asked = Conditions(word, batches[index], number(rollout.score))
            example, plain = (
                render(form, states, c, GOAL) if form else render_v2(states, c) for c in (asked, Conditions("", "", ""))
            )
            yield Pair(example, rollout, current, word, plain.prompt)


def render_v2(states: Sequence[State], asked: Conditions) -> Example:
    """The whole prefix as tagged spans; the completion holds expectation, summary, length, value and command."""
    past = [Span("goal", GOAL)]
    for state in states[:-1]:
        past += [
            Span("obs", state.texts["obs"]),
            Span("exp", state.texts["hindsight_expectation"]),
            Span("act", state.command),
        ]
    last = states[-1]
    opening = [Span("obs", last.texts["obs"]), Span("val", asked.value)]
    fields = {"exp": "hindsight_expectation", "sum": "hindsight_summary", "len": "hindsight_length", "rew": "value"}
    answer = [Span(tag, last.texts[name]) for tag, name in fields.items()]
    predicted = {name: last.texts[name] for name in fields.values()} | {"action": last.command}
    return Example(render_spans(past + opening), render_spans([*answer, Span("act", last.command)]), predicted)


def _batch_words(rollouts: Sequence[TextRollout], job: Job, lists: Sequence[Hashable] | None) -> list[str]:
    if job.batch_fitness == "none":
        return [""] * len(rollouts)
    if job.batch_fitness == "list" and lists is not None:
        groups: Sequence[Hashable] = lists
    else:
        groups = [(r.run_id, r.epoch, r.partition, r.env) for r in rollouts]
    scores: dict[Hashable, list[float]] = {}
    for group, rollout in zip(groups, rollouts, strict=True):
        scores.setdefault(group, []).append(rollout.score)
    asked = job.admission

    def word(group: Hashable, rollout: TextRollout) -> str:
        current = rollout.epoch == asked.epoch and rollout.partition == asked.partition
        return "" if current and not job.current_batch else BATCH.word(sum(scores[group]) / len(scores[group]))

    return [word(g, r) for g, r in zip(groups, rollouts, strict=True)]
