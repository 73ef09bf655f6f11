"""From tokens of prompts to what a controller looks at: embeddings, an encoder over them, and a token that is always there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.models.t5 import T5Encoder, local_t5
from maskbench.models.vision import perceptron
from maskbench.tokens.prompt import IMAGE, WORD, PromptTokens

#: ``tiny_t5``: from scratch. ``bow``: the mean of the embeddings, a lower bound. ``t5``: a checkpoint in a local folder.
Text = Literal["tiny_t5", "bow", "t5"]


@dataclass(frozen=True)
class TextOptions:
    """How prompts are encoded (VIMA spec 6).

    width, layers, n_head: of ``tiny_t5``. path: folder of ``t5``. train_last: how many of its last blocks are trained (VIMA:
    2); None = all. dropout: of ``tiny_t5``.
    """

    kind: Text = "tiny_t5"
    width: int = 128
    layers: int = 2
    n_head: int = 4
    dropout: float = 0.1
    path: str | None = None
    train_last: int | None = 2


class PromptEncoder(nn.Module):
    """``PromptTokens`` to ``(B, 1 + P, D)``: a learned token in front, then the prompt's own.

    null_token: the token in front, kept whatever is hidden. Without it (as published) a prompt that is hidden altogether is
                looked at evenly, padding included.
    """

    def __init__(
        self,
        n_embd: int,
        options: TextOptions,
        vocabulary: int,
        picture_width: int,
        hidden: int = 768,
        null_token: bool = True,
    ) -> None:
        super().__init__()
        self.options, self.null_token = options, null_token
        self.encoder: T5Encoder | None = None
        width = options.width
        if options.kind == "t5":
            if options.path is None:
                raise ConfigError("model.text.kind=t5 needs model.text.path, a local folder with a T5 checkpoint")
            self.encoder, words = local_t5(options.path)
            width = self.encoder.width
            self.words = nn.Embedding.from_pretrained(words, freeze=True)
            if options.train_last is not None:
                self.encoder.freeze_except_last(options.train_last)
        else:
            self.words = nn.Embedding(vocabulary, width)
            nn.init.normal_(self.words.weight)
            if options.kind == "tiny_t5":
                self.encoder = T5Encoder(width, options.layers, options.n_head, dropout=options.dropout)
        self.null = nn.Parameter(torch.randn(width) * 0.5)
        self.pictures = perceptron(picture_width, hidden, hidden, width)
        self.out = nn.Identity() if width == n_embd else nn.Linear(width, n_embd, bias=False)

    def forward(
        self, prompt: PromptTokens, keep: Tensor, picture: Callable[[PromptTokens, Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """States ``(B, 1 + P, D)``, or ``(B, 1, D)`` of a bag of words, and which may be looked at, ``(B, 1 + P)`` bool.

        keep: ``(B, P)`` bool, visible tokens; what is not visible does not enter any sum.
        picture: ``(prompt, row, at)`` to the states ``(K, W)`` of image tokens, by what also encodes observations.
        """
        x = self.words(torch.where((prompt.kind == WORD) & keep, prompt.words, 0))
        row, at = ((prompt.kind == IMAGE) & keep).nonzero(as_tuple=True)
        if len(row):
            x = x.index_put((row, at), self.pictures(picture(prompt, row, at)).to(x.dtype))
        b, _, w = x.shape
        x = torch.cat([self.null.expand(b, 1, w).to(x.dtype), x], 1)
        keep = torch.cat([keep.new_full((b, 1), self.null_token), keep], 1)
        if self.encoder is not None:
            return self.out(self.encoder(x, keep, uniform=not self.null_token)), keep
        weight = keep.to(x.dtype)[..., None]
        return self.out((x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)), keep.new_ones(b, 1)
