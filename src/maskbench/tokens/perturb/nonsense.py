"""Instructions that mean nothing (CoGeLoT), or less than they did (VIMA's corrupted prompts)."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from maskbench.prompt import PLACEHOLDER, Prompt
from maskbench.tokens.wordpieces import END, UNKNOWN, Tokeniser, units

#: Attempts at a word with as many pieces before one of as many letters is taken.
_ATTEMPTS = 200
#: What stands for a word that was taken out; no tokeniser knows it.
UNSAID = "¤"
_WORD = re.compile(r"[A-Za-z]+")


def split(text: str) -> list[str]:
    """Placeholders and words of a text, with the signs that touch them."""
    return text.split()


def is_placeholder(word: str) -> bool:
    """Whether a word holds a ``{placeholder}``, the signs around it included."""
    return PLACEHOLDER.search(word) is not None


def gobbledygook_words(prompt: Prompt, random: np.random.Generator) -> Prompt:
    """Every word that is no placeholder becomes random letters, as many as it has; then these words change places. Placeholders
    keep their index, the multiset of lengths stays."""
    letters = np.array(list(string.ascii_letters))
    return _each(prompt, random, lambda word: "".join(random.choice(letters, len(word))))


def gobbledygook_tokens(prompt: Prompt, random: np.random.Generator, tokeniser: Tokeniser) -> Prompt:
    """Every word that is no placeholder becomes random pieces that are read back as many as it had; then words change places.
    The number of tokens stays."""

    def gibberish(word: str) -> str:
        count = len([p for u in units(word) for p in tokeniser.pieces(u)])
        for _ in range(_ATTEMPTS):
            drawn = tokeniser.spell(random.integers(END + 2, tokeniser.size, count).tolist()).strip()
            found = [p for u in units(drawn) for p in tokeniser.pieces(u)]
            if drawn and not drawn.isspace() and len(found) == count and "{" not in drawn and UNKNOWN not in found:
                return drawn
        return word[::-1] if len([p for u in units(word[::-1]) for p in tokeniser.pieces(u)]) == count else word

    return _each(prompt, random, gibberish)


def swapped_words(prompt: Prompt, random: np.random.Generator) -> Prompt:
    """Words that are no placeholders change places (VIMA's corrupted prompts)."""
    return _each(prompt, random, lambda word: word)


def unknown_words(prompt: Prompt, random: np.random.Generator, share: float = 0.25) -> Prompt:
    """A share of the words, drawn one by one, is taken out and replaced by the unknown token (VIMA's incomplete prompts)."""
    words = [w if is_placeholder(w) or random.random() >= share else _WORD.sub(UNSAID, w) for w in split(prompt.text)]
    return replace(prompt, text=" ".join(words))


def _each(prompt: Prompt, random: np.random.Generator, change: Callable[[str], str]) -> Prompt:
    words = split(prompt.text)
    places = [i for i, w in enumerate(words) if not is_placeholder(w)]
    fresh = [change(words[i]) for i in places]
    for i, j in zip(places, random.permutation(len(places)), strict=True):
        words[i] = fresh[j]
    return replace(prompt, text=" ".join(words))
