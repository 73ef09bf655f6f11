"""What observations and the pictures of prompts share: one encoder of objects, or of whole pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.models.vision import Eye, ObjectEncoder, PictureEncoder
from maskbench.tokens.prompt import PICTURE_TOKENS, PromptTokens, Visual
from maskbench.trajectory import Factor


@dataclass(frozen=True)
class SightOptions:
    """How pictures become tokens (VIMA spec 2.1, 2.6): what of (``Visual``), by which eye, and its size; ``features`` is the
    width of an object's features and of its box's, before they are joined;
    ``waves``: octaves of sines that say where a box is (published: 0)."""

    kind: Visual = "objects"
    eye: Eye = "vit"
    width: int = 96
    layers: int = 2
    n_head: int = 4
    patch: int = 16
    features: int = 96
    waves: int = 7


class Sight(nn.Module):
    """Cells ``(B, T, V, n, OBJECT_BYTES)`` of any number of slots, or pictures ``(B, T, V, 3, 64, 128)``, to tokens."""

    def __init__(self, factor: Factor, n_embd: int, options: SightOptions) -> None:
        super().__init__()
        self.objects = options.kind == "objects"
        expected = "objects" if self.objects else "image"
        if factor.kind != expected:
            raise ConfigError(
                f"model.sight.kind={options.kind} reads {expected} factors; '{factor.name}' is of kind {factor.kind}. "
                "Prepare the data for the same kind."
            )
        size = (options.width, options.layers, options.n_head)
        self.kind = options.kind
        if self.objects:
            self.encoder: nn.Module = ObjectEncoder(
                n_embd, *size, options.features, options.features, options.patch, options.eye, options.waves
            )
            self.width = n_embd
        else:
            self.encoder = PictureEncoder(options.kind, n_embd, *size)
            self.width = self.encoder.width

    def tokens(self, cells: Tensor) -> int:
        """Tokens of a timestep, unseen ones included."""
        return cells.shape[2] * cells.shape[3] if self.objects else PICTURE_TOKENS[self.kind]

    def seen(self, cells: Tensor) -> Tensor:
        """``(B, T, tokens)`` bool: slots that a view shows; whole pictures are always seen."""
        if self.objects:
            return (cells[..., -1] > 0.5).flatten(2)
        return torch.ones(*cells.shape[:2], self.tokens(cells), dtype=torch.bool, device=cells.device)

    def forward(self, cells: Tensor, index: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """States ``(K, width)`` of the tokens at ``index``: row, timestep and token, ``(K,)`` each."""
        row, time, token = index
        if self.objects:
            return self.encoder(cells.flatten(2, 3)[row, time, token], token // cells.shape[3])
        b, t = cells.shape[:2]
        return self.encoder(cells.flatten(0, 1)).unflatten(0, (b, t))[row, time, token]

    def of_prompt(self, prompt: PromptTokens, row: Tensor, at: Tensor) -> Tensor:
        """States ``(K, width)`` of the image tokens at ``(row, at)``."""
        source = prompt.source[row, at]
        if self.objects:
            return self.encoder(prompt.pictures[source], prompt.view[row, at])
        return self.encoder(prompt.pictures).flatten(0, 1)[source]
