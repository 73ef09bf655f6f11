"""What the Z-machine Standard 1.1 says about a story's memory: score, objects and dictionary of files that nobody listed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ALPHABETS = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", " \n0123456789.,!?_#'\"/\\-:()")


def _word(memory: np.ndarray, address: int) -> int:
    return int(memory[address]) << 8 | int(memory[address + 1])


def _signed(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value


@dataclass(frozen=True)
class Story:
    """Where a story keeps things. ``version`` 1 to 8; addresses are bytes of its memory."""

    version: int
    globals_at: int
    objects_at: int
    dictionary_at: int
    counts_score: bool
    abbreviations_at: int

    @classmethod
    def of(cls, memory: np.ndarray) -> Story:
        """Reads the header (section 11 of the Standard)."""
        flags = int(memory[1])
        return cls(int(memory[0]), _word(memory, 12), _word(memory, 10), _word(memory, 8), not flags & 2, _word(memory, 24))

    def status(self, memory: np.ndarray) -> tuple[int, int, int] | None:
        """(location object, score, turns) of a version 3 story that counts a score, else None: only there does the Standard
        (8.2.3) fix the first three globals."""
        if self.version > 3 or not self.counts_score:
            return None
        location, score, turns = (_signed(_word(memory, self.globals_at + 2 * i)) for i in range(3))
        return location, score, turns

    def world(self, memory: np.ndarray) -> bytes:
        """Hash of the object table: where everything is, and in which state (12.3)."""
        start, size, pointer = (62, 9, 7) if self.version <= 3 else (126, 14, 12)
        first = self.objects_at + start
        end, at = len(memory), first
        while at + size <= end:  # entries run up to the first property table
            end = min(end, _word(memory, at + pointer))
            at += size
        return hashlib.blake2b(memory[first:at].tobytes(), digest_size=16).digest()

    @property
    def letters(self) -> int:
        """Letters by which words are told apart."""
        return 6 if self.version <= 3 else 9

    def words(self, memory: np.ndarray) -> frozenset[str]:
        """The dictionary, each word cut to ``letters`` (section 13)."""
        at = self.dictionary_at
        at += 1 + int(memory[at])
        size, count = int(memory[at]), abs(_signed(_word(memory, at + 1)))
        coded = 4 if self.version <= 3 else 6
        return frozenset(self._text(memory, at + 3 + i * size, coded // 2).rstrip() for i in range(count))

    def object_name(self, memory: np.ndarray, number: int) -> str:
        """Short name of an object (12.4); empty for number 0."""
        if number < 1:
            return ""
        start, size, pointer = (62, 9, 7) if self.version <= 3 else (126, 14, 12)
        properties = _word(memory, self.objects_at + start + (number - 1) * size + pointer)
        return self._text(memory, properties + 1, int(memory[properties])).rstrip()

    def _text(self, memory: np.ndarray, at: int, words: int) -> str:
        """``words`` of packed letters, abbreviations (3.3) written out."""
        fives = [(_word(memory, at + 2 * i) >> shift) & 31 for i in range(words) for shift in (10, 5, 0)]
        out, plain = "", list[int]()
        letters = iter(fives)
        for letter in letters:
            if letter in (1, 2, 3) and not (plain and plain[-1] in (4, 5)):
                entry = _word(memory, self.abbreviations_at + 2 * (32 * (letter - 1) + next(letters, 0))) * 2
                length = 1
                while not memory[entry + 2 * (length - 1)] & 0x80:
                    length += 1
                out, plain = out + _decode(plain) + self._text(memory, entry, length), []
            else:
                plain.append(letter)
        return out + _decode(plain)


def _decode(fives: Sequence[int]) -> str:
    """Text of five-bit letters without abbreviations (section 3)."""
    out, alphabet, skip = "", 0, 0
    for i, letter in enumerate(fives):
        if skip:
            skip -= 1
        elif letter in (4, 5):
            alphabet = letter - 3
            continue
        elif letter == 6 and alphabet == 2 and i + 2 < len(fives):
            out += chr(fives[i + 1] << 5 | fives[i + 2])
            skip = 2
        elif letter >= 6:
            out += _ALPHABETS[alphabet][letter - 6]
        elif letter == 0:
            out += " "
        alphabet = 0
    return out


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: Commands without an object that may change the world.
PLAIN = (
    *_words(
        "north south east west northeast northwest southeast southwest up down in out wait jump pray swim climb enter "
        "exit launch land"
    ),
    *("take all", "drop all"),
)
#: Verbs with one object, by how often they matter.
ONE = _words(
    "take open drop read push pull move turn light climb enter eat drink close lift unlock wear raise lower ring wind "
    "rub wave touch search fill examine extinguish board disembark burn kick break press untie"
)
#: Verbs with two objects: the verb and, behind the stroke, the word between them.
TWO = _words(
    "put/in put/on unlock/with attack/with kill/with give/to tie/to turn/with fill/with light/with open/with cut/with "
    "throw/at dig/with burn/with inflate/with insert/in pour/on move/with"
)
_NEVER_NOUNS = frozenset(PLAIN) | frozenset(
    _words(
        "the a an and of with from here there all it is are to at you your i me my go see can by for into onto under no "
        "yes not but then score look inventory quit restart restore save"
    )
)
#: Nouns that are tried at most, those read last first.
_MOST_NOUNS = 12


def candidates(text: str, words: frozenset[str], letters: int) -> list[str]:
    """Commands worth trying where ``text`` (room and inventory) was read: the story's own verbs with the nouns in sight."""

    def known(word: str) -> bool:
        return word[:letters] in words

    nouns: dict[str, None] = {}
    for token in "".join(c if c.isalnum() or c == "-" else " " for c in text.lower()).split():
        if known(token) and token not in _NEVER_NOUNS and len(token) > 1:
            nouns.pop(token, None)
            nouns[token] = None
    names = list(nouns)[::-1][:_MOST_NOUNS]  # the noun of an adjective and a noun comes first
    found = [command for command in PLAIN if all(known(word) for word in command.split())]
    found += [f"{verb} {noun}" for verb in ONE if known(verb) for noun in names]
    found += [
        f"{verb} {a} {between} {b}"
        for verb, between in (pair.split("/") for pair in TWO)
        if known(verb) and known(between)
        for a in names
        for b in names
        if a != b
    ]
    return found
