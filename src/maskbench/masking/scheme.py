"""The one contract of masking: a scheme draws, per row of a batch, what is visible and what is asked for.

Polarity is positive everywhere: True = visible, True = predicted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from maskbench.tokens.layout import Attend, TokenLayout
from maskbench.tokens.prompt import WORD, PromptTokens
from maskbench.trajectory import Window

#: Which returns-to-go training shows: none, the first of the window or every one; in all rows, or in half of them.
Returns = Literal["none", "first_half", "first", "all_half", "all"]


@dataclass(frozen=True)
class PromptMask:
    """Which tokens of ``B`` prompts are visible, drawn before the prompts are known.

    words, images: ``(B,)`` bool: whether any word (the closing one included), any picture is.
    groups:        ``(B, G)`` bool: whether the words and pictures are one by one, in the order of the prompt, or None for all;
                   those beyond the last are.
    """

    words: Tensor
    images: Tensor
    groups: Tensor | None = None

    def rows(self, index: Any) -> PromptMask:
        return PromptMask(self.words[index], self.images[index], None if self.groups is None else self.groups[index])

    def keep(self, prompt: PromptTokens) -> Tensor:
        """``(B, P)`` bool: visible tokens of these prompts."""
        kept = torch.where(prompt.kind == WORD, self.words[:, None], self.images[:, None]) & prompt.valid
        if self.groups is None:
            return kept
        inside = prompt.group.clamp(max=self.groups.shape[1] - 1)
        return kept & (self.groups.gather(1, inside) | (prompt.group >= self.groups.shape[1]))


@dataclass(frozen=True)
class MaskSet:
    """What a model may see and what it is asked.

    visible: ``(B, T, F)`` bool, cells given as input.
    predict: ``(B, T, F)`` bool, cells that enter the loss or are asked for.
    attend:  which tokens may look at which.
    max_visible: upper bound of visible tokens in any row where the scheme knows it without looking; autoencoders then
             need no synchronisation to size their input.
    even:    every row shows exactly ``max_visible`` tokens, so that attention needs no mask.
    prompt:  which tokens of the prompts are given as input, or None for all of them (``masking.prompt``).
    """

    visible: Tensor
    predict: Tensor
    attend: Attend = "bidirectional"
    max_visible: int | None = None
    even: bool = False
    prompt: PromptMask | None = None

    def rows(self, index: Any) -> MaskSet:
        """The same masks for some rows of the batch."""
        prompt = None if self.prompt is None else self.prompt.rows(index)
        return MaskSet(self.visible[index], self.predict[index], self.attend, self.max_visible, prompt=prompt)

    def within(self, window: Window) -> MaskSet:
        """Hides padding and cells that an episode lacks, and asks nothing of them."""
        cells = [m for m in (None if window.valid is None else window.valid[..., None], window.known) if m is not None]
        if not cells:
            return self
        real = cells[0] if len(cells) == 1 else cells[0] & cells[1]
        return replace(self, visible=self.visible & real, predict=self.predict & real, even=False)


class MaskScheme(ABC):
    """A rule that gives a ``MaskSet`` for any layout. The same object serves training, evaluation and rollouts.

    attend:  which tokens may look at which.
    returns: which returns-to-go it shows.
    hides:   whether it hides states and actions, so that a causal model that learned by it can be asked any task.
    """

    attend: Attend = "bidirectional"
    returns: Returns = "none"
    hides: bool = True

    def outputs(self, layout: TokenLayout) -> tuple[str, ...]:
        """Factors that the scheme may ask for: those that need a head."""
        return layout.spec.names

    @abstractmethod
    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        """Draws masks for ``batch`` rows on the generator's device.

        step: optimiser step, for schemes that cycle. The draw is a pure function of the generator's state and the step.
        """


def rand(generator: Generator, *shape: int) -> Tensor:
    """U[0, 1) float32 on the generator's device."""
    return torch.rand(*shape, generator=generator, device=generator.device)


def choose(generator: Generator, high: int, batch: int, low: int = 0) -> Tensor:
    """``(batch,)`` integers uniform on ``low .. high - 1``."""
    return torch.randint(low, high, (batch,), generator=generator, device=generator.device)


def cells(layout: TokenLayout, rules: Mapping[str, Tensor], batch: int, device: torch.device | str) -> Tensor:
    """``(B, T, F)`` bool from per-selector rules ``(B, T)`` or ``(T,)``; cells that no rule names are False.

    A selector is a role, a factor, or the part of a split factor; the most specific one wins, so that parts of a state
    can be masked apart. Selectors that match nothing are ignored: a scheme may speak of returns where there are none.
    """
    grid = torch.zeros(batch, layout.length, len(layout.spec), dtype=torch.bool, device=device)
    for i, f in enumerate(layout.spec):
        rule = next((rules[k] for k in (f.name, f.parent, f.role) if k in rules), None)
        if rule is not None:
            grid[:, :, i] = rule
    return grid
