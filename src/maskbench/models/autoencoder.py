"""The masked autoencoder of MAE, MaskDP and MTM: the encoder sees visible tokens only, the decoder all positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from maskbench.masking.scheme import MaskSet
from maskbench.models.embedding import CellEmbedding, Hidden
from maskbench.models.encoder import padding_keys
from maskbench.models.heads import Head
from maskbench.models.positions import build_positions
from maskbench.models.products import linear
from maskbench.models.ragged import rows_of, spread, transform
from maskbench.models.sequence import SequenceModel
from maskbench.models.transformer import Transformer, initialise
from maskbench.tokens.layout import TokenLayout
from maskbench.trajectory import Window


class Autoencoder(SequenceModel):
    """Encoder on the visible tokens, mask tokens elsewhere, decoder, heads.

    style: ``maskdp`` (spec 2.1 - 2.5): halved sin-cos positions over the token index, one mask token, one Linear per stream
           in front of the decoder. ``mtm`` (spec 6.1): positions over the timestep, a learned embedding per stream and a
           mask token per stream.
    """

    def __init__(
        self,
        layout: TokenLayout,
        heads: Mapping[str, Head],
        n_enc_layer: int = 3,
        n_dec_layer: int = 2,
        n_head: int = 4,
        n_embd: int = 256,
        n_inner: int | None = None,
        dropout: float = 0.0,
        style: Literal["maskdp", "mtm"] = "maskdp",
        hidden: Hidden = "zero",
    ) -> None:
        super().__init__(layout, heads)
        s = len(layout.streams)
        self.mtm = style == "mtm"
        self.stretches = not self.mtm
        self.embed = CellEmbedding(layout, n_embd, hidden, self.codecs)
        self.positions = build_positions("sincos_half", layout.length if self.mtm else layout.num_tokens, n_embd)
        self.encoder = Transformer(n_enc_layer, n_head, n_embd, n_inner, dropout)
        self.mask_token = nn.Parameter(torch.randn(s if self.mtm else 1, n_embd) * 0.02)
        self.decoder_embed = nn.ModuleList(nn.Linear(n_embd, n_embd) for _ in range(s))
        self.decoder = Transformer(n_dec_layer, n_head, n_embd, n_inner, dropout, final_norm=self.mtm)
        if self.mtm:
            self.stream_embed = nn.Parameter(torch.randn(2, s, n_embd) * 0.02)  # encoder's and decoder's
        initialise(self, "xavier")

    def _place(self, layout: TokenLayout, side: int) -> Tensor:
        """``(N, D)``: where a token sits and, for MTM, what it is."""
        device = self.mask_token.device
        if not self.mtm:
            return self.positions(layout.num_tokens)
        time = self.positions(layout.length)[layout.token_timesteps.to(device)]
        return time + self.stream_embed[side, layout.token_streams.to(device)]

    def states(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor | None = None) -> Tensor:
        if at is not None and not torch.is_grad_enabled() and (window.valid is None or self.cuts_padding(window)):
            return self._answer(window, masks, layout, at)
        shown = layout.tokens_with(masks.visible)  # (B, N)
        z = self.representation(window, masks, layout)
        y = torch.where(shown[..., None], z, self._mask_tokens(layout).to(z.dtype))
        y = self._stream_linear(y, layout) + self._place(layout, 1)
        return self.decoder(y, keys=padding_keys(window, layout), at=at)

    def representation(self, window: Window, masks: MaskSet, layout: TokenLayout) -> Tensor:
        """The states of the encoder, which sees visible tokens alone."""
        x = layout.to_sequence(self.embed(window.values, masks.visible)) + self._place(layout, 0)  # (B, N, D)
        return self.encode(x, layout.tokens_with(masks.visible), masks.max_visible, masks.even)

    def cuts_padding(self, window: Window) -> bool:
        layout = self.layout.with_length(window.length)
        stays = layout.order == "time" and (self.mtm or layout.num_tokens <= self.layout.num_tokens)  # wherever a window is cut
        return stays and window.valid is not None and bool((window.valid[:, :-1] >= window.valid[:, 1:]).all())

    def _answer(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor) -> Tensor:
        """``states`` of few tokens, without gradients: nothing is padded, and each row's work depends on that row alone."""
        shown, streams = layout.tokens_with(masks.visible), layout.token_streams.to(at.device)
        x = layout.to_sequence(self.embed(window.values, masks.visible)) + self._place(layout, 0)
        seen = rows_of(shown.sum(1))
        token = shown.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[seen.row, seen.place]  # (K,), in order
        z = transform(self.encoder, x[seen.row, token], seen)  # (K, D)
        place = self._place(layout, 1)
        hidden = self._by_stream(self._mask_tokens(layout).expand(len(streams), -1), streams) + place  # (N, D)
        timesteps = torch.full_like(at[:, 0], layout.length) if window.valid is None else window.valid.sum(1)
        rows = rows_of(timesteps.clamp(min=1) * len(layout.streams))
        y = self._by_stream(z, streams[token]) + place[token]
        y, qkv = spread(self.decoder, hidden, y, rows.first[seen.row] + token, rows)
        return transform(self.decoder, y, rows, at, qkv)

    def _by_stream(self, y: Tensor, streams: Tensor) -> Tensor:
        """The Linear in front of the decoder on ``(K, D)``, by the stream of each token ``(K,)``."""
        found = linear(self.decoder_embed[0], y)
        for i, layer in enumerate(self.decoder_embed[1:], 1):
            found = torch.where((streams == i)[:, None], linear(layer, y), found)
        return found

    def encode(self, x: Tensor, shown: Tensor, bound: int | None, even: bool = False) -> Tensor:
        """Encoder states ``(B, N, D)`` of the visible tokens, computed on no more than ``bound`` tokens a row; the rest of the
        result is undefined. With a bound, shapes and kernels depend on it alone: a row's result is the same bits whatever
        the other rows show. A bound of N also keeps every token in its place."""
        if bound is not None and bound >= x.shape[1]:
            return self.encoder(x, keys=shown | ~shown.any(1, keepdim=True))
        count = shown.sum(1)
        keep = max(1, int(count.max()) if bound is None else bound)
        index = shown.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :keep]  # visible first, in order
        at = index[..., None].expand(-1, -1, x.shape[-1])
        keys = torch.arange(keep, device=x.device) < count[:, None].clamp(min=1)  # a row with nothing visible keeps one blank
        ragged = not even and (bound is not None or x.is_cuda or not bool(keys.all()))
        z = self.encoder(x.gather(1, at), keys=keys if ragged else None)
        return torch.zeros_like(x, dtype=z.dtype).scatter(1, at, z)

    def _mask_tokens(self, layout: TokenLayout) -> Tensor:
        """``(N, D)`` or ``(1, D)``."""
        return self.mask_token[layout.token_streams.to(self.mask_token.device)] if self.mtm else self.mask_token

    def _stream_linear(self, y: Tensor, layout: TokenLayout) -> Tensor:
        if len(self.decoder_embed) == 1:
            return self.decoder_embed[0](y)
        b, s = y.shape[0], len(layout.streams)
        grid = y.view(b, layout.length, s, -1) if layout.order == "time" else y.view(b, s, layout.length, -1).transpose(1, 2)
        return layout.to_sequence(torch.stack([lin(grid[:, :, i]) for i, lin in enumerate(self.decoder_embed)], 2))
