"""Prompts under masks: hiding their words or pictures is a scheme around any scheme (VIMA spec 3.5, 5.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskScheme, MaskSet, PromptMask, Returns, rand
from maskbench.tokens.layout import Attend, TokenLayout
from maskbench.tokens.prompt import LONGEST


@dataclass(frozen=True)
class PromptRule:
    """Probabilities with which the parts of a prompt are shown.

    text, visual: that of all its words, of all its pictures; each once per row. 0 and 0 disable both.
    both:   that of the prompt as a whole, drawn before.
    group:  that of each word and each picture of what is left.
    """

    text: float = 1.0
    visual: float = 1.0
    both: float = 1.0
    group: float = 1.0

    def __post_init__(self) -> None:
        for name in ("text", "visual", "both", "group"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"prompt.{name} is a probability; found {getattr(self, name)}")

    @property
    def shows_all(self) -> bool:
        return min(self.text, self.visual, self.both, self.group) == 1

    def draw(self, generator: Generator, batch: int) -> PromptMask | None:
        """One mask a row; None where everything is shown, and nothing is then drawn."""
        if self.shows_all:
            return None
        both, words, images = (
            rand(generator, 3, batch) < torch.tensor([[self.both], [self.text], [self.visual]], device=generator.device)
        ).unbind()
        groups: Tensor | None = rand(generator, batch, LONGEST) < self.group if self.group < 1 else None
        return PromptMask(words & both, images & both, groups)


class WithPrompt(MaskScheme):
    """Any scheme, with prompts shown as ``rule`` says. A scheme draws its own masks first, and the same ones as alone."""

    def __init__(self, scheme: MaskScheme, rule: PromptRule) -> None:
        self.scheme, self.rule = scheme, rule

    @property
    def attend(self) -> Attend:  # type: ignore[override]
        return self.scheme.attend

    @property
    def returns(self) -> Returns:  # type: ignore[override]
        return self.scheme.returns

    @property
    def hides(self) -> bool:  # type: ignore[override]
        return self.scheme.hides

    def outputs(self, layout: TokenLayout) -> tuple[str, ...]:
        return self.scheme.outputs(layout)

    def sample(self, generator: Generator, batch: int, layout: TokenLayout, step: int = 0) -> MaskSet:
        masks = self.scheme.sample(generator, batch, layout, step)
        return replace(masks, prompt=self.rule.draw(generator, batch))
