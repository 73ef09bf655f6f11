"""Schemes over the factors of a text episode: which spans are given, which are predicted, which are hidden (TTM spec 2.4).

A step reads ``[val] obs [exp sum len rew] act``. A given span is shown without a loss, a predicted one ends with ``<eos>`` and
is learnt, a hidden one is left out. One causal model serves all schemes; a mixture trains it on several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from maskbench.errors import ConfigError, did_you_mean
from maskbench.text.admission import Admission
from maskbench.text.context import is_document
from maskbench.text.encoding import Encoding
from maskbench.text.examples import Job, pairs
from maskbench.text.formats import get_format
from maskbench.text.hindsight import Hindsight, Relabelling
from maskbench.text.lexicon import Lexicon
from maskbench.text.lossless import Span
from maskbench.text.rollout import TextRollout
from maskbench.text.states import number
from maskbench.text.tokenizer import END
from maskbench.text.values import TEN, Buckets, step_values

#: Factors of a step in the order of the text; ``next`` is the observation that follows.
FACTORS = ("val", "obs", "exp", "sum", "len", "rew", "act", "next")
EPISODE_WISE = ("final",)


@dataclass(frozen=True)
class TextScheme:
    """given, predict: factors by name; all others are hidden.

    order:    of the factors in a step, where it is not that of ``FACTORS`` (``text_inverse`` shows what follows first).
    value:    value strategy and ``buckets`` its words; episode-wise values stand once, in front.
    learn:    ``clean``: commands drawn at random, and what they led to, are shown and not learnt (imitation); ``executed``:
              whatever was done is learnt, noise too (value conditioning needs that). They are two losses; a model is trained on
              one.
    observations: weight of the loss on observations, the forward model on the side.
    keep:     of several labels about a step, its expectation holds ``all``, or the ``nearest`` one.
    random:   a random subset of the factors of every step moves behind the rest (infilling by permutation).
    goal:     whether the goal stands in front.
    format:   train on windowed pairs of a named prompt format instead of whole episodes (the original's way); what is given and
              predicted is then the format's choice.
    """

    name: str = "text_bc"
    given: Sequence[str] = ("obs",)
    predict: Sequence[str] = ("act",)
    order: Sequence[str] = FACTORS
    value: str = "final"
    learn: Literal["clean", "executed"] = "clean"
    observations: float = 0.1
    keep: Literal["all", "nearest"] = "nearest"
    random: bool = False
    goal: bool = False
    format: str | None = None

    def __post_init__(self) -> None:
        for factor in (*self.given, *self.predict, *self.order):
            if factor not in FACTORS:
                raise ConfigError(f"text factor '{factor}' is unknown. {did_you_mean(factor, FACTORS)}")
        both = set(self.given) & set(self.predict)
        if both:
            raise ConfigError(f"text scheme '{self.name}' both gives and predicts {sorted(both)}: name each factor once")
        if self.format is not None:
            get_format(self.format)
        if self.learn not in ("clean", "executed"):
            raise ConfigError(f"text scheme learn='{self.learn}' is unknown. {did_you_mean(self.learn, ('clean', 'executed'))}")

    @property
    def uses(self) -> frozenset[str]:
        return frozenset((*self.given, *self.predict))

    def layout(self) -> list[str]:
        """Factors of a step in order, hidden ones left out."""
        return [f for f in self.order if f in self.uses]


@dataclass(frozen=True)
class Piece:
    """A span with its weight in the loss; ``closed`` ends with ``<eos>``, whose weight is the same. ``step`` is its step, -1
    before the first."""

    span: Span
    weight: float
    closed: bool
    step: int


def pieces(scheme: TextScheme, rollout: TextRollout, buckets: Buckets = TEN, random: Random | None = None) -> Iterator[Piece]:
    """A whole episode as one text: ``<goal> [<val>] (<obs> ... <act>)*`` (TTM spec 6.1). The last observation, which nobody
    answered, ends it."""
    steps = rollout.visible
    hindsight = Hindsight(steps, Relabelling(keep=scheme.keep)) if {"exp", "sum", "len", "rew"} & scheme.uses else None
    values = step_values(rollout, scheme.value) if "val" in scheme.uses else [None] * len(steps)
    whole = scheme.value in EPISODE_WISE
    aimed = ("exp", "act") if scheme.learn == "clean" else ()
    if scheme.goal:
        yield Piece(Span("goal", rollout.goal), 0.0, False, -1)
    if "val" in scheme.uses and whole and steps:
        yield _piece(scheme, "val", buckets.word(values[0]), -1)
    for t, step in enumerate(steps):
        texts = {"obs": step.obs, "act": step.command, "val": buckets.word(values[t])}
        if hindsight is not None:
            written = step.labels[-1] if step.labels else None
            texts |= {"exp": hindsight.future(t).expectation, "sum": written.summary if written else ""}
            texts |= {"len": str(written.length) if written else "", "rew": number(written.value) if written else ""}
        last = t + 1 == len(steps)
        if not last:
            texts["next"] = steps[t + 1].obs
        factors = scheme.layout()
        if scheme.random and random is not None:
            factors = _shuffled(factors, random)
        for factor in factors:
            if (factor == "val" and whole) or (factor == "next" and last) or (factor == "act" and not step.command):
                continue
            yield _piece(scheme, factor, texts[factor], t, quiet=step.noise and factor in aimed)


def _piece(scheme: TextScheme, factor: str, text: str, step: int, quiet: bool = False) -> Piece:
    predicted = factor in scheme.predict
    weight = 0.0 if quiet else 1.0 if predicted else scheme.observations if factor == "obs" else 0.0
    return Piece(Span(factor, text), weight, predicted, step)


def _shuffled(factors: list[str], random: Random) -> list[str]:
    """Infilling by permutation: a random subset moves behind the rest."""
    moved = [f for f in factors if f != "obs" and random.random() < 0.5]
    return [f for f in factors if f not in moved] + moved


def sequence(encoding: Encoding, scheme: TextScheme, rollout: TextRollout, random: Random) -> tuple[list[int], list[float]]:
    """Token ids and the weight of predicting each of them. Of an episode beyond the context a window of whole steps is drawn,
    behind the opening and the last document read before it: what play reads once it has outgrown the context."""
    if scheme.format is not None:
        return _pair(encoding, scheme, rollout, random)
    lexicon = Lexicon(encoding.common, random) if encoding.common is not None else None
    steps, met = rollout.visible, -1
    special, end = encoding.tokenizer.specials, encoding.tokenizer.specials[END]
    blocks: list[Block] = [([], []) for _ in range(len(steps) + 1)]  # the opening, then a step each
    for piece in pieces(scheme, rollout, encoding.buckets, random):
        if lexicon is not None and piece.step > met:
            met = piece.step
            lexicon.meet(steps[met].obs, steps[met].admissible or ())  # never the answer, which play does not know
        text = lexicon.hide(piece.span.text) if lexicon is not None else piece.span.text
        body = encoding.tokenizer.encode(text)
        ids, weights = blocks[piece.step + 1]
        ids += [special[f"<{piece.span.tag}>"], *body, *[end] * piece.closed]
        weights += [0.0, *[piece.weight] * (len(body) + piece.closed)]
    if sum(len(ids) for ids, _ in blocks) > encoding.context:
        blocks = _window(encoding, blocks, _documents(encoding, rollout, lexicon), random)
    tokens = [token for ids, _ in blocks for token in ids]
    losses = [weight for _, weights in blocks for weight in weights]
    return tokens[: encoding.context], losses[: encoding.context]


Block = tuple[list[int], list[float]]


def _documents(encoding: Encoding, rollout: TextRollout, lexicon: Lexicon | None) -> list[Block]:
    """For each step the last document read before it as a block without a loss; empty where there was none."""
    found: list[Block] = []
    last: Block = ([], [])
    for step in rollout.visible:
        found.append(last)
        if is_document(step.obs):
            text = lexicon.hide(step.obs) if lexicon is not None else step.obs
            ids = [encoding.tokenizer.specials["<doc>"], *encoding.tokenizer.encode(text)]
            last = ids, [0.0] * len(ids)
    return found


def _window(encoding: Encoding, blocks: list[Block], documents: list[Block], random: Random) -> list[Block]:
    """The opening, the document and the steps from a random one on, of which the last that is drawn lets the end be seen."""
    room = encoding.context - len(blocks[0][0])
    latest, rest = len(documents) - 1, len(blocks[-1][0])
    while latest > 0 and rest + len(blocks[latest][0]) + len(documents[latest - 1][0]) <= room:
        rest += len(blocks[latest][0])
        latest -= 1
    first = random.randint(0, latest)
    return [blocks[0], documents[first], *blocks[first + 1 :]]


def _pair(encoding: Encoding, scheme: TextScheme, rollout: TextRollout, random: Random) -> tuple[list[int], list[float]]:
    """One windowed pair, drawn among those of the episode: prompt without a loss, completion with it. Names stay words."""
    assert scheme.format is not None
    whole = replace(rollout, run_id=0, epoch=0, partition="teacher")  # admission was decided by the source
    job = Job(
        Admission(agents=None, splits=None, labelled=False),
        Relabelling(keep=scheme.keep),
        strategy=scheme.value,
        batch_fitness="none",
        machine_needs_label=False,
    )
    example = random.choice(list(pairs(get_format(scheme.format), [whole], job))).example
    prompt, completion = encoding.tokenizer.encode(example.prompt), encoding.tokenizer.encode(example.completion)
    prompt = prompt[-(encoding.context - len(completion)) :]
    return prompt + completion, [0.0] * len(prompt) + [1.0] * len(completion)
