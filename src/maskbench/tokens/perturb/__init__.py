"""Changes to what an instruction says: composable transforms of prompts, before they become tokens (VIMA spec 3.5).

Every transform is a pure function of the prompt and a generator. Placeholders keep their pictures; masks come afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from maskbench.errors import ConfigError, did_you_mean
from maskbench.prompt import Prompt
from maskbench.tokens.perturb.instruction import different_instruction
from maskbench.tokens.perturb.nonsense import gobbledygook_tokens, gobbledygook_words, swapped_words, unknown_words
from maskbench.tokens.perturb.paraphrase import paraphrase
from maskbench.tokens.perturb.textual import GENERIC, textual
from maskbench.tokens.wordpieces import Tokeniser, WordPieces

#: ``(prompt, task, generator)`` to a prompt; ``task`` is the name of the template that the prompt was made from.
Transform = Callable[[Prompt, str, np.random.Generator], Prompt]


def transforms(tokeniser: Tokeniser | None = None) -> Mapping[str, Transform]:
    """Every transform by name. ``tokeniser`` counts the pieces of ``gobbledygook_tokens``."""
    pieces = tokeniser or WordPieces()

    def plain(f: Callable[[Prompt, np.random.Generator], Prompt]) -> Transform:
        return lambda prompt, task, random: f(prompt, random)

    return {
        "noop": lambda prompt, task, random: prompt,
        "reworded": paraphrase,
        "gobbledygook_word": plain(gobbledygook_words),
        "gobbledygook_tokens": plain(partial(gobbledygook_tokens, tokeniser=pieces)),
        "swapped_words": plain(swapped_words),
        "unknown_words": plain(unknown_words),
        "textual": partial(textual, noun="name", texture=True),
        "textual_no_noun": partial(textual, noun="none", texture=True),
        "textual_no_texture": partial(textual, noun="name", texture=False),
        "textual_generic_noun": partial(textual, noun="generic", texture=True),
        "different_instruction": different_instruction,
    }


#: Names that transforms may have in configurations; chains are lists of them.
NAMES = tuple(transforms())


class Perturbation:
    """Transforms one after the other, each with a generator of its own, so that adding one does not change the others."""

    def __init__(self, names: Sequence[str], tokeniser: Tokeniser | None = None) -> None:
        known = transforms(tokeniser)
        for name in names:
            if name not in known:
                raise ConfigError(f"no change of prompts is called '{name}'. {did_you_mean(name, known)}")
        self.names = tuple(n for n in names if n != "noop")
        self._chain = [known[n] for n in self.names]

    def __call__(self, prompt: Prompt, task: str, seed: Sequence[int]) -> Prompt:
        """The changed prompt; ``seed`` is its own, of any number of integers."""
        for i, change in enumerate(self._chain):
            prompt = change(prompt, task, np.random.default_rng([*seed, i]))
        return prompt


__all__ = ["GENERIC", "NAMES", "Perturbation", "Transform", "transforms"]
