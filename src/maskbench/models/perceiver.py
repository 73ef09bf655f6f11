"""Perceiver: a few learned latents in place of many tokens (VIMA-Flamingo, VIMA spec 2.6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.errors import ConfigError


class PerceiverLayer(nn.Module):
    """Pre-norm attention of ``heads`` heads and an MLP that is as wide as its input. With ``crossing`` latents look at tokens,
    which have a norm of their own; else at themselves."""

    def __init__(self, width: int, heads: int, dropout: float, crossing: bool = False) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm, self.norm_up = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_tokens = nn.LayerNorm(width) if crossing else None
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out, self.up, self.down = (nn.Linear(width, width) for _ in range(3))

    def forward(self, latents: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Latents ``(M, n, D)``, tokens ``(M, k, D)``."""
        x = self.norm(latents)
        seen = x if tokens is None or self.norm_tokens is None else self.norm_tokens(tokens)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (self.query(x), self.key(seen), self.value(seen)))
        p = self.dropout if self.training else 0.0
        x = latents + self.out(F.scaled_dot_product_attention(q, k, v, dropout_p=p).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_up(x))))


class Perceiver(nn.Module):
    """Latents look at tokens once and then at each other, ``depth`` times, in ``blocks`` passes that share their weights.

    dropout: of attention, as published.
    """

    def __init__(self, width: int, latents: int, blocks: int, depth: int, heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"the perceiver's {heads} heads must divide n_embd; found {width}")
        self.blocks = blocks
        self.latents = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.look = PerceiverLayer(width, heads, dropout, crossing=True)
        self.think = nn.ModuleList(PerceiverLayer(width, heads, dropout) for _ in range(depth))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(M, k, D)`` to ``(M, latents, D)``."""
        x = self.look(self.latents.expand(len(tokens), -1, -1), tokens)
        for _ in range(self.blocks):
            for layer in self.think:
                x = layer(x)
        return x
