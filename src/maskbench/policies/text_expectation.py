"""What a text model foretells of recorded episodes, beside what happened (TTM spec 3.4 and 7).

Each span that a scheme predicts - the observation that follows, the expectation, the command - is written greedily behind the
true text up to there, and compared with the span that stood there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch

from maskbench.masking.text import TextScheme, pieces
from maskbench.models.language import LanguageModel, Reading
from maskbench.text.encoding import Encoding
from maskbench.text.lexicon import Lexicon
from maskbench.text.rollout import TextRollout
from maskbench.text.tokenizer import END

#: Longest span that is written, in tokens.
LONGEST = 120
#: Episodes that are read together.
_ROWS = 16


@dataclass(frozen=True)
class Foretold:
    """A span of a recorded episode: what the model wrote, what stood there, and -log p per token of the latter.

    episode, step: where it stands; ``factor`` ``obs``: an observation that was only read, whose ``nats`` are its surprise.
    """

    episode: int
    step: int
    factor: str
    written: str
    actual: str
    nats: float

    @property
    def exact(self) -> bool:
        return self.written.split() == self.actual.split()

    @property
    def f1(self) -> float:
        return token_f1(self.written, self.actual)


def token_f1(written: str, actual: str) -> float:
    """F1 of the words that two texts share, each as often as it occurs; 1 for two empty texts."""
    one, other = Counter(written.split()), Counter(actual.split())
    shared = sum((one & other).values())
    total = sum(one.values()) + sum(other.values())
    return 2 * shared / total if total else 1.0


@dataclass
class _Piece:
    """``tokens`` include the tag and, where ``asked``, the end; ``learnt``: an observation that the model learnt to foresee."""

    factor: str
    step: int
    tokens: list[int]
    asked: bool
    learnt: bool
    lexicon: Lexicon | None


def foretell(
    model: LanguageModel, encoding: Encoding, scheme: TextScheme, rollouts: Sequence[TextRollout], longest: int = LONGEST
) -> list[Foretold]:
    """Every predicted span of ``rollouts`` up to the model's context, and the surprise of every observation where the scheme
    learns observations."""
    found: list[Foretold] = []
    for first in range(0, len(rollouts), _ROWS):
        part = rollouts[first : first + _ROWS]
        lines = [_line(encoding, scheme, r, Random(f"foretell/{first + i}")) for i, r in enumerate(part)]
        found += _chunk(model, encoding, lines, first, longest)
    return found


def _line(encoding: Encoding, scheme: TextScheme, rollout: TextRollout, random: Random) -> list[_Piece]:
    lexicon = Lexicon(encoding.common, random) if encoding.common is not None else None
    special, end = encoding.tokenizer.specials, encoding.tokenizer.specials[END]
    line, steps, met, total = [], rollout.visible, -1, 0
    for piece in pieces(scheme, rollout, encoding.buckets, random):
        if lexicon is not None and piece.step > met:
            met = piece.step
            lexicon.meet(steps[met].obs, steps[met].admissible or ())
        text = lexicon.hide(piece.span.text) if lexicon is not None else piece.span.text
        tokens = [special[f"<{piece.span.tag}>"], *encoding.tokenizer.encode(text), *[end] * piece.closed]
        total += len(tokens)
        if total + LONGEST > encoding.context:
            break
        learnt = piece.weight > 0
        line.append(_Piece(piece.span.tag, piece.step, tokens, piece.closed and learnt, not piece.closed and learnt, lexicon))
    return line


def _chunk(model: LanguageModel, encoding: Encoding, lines: list[list[_Piece]], first: int, longest: int) -> list[Foretold]:
    reading = Reading(model)
    reading.grow(len(lines))
    found: list[Foretold] = []
    for at in range(max(map(len, lines), default=0)):
        live = [i for i, line in enumerate(lines) if at < len(line)]
        asked = [i for i in live if lines[i][at].asked]
        _read(reading, live, [lines[i][at].tokens[:1] for i in live])
        written = _write(reading, encoding, asked, longest)
        nats = _read(reading, live, [lines[i][at].tokens[1:] for i in live])
        for i, cost in zip(live, nats, strict=True):
            piece = lines[i][at]
            if i in written or piece.learnt:
                actual = piece.tokens[1 : len(piece.tokens) - piece.asked]
                texts = [encoding.tokenizer.decode(t) for t in (written.get(i, []), actual)]
                if piece.lexicon is not None:
                    texts = [piece.lexicon.show(t) for t in texts]
                found.append(Foretold(first + i, piece.step, piece.factor, texts[0], texts[1], cost))
    return found


def _read(reading: Reading, slots: Sequence[int], texts: Sequence[list[int]]) -> list[float]:
    """Reads a text in each slot; -log p per token."""
    kept = [(slot, text) for slot, text in zip(slots, texts, strict=True) if text]
    costs = {slot: 0.0 for slot in slots}
    if kept:
        device = reading.last.device
        counts = torch.tensor([len(text) for _, text in kept])
        tokens = torch.zeros(len(kept), int(counts.max()), dtype=torch.int64)
        for i, (_, text) in enumerate(kept):
            tokens[i, : len(text)] = torch.tensor(text)
        rows = torch.tensor([slot for slot, _ in kept], device=device)
        logp = reading.read(rows, tokens.to(device), counts.to(device)).cpu()
        costs |= {slot: -float(logp[i, : len(text)].mean()) for i, (slot, text) in enumerate(kept)}
    return [costs[slot] for slot in slots]


def _write(reading: Reading, encoding: Encoding, slots: Sequence[int], longest: int) -> dict[int, list[int]]:
    """The likeliest continuation of each slot up to its end, which the cache forgets again."""
    lengths, last = reading.lengths.clone(), reading.last.clone()
    end, live = encoding.tokenizer.specials[END], list(slots)
    written: dict[int, list[int]] = {slot: [] for slot in slots}
    while live:
        best = reading.next(torch.tensor(live, device=reading.last.device)).argmax(-1).tolist()
        for slot, token in zip(live, best, strict=True):
            written[slot].append(token)
        live = [slot for slot in live if written[slot][-1] != end and len(written[slot]) < longest]
        if live:
            _read(reading, live, [written[slot][-1:] for slot in live])
    reading.rewind(lengths, last)
    return {slot: [t for t in tokens if t != end] for slot, tokens in written.items()}
