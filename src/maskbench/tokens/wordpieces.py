"""Words of prompts as numbers: a fixed vocabulary, so that no tokeniser has to be trained or fetched.

A word of the vocabulary is one piece. Any other is cut, from the left, into the longest pieces there are; single characters
are pieces, so that gibberish can be spelt and read back.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

from maskbench.prompt import PLACEHOLDER
from maskbench.tokens.lexicon import WORDS

PAD, END, UNKNOWN = 0, 1, 2
#: A placeholder, a run of letters, a run of digits, or one sign.
_UNIT = re.compile(rf"{PLACEHOLDER.pattern}|[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Tokeniser(Protocol):
    """Text to piece numbers; ``end`` closes every prompt."""

    @property
    def size(self) -> int: ...

    @property
    def end(self) -> int: ...

    def encode(self, text: str) -> Sequence[int | str]:
        """Numbers of the pieces of ``text``, in order; placeholders stand in it by name, as strings."""

    def pieces(self, word: str) -> Sequence[int]:
        """Numbers of the pieces of one word without placeholders."""

    def spell(self, pieces: Sequence[int]) -> str:
        """The word that these pieces make, without spaces."""


def units(text: str) -> list[str]:
    """Placeholders (in braces), words, numbers and signs of a text, in order."""
    return [m.group(0) for m in _UNIT.finditer(text)]


class WordPieces:
    """The fixed vocabulary of tabletop prompts: words (``put``) begin a unit, pieces of several letters or one (``##ab``)
    continue it. Upper and lower case are one."""

    end = END

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every piece by number."""
        signs = [chr(c) for c in range(33, 127) if not chr(c).isalpha()]
        pairs = ["".join(p) for p in itertools.product(_LETTERS, "aeiou")]
        heads = [*WORDS, *_LETTERS, *signs, *pairs]
        tails = [f"##{p}" for p in (*_LETTERS, *"0123456789", *pairs)]
        return tuple(dict.fromkeys(["<pad>", "</s>", "<unk>", *heads, *tails]))

    @cached_property
    def _number(self) -> dict[str, int]:
        return {piece: i for i, piece in enumerate(self.vocabulary)}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.vocabulary))

    @property
    def size(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str) -> list[int | str]:
        found: list[int | str] = []
        for unit in units(text):
            name = PLACEHOLDER.fullmatch(unit)
            found += [name[1]] if name else self.pieces(unit)
        return found

    def pieces(self, word: str) -> list[int]:
        found: list[int] = []
        word = word.lower()
        while word:
            prefix = "##" if found else ""
            stop = next((n for n in range(min(len(word), self._longest), 0, -1) if prefix + word[:n] in self._number), 0)
            if not stop:
                return [*found, UNKNOWN]
            found.append(self._number[prefix + word[:stop]])
            word = word[stop:]
        return found

    def spell(self, pieces: Sequence[int]) -> str:
        return "".join(self.vocabulary[i].removeprefix("##") for i in pieces)
