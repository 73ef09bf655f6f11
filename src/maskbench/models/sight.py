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
    """How pictures become tokens (VIMA spec 2.1, 2.6): what of (``Visual``), by which eye, and its size; ``features`` is the width
    of an object's features and of its box's, before they are joined."""

    kind: Visual = "objects"
    eye: Eye = "vit"
    width: int = 96
    layers: int = 2
    heads: int = 4
    patch: int = 16
    features: int = 96


class Sight(nn.Module):
    """Cells of the factor ``(..., V, n, OBJECT_BYTES)`` or ``(..., V, 3, 64, 128)`` to tokens; ``tokens`` of them a timestep."""

    def __init__(self, factor: Factor, n_embd: int, options: SightOptions) -> None:
        super().__init__()
        self.objects = options.kind == "objects"
        expected = "objects" if self.objects else "image"
        if factor.kind != expected:
            raise ConfigError(
                f"model.sight.kind={options.kind} reads {expected} factors; '{factor.name}' is of kind {factor.kind}. "
                "Prepare the data for the same kind."
            )
        size = (options.width, options.layers, options.heads)
        self.slots = factor.shape[1] if self.objects else 0
        self.tokens = factor.shape[0] * self.slots if self.objects else PICTURE_TOKENS[options.kind]
        if self.objects:
            self.encoder: nn.Module = ObjectEncoder(
                n_embd, *size, options.features, options.features, options.patch, options.eye
            )
            self.width = n_embd
        else:
            self.encoder = PictureEncoder(options.kind, n_embd, *size)
            self.width = self.encoder.width

    def seen(self, cells: Tensor) -> Tensor:
        """``(B, T, tokens)`` bool: slots that a view shows; whole pictures are always seen."""
        if self.objects:
            return (cells[..., -1] > 0.5).flatten(2)
        return torch.ones(*cells.shape[:2], self.tokens, dtype=torch.bool, device=cells.device)

    def forward(self, cells: Tensor, index: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """States ``(K, width)`` of the tokens at ``index``: row, timestep and token, ``(K,)`` each."""
        row, time, token = index
        if self.objects:
            return self.encoder(cells.flatten(2, 3)[row, time, token], token // self.slots)
        b, t = cells.shape[:2]
        return self.encoder(cells.flatten(0, 1)).view(b, t, self.tokens, -1)[row, time, token]

    def of_prompt(self, prompt: PromptTokens, row: Tensor, at: Tensor) -> Tensor:
        """States ``(K, width)`` of the image tokens at ``(row, at)``."""
        source = prompt.source[row, at]
        if self.objects:
            return self.encoder(prompt.pictures[source], prompt.view[row, at])
        return self.encoder(prompt.pictures).flatten(0, 1)[source]
