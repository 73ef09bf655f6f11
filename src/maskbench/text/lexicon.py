"""Names of things, and the tokens that stand for them (TTM spec 6.4).

A model that meets new foods in every game has to copy names from the recipe. With *entity ids* every rare thing is one token,
drawn anew in each episode, so that nothing can be learnt of a name but where it stands. Names come from admissible commands and
from lists of ingredients: a handicap, as the environment tells them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random

from maskbench.text.rollout import TextStepRecord
from maskbench.text.tokenizer import ENTITIES

_PARTS = re.compile(r" (?:from|with|on|into|in|to) ")
_INGREDIENTS = re.compile(r"Ingredients:\s*\n(.*?)\n\s*Directions:", re.DOTALL)


def names_in_commands(commands: Iterable[str]) -> set[str]:
    """Objects of commands: ``take red apple from fridge`` names a red apple and a fridge. Ways to go are no things."""
    found: set[str] = set()
    for command in commands:
        verb, _, rest = command.partition(" ")
        if rest and verb != "go":
            found.update(_PARTS.split(rest))
    return found


def names_in_text(text: str) -> set[str]:
    """Ingredients that a recipe lists, a line each."""
    listed = _INGREDIENTS.search(text)
    return {line.strip() for line in listed[1].split("\n") if line.strip()} if listed else set()


def common_names(episodes: Iterable[Sequence[TextStepRecord]], share: float = 0.3) -> frozenset[str]:
    """Names that a ``share`` of the episodes have: furniture and tools, which keep their words."""
    counts: Counter[str] = Counter()
    number = 0
    for steps in episodes:
        number += 1
        counts.update({name for s in steps for name in names_in_commands(s.admissible or ())})
    return frozenset(name for name, count in counts.items() if count >= share * max(number, 1))


class Lexicon:
    """The names of one episode and their tokens; names are given as they turn up."""

    def __init__(self, common: frozenset[str], random: Random) -> None:
        self.common = common
        self._free = random.sample(ENTITIES, len(ENTITIES))
        self._tokens: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def meet(self, text: str, commands: Iterable[str]) -> None:
        """Gives tokens to new names; where none is left, names stay words."""
        new = sorted((names_in_commands(commands) | names_in_text(text)) - self.common - self._tokens.keys())
        for name in new[: len(self._free)]:
            token = self._free.pop()
            self._tokens[name], self._names[token] = token, name
        if new:
            longest_first = sorted(self._tokens, key=len, reverse=True)
            self._pattern = re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b")

    def hide(self, text: str) -> str:
        """``text`` with tokens for names."""
        return self._pattern.sub(lambda m: self._tokens[m[1]], text) if self._pattern else text

    def show(self, text: str) -> str:
        """``text`` with names for tokens; tokens that stand for nothing stay."""
        return re.sub(r"@\d+", lambda m: self._names.get(m[0], m[0]), text)
