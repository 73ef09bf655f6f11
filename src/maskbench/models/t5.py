"""The encoder of T5 (Raffel et al. 2020), small and from scratch or filled from a local checkpoint; keys are those of the
published checkpoints, so that these load without translation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.errors import ConfigError


class RootMeanSquareNorm(nn.Module):
    """Scales to unit root mean square; no mean, no bias."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps).to(x.dtype))


class SelfAttention(nn.Module):
    """Attention without scale; a learned bias per head and distance, owned by the first block, is added to its scores."""

    def __init__(self, width: int, d_kv: int, heads: int, buckets: int, has_bias: bool) -> None:
        super().__init__()
        self.heads, inner = heads, heads * d_kv
        self.q, self.k, self.v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, width, bias=False)
        if has_bias:
            self.relative_attention_bias = nn.Embedding(buckets, heads)
        nn.init.normal_(self.q.weight, std=(width * d_kv) ** -0.5)
        for linear in (self.k, self.v):
            nn.init.normal_(linear.weight, std=width**-0.5)
        nn.init.normal_(self.o.weight, std=inner**-0.5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (f(x).view(b, n, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype), scale=1.0)
        return self.o(y.transpose(1, 2).reshape(b, n, -1))


class _AttentionLayer(nn.Module):
    def __init__(self, width: int, d_kv: int, heads: int, buckets: int, has_bias: bool) -> None:
        super().__init__()
        self.SelfAttention = SelfAttention(width, d_kv, heads, buckets, has_bias)
        self.layer_norm = RootMeanSquareNorm(width)


class _Dense(nn.Module):
    def __init__(self, width: int, d_ff: int, gated: bool) -> None:
        super().__init__()
        if gated:
            self.wi_0, self.wi_1 = nn.Linear(width, d_ff, bias=False), nn.Linear(width, d_ff, bias=False)
        else:
            self.wi = nn.Linear(width, d_ff, bias=False)
        self.wo = nn.Linear(d_ff, width, bias=False)
        self.gated = gated
        for name, linear in self.named_children():
            assert isinstance(linear, nn.Linear)
            nn.init.normal_(linear.weight, std=(d_ff if name == "wo" else width) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x) if self.gated else F.relu(self.wi(x))
        return self.wo(inner)


class _DenseLayer(nn.Module):
    def __init__(self, width: int, d_ff: int, gated: bool) -> None:
        super().__init__()
        self.DenseReluDense = _Dense(width, d_ff, gated)
        self.layer_norm = RootMeanSquareNorm(width)


class _Block(nn.Module):
    def __init__(self, width: int, d_kv: int, heads: int, d_ff: int, buckets: int, has_bias: bool, gated: bool) -> None:
        super().__init__()
        self.layer = nn.ModuleList([_AttentionLayer(width, d_kv, heads, buckets, has_bias), _DenseLayer(width, d_ff, gated)])

    def forward(self, x: Tensor, mask: Tensor, drop: nn.Module) -> Tensor:
        attention, dense = self.layer
        x = x + drop(attention.SelfAttention(attention.layer_norm(x), mask))  # type: ignore[operator]
        return x + drop(dense.DenseReluDense(dense.layer_norm(x)))  # type: ignore[operator]


class T5Encoder(nn.Module):
    """Embedded tokens ``(B, P, W)`` to states ``(B, P, W)``; pre-norm, relative positions in ``buckets`` up to ``reach``."""

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        d_kv: int | None = None,
        d_ff: int | None = None,
        dropout: float = 0.1,
        buckets: int = 32,
        reach: int = 128,
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.buckets, self.reach = width, buckets, reach
        shape = (width, d_kv or width // heads, heads, d_ff or 4 * width, buckets)
        self.block = nn.ModuleList(_Block(*shape, i == 0, gated) for i in range(layers))
        self.final_layer_norm = RootMeanSquareNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, keep: Tensor, uniform: bool = False) -> Tensor:
        """keep ``(B, P)`` bool: tokens that may be looked at.

        uniform: rows that keep nothing look at everything alike, as additive masks make them do; they may not occur otherwise.
        """
        n = x.shape[1]
        bias = self.bias(n, x.device)
        hidden = torch.finfo(bias.dtype).min if uniform else -torch.inf
        mask = torch.where(keep[:, None, None], bias, torch.full((), hidden, device=x.device))  # (B, H, P, P)
        x = self.drop(x)
        for block in self.block:
            x = block(x, mask, self.drop)
        return self.drop(self.final_layer_norm(x))

    def bias(self, n: int, device: torch.device) -> Tensor:
        """``(1, H, n, n)``."""
        distance = torch.arange(n, device=device)[None] - torch.arange(n, device=device)[:, None]
        table = self.get_submodule("block.0.layer.0.SelfAttention.relative_attention_bias")
        return table(bucket_of(distance, self.buckets, self.reach)).permute(2, 0, 1)[None]

    def freeze_except_last(self, layers: int) -> None:
        """Trains the last blocks alone (VIMA trains 2)."""
        for block in list(self.block)[: max(0, len(self.block) - layers)]:
            block.requires_grad_(False)


def bucket_of(distance: Tensor, buckets: int, reach: int) -> Tensor:
    """Bucket of ``key - query``: exact for near ones, logarithmic up to ``reach``, half of the buckets for each direction."""
    half = buckets // 2
    near = half // 2
    size = distance.abs()
    far = near + (size.clamp(min=1).float() / near).log() / math.log(reach / near) * (half - near)
    return (distance > 0).long() * half + torch.where(size < near, size, far.long().clamp(max=half - 1))


def local_t5(folder: str | Path) -> tuple[T5Encoder, Tensor]:
    """Encoder and word embeddings ``(vocabulary, W)`` of a T5 checkpoint in a local folder: ``config.json`` beside
    ``model.safetensors`` or ``pytorch_model.bin``. Nothing is ever downloaded.

    Raises ConfigError where files are missing, or their tensors are not those of a T5 encoder.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} holds no config.json: point model.text.path at a local copy of a T5 checkpoint")
    about: Mapping[str, Any] = json.loads((folder / "config.json").read_text())
    encoder = T5Encoder(
        about["d_model"],
        about["num_layers"],
        about["num_heads"],
        about["d_kv"],
        about["d_ff"],
        about.get("dropout_rate", 0.1),
        about.get("relative_attention_num_buckets", 32),
        about.get("relative_attention_max_distance", 128),
        "gated" in str(about.get("feed_forward_proj", "relu")),
    )
    tensors = _tensors(folder)
    own = {k.removeprefix("encoder."): v for k, v in tensors.items() if k.startswith("encoder.")}
    own.pop("embed_tokens.weight", None)
    words = tensors.get("shared.weight", tensors.get("encoder.embed_tokens.weight"))
    missing = sorted(set(encoder.state_dict()) - set(own))
    if missing or words is None:
        raise ConfigError(f"{folder}: expected the tensors of a T5 encoder; '{(missing or ['shared.weight'])[0]}' is missing")
    encoder.load_state_dict(own)
    return encoder, words.float()


def _tensors(folder: Path) -> dict[str, Tensor]:
    if (folder / "model.safetensors").is_file():
        from safetensors.torch import load_file

        return load_file(folder / "model.safetensors")
    if (folder / "pytorch_model.bin").is_file():
        return dict(torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True))
    raise ConfigError(f"{folder} holds neither model.safetensors nor pytorch_model.bin")
