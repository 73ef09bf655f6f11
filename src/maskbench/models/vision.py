"""Pictures to tokens: a ViT over crops or whole views, and what VIMA and its baselines make of it (VIMA spec 2.1, 2.6)."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.models.perceiver import Perceiver
from maskbench.objects import CROP, CROP_BYTES, VIEWS

#: Mean and deviation of VIMA's pictures, channel by channel, of values on [0, 1].
MEAN, STD = (0.3471, 0.3429, 0.3383), (0.3011, 0.2961, 0.2956)
#: Pictures of models that read patches.
PICTURE = (64, 128)
#: ``vit`` as published, or three convolutions, which are faster on CPUs.
Eye = Literal["vit", "conv"]


def perceptron(*widths: int, gain: float | None = None) -> nn.Sequential:
    """Linear layers with ReLU between them, orthogonal weights, zero biases; ``gain`` of the last layer's weights."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        linear = nn.Linear(a, b)
        last = i == len(widths) - 2
        nn.init.orthogonal_(linear.weight, gain=gain if last and gain is not None else 2**0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear] if last else [linear, nn.ReLU()]
    return nn.Sequential(*layers)


class VisionBlock(nn.Module):
    """CLIP's block: pre-norm attention and MLP with the quick GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        nn.init.xavier_uniform_(self.qkv.weight)
        for linear in (self.qkv, self.out):
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, first: bool = False) -> Tensor:
        """``(K, N, W)`` to the same, or to ``(K, 1, W)`` where the first token alone is wanted."""
        k, n, w = x.shape
        y = self.ln_1(x)
        if first:
            wq, bq = self.qkv.weight[:w], self.qkv.bias[:w]
            q = F.linear(y[:, :1], wq, bq).view(k, 1, self.heads, -1).transpose(1, 2)
            kv = F.linear(y, self.qkv.weight[w:], self.qkv.bias[w:])
            key, v = kv.view(k, n, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
            x = x[:, :1]
        else:
            q, key, v = self.qkv(y).view(k, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, key, v).transpose(1, 2).flatten(2))
        h = self.up(self.ln_2(x))
        return x + self.down(h * torch.sigmoid(1.702 * h))


class VisionTransformer(nn.Module):
    """Pictures ``(K, 3, *size)`` uint8 or float on [0, 255] to features.

    cls: one more token, whose state alone is given: ``(K, D)``. Otherwise that of every patch, ``(K, patches, D)``.
    """

    def __init__(self, size: tuple[int, int], patch: int, width: int, layers: int, heads: int, out: int, cls: bool) -> None:
        super().__init__()
        if width % heads or size[0] % patch or size[1] % patch:
            raise ConfigError(
                f"a ViT of width {width} and patches of {patch} does not fit {heads} heads and pictures of {size}"
            )
        self.patch, self.cls = patch, cls
        patches = (size[0] // patch) * (size[1] // patch)
        scale = width**-0.5
        self.embed = nn.Linear(3 * patch * patch, width, bias=False)
        if cls:
            self.cls_token = nn.Parameter(scale * torch.randn(width))
        self.positions = nn.Parameter(scale * torch.randn(patches + cls, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(VisionBlock(width, heads) for _ in range(layers))
        self.projection = nn.Parameter(scale * torch.randn(width, out))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1) * 255, persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, pictures: Tensor) -> Tensor:
        x = (pictures.float() - self.mean) / self.std
        k, _, h, w = x.shape
        p = self.patch
        x = x.view(k, 3, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5).reshape(k, -1, 3 * p * p)  # (K, patches, 3 p p)
        x = self.embed(x)
        if self.cls:
            x = torch.cat([self.cls_token.expand(k, 1, -1), x], 1)
        x = self.ln_pre(x + self.positions)
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            x = block(x, first=self.cls and i == last)
        return self.ln_post(x[:, 0] if self.cls else x) @ self.projection


class ConvolutionalEye(nn.Module):
    """Three convolutions of stride 2 or 4 over crops ``(K, 3, 32, 32)``: ``(K, D)``."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width // 2, 4, 4),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 2, 2),
            nn.ReLU(),
            nn.Conv2d(width, width, 2, 2),
        )
        self.out = nn.Linear(width * 4, out)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1) * 255, persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, crops: Tensor) -> Tensor:
        return self.out(F.relu(self.layers((crops.float() - self.mean) / self.std)).flatten(1))


class ObjectEncoder(nn.Module):
    """Cells of objects, ``(K, OBJECT_BYTES)`` with the view ``(K,)`` of each, to tokens ``(K, D)``: the features of the crop
    and of the box, joined view by view. One eye serves all views.

    waves:     sines and cosines of every number of a box, octave after octave, beside the number (published: none): bins of
               positions are then found from few demonstrations.
    box_width: of the box's perceptron; the published model's is 768, as wide as the eye's features ``out``.
    """

    def __init__(
        self,
        n_embd: int,
        width: int,
        layers: int,
        heads: int,
        out: int,
        box_width: int,
        patch: int = 16,
        eye: Eye = "vit",
        waves: int = 0,
    ) -> None:
        super().__init__()
        vit = eye == "vit"
        self.eye = (
            VisionTransformer((CROP, CROP), patch, width, layers, heads, out, True) if vit else ConvolutionalEye(width, out)
        )
        self.waves = waves
        self.boxes = nn.ModuleList(perceptron(4 * (1 + 2 * waves), box_width, box_width, box_width) for _ in VIEWS)
        self.join = nn.ModuleList(nn.Linear(out + box_width, n_embd) for _ in VIEWS)
        self.register_buffer("extent", torch.tensor([256.0, 128.0, 128.0, 256.0]), persistent=False)
        self.extent: Tensor

    def forward(self, cells: Tensor, view: Tensor) -> Tensor:
        crops = self.eye(cells[:, :CROP_BYTES].reshape(-1, 3, CROP, CROP))  # (K, out)
        boxes = cells[:, CROP_BYTES:-1].float() / self.extent
        phases = (boxes[:, None] * (torch.pi * 2.0 ** torch.arange(self.waves, device=boxes.device))[:, None]).flatten(1)
        boxes = torch.cat([boxes, phases.sin(), phases.cos()], 1)
        tokens = crops.new_zeros(len(cells), self.join[0].out_features)
        for v, (box, join) in enumerate(zip(self.boxes, self.join, strict=True)):
            mine = (view == v).nonzero()[:, 0]
            tokens = tokens.index_copy(0, mine, join(torch.cat([crops[mine], box(boxes[mine])], -1)).to(tokens.dtype))
        return tokens


class PictureEncoder(nn.Module):
    """Whole pictures ``(M, V, 3, 64, 128)`` to tokens ``(M, k, D)``: all patches of both views, ``latents`` of them, or the two
    views' summaries in one token of twice the width.

    kind: ``patches`` (k = 16), ``perceiver`` (k = 4) or ``single`` (k = 1, width ``2 * n_embd``).
    """

    def __init__(self, kind: str, n_embd: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.kind = kind
        self.eye = VisionTransformer(PICTURE, 32, width, layers, heads, n_embd, kind == "single")
        self.latents = Perceiver(n_embd, 4, blocks=4, depth=4, heads=8) if kind == "perceiver" else None
        self.width = n_embd * (len(VIEWS) if kind == "single" else 1)

    def forward(self, pictures: Tensor) -> Tensor:
        m, v = pictures.shape[:2]
        x = self.eye(pictures.flatten(0, 1))
        if self.kind == "single":
            return x.reshape(m, 1, -1)
        x = x.reshape(m, v * x.shape[1], -1)  # (M, 16, D)
        return x if self.latents is None else self.latents(x)
