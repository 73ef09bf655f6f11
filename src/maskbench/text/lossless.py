"""Format ``v2``: tagged spans that survive the round trip whatever they hold (spec §2.3).

    <goal>get a high batch_fitness<obs>You see a table.<val><v9><exp>I read the recipe.<act>look cookbook<eos>

A span's text is escaped as in JSON, and ``<`` before the name of a tag too, so no text can be mistaken for one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from maskbench.errors import DataError

#: Names of spans. ``inv`` inventory, ``doc`` pinned document, ``mem`` retrieved memory, ``next`` the observation that follows.
TAGS = ("goal", "doc", "inv", "mem", "obs", "val", "exp", "sum", "len", "rew", "act", "next")
EOS = "<eos>"
_TAG = re.compile(rf"<({'|'.join((*TAGS, 'eos'))})>")
_LOOKALIKE = re.compile(rf"<(?=(?:{'|'.join((*TAGS, 'eos'))})>)")


@dataclass(frozen=True)
class Span:
    """One factor at one step, as text."""

    tag: str
    text: str

    def __post_init__(self) -> None:
        if self.tag not in TAGS:
            raise DataError(f"spans are called {', '.join(TAGS)}; found '{self.tag}'")


def render_spans(spans: Iterable[Span]) -> str:
    """All spans in order; every ``act`` is followed by ``<eos>``."""
    return "".join(f"<{s.tag}>{_escape(s.text)}{EOS if s.tag == 'act' else ''}" for s in spans)


def parse_spans(text: str) -> list[Span]:
    """The inverse of ``render_spans``. Raises DataError for text that no spans render to."""
    found = list(_TAG.finditer(text))
    if (text and not found) or (found and found[0].start() != 0):
        raise DataError(f"expected a tag at the start of '{text[:40]}'")
    spans = []
    for mark, following in zip(found, [*found[1:], None], strict=False):
        body = text[mark.end() : following.start() if following else len(text)]
        if mark[1] != "eos":
            spans.append(Span(mark[1], _unescape(body)))
        elif body:
            raise DataError(f"expected a tag after {EOS}; found '{body[:40]}'")
    return spans


def _escape(text: str) -> str:
    return _LOOKALIKE.sub(r"\\u003c", json.dumps(text, ensure_ascii=False)[1:-1])


def _unescape(body: str) -> str:
    try:
        return str(json.loads(f'"{body}"'))
    except json.JSONDecodeError as error:
        raise DataError(f"the span '{body[:40]}' is no escaped text: {error}") from error
