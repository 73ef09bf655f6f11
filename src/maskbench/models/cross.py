"""Prompted decoders: VIMA's, that looks at the prompt by cross-attention, and its baselines', that read it first (VIMA spec 2).

prompt   | w w o o w . |                           one encoder, one learned token in front
history  | o o o  a | o o o  a | o o o  ...        objects of both views, then the action of each timestep
read                ^ a_0     ^ a_1    ^ a_2       at the last object of its timestep
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskSet, PromptMask
from maskbench.models.heads import Head
from maskbench.models.heads.poses import PosesHead
from maskbench.models.prompts import PromptEncoder, TextOptions
from maskbench.models.sequence import SequenceModel
from maskbench.models.sight import Sight, SightOptions
from maskbench.models.vision import perceptron
from maskbench.models.xattn import SIZES, Cache, Controller
from maskbench.tokens.layout import TokenLayout
from maskbench.tokens.poses import PoseCodec
from maskbench.tokens.prompt import LONGEST, LocalT5Tokeniser, PromptTokeniser, PromptTokens
from maskbench.tokens.wordpieces import Tokeniser, WordPieces
from maskbench.trajectory import Window

#: ``cross``: XAttnGPT. ``causal``, ``prefix``: the prompt in front of the history, read from left to right, or as a whole.
Conditioning = Literal["cross", "causal", "prefix"]


@dataclass(frozen=True)
class History:
    """Tokens of ``B`` histories, those that are no padding first.

    x:         ``(B, N, D)`` with positions. valid: ``(B, N)`` bool: may be looked at.
    group:     ``(B, N)`` int64: rank of the observation or action that a token is part of.
    read:      ``(B, 2 T)`` int64: token at which each token of the layout is read.
    """

    x: Tensor
    valid: Tensor
    group: Tensor
    read: Tensor


class CrossDecoder(SequenceModel):
    """XAttnGPT with everything around it.

    size:          a published one (``models.xattn.SIZES``) instead of n_embd, n_layer, n_head and cross_heads.
    conditioning:  how the prompt is looked at.
    history_length, prompt_length: rows of the position tables.
    action_width:  of the perceptron of each pose of an earlier action.
    groups:        ``token``: strictly causal. ``group``: all tokens of an observation see each other.
    readout:       ``valid``: at the last object that is seen. ``last``: at the last slot, as published, be it padding.
    pad_pictures:  every picture of a prompt takes as many places as the largest, as published.
    null_token:    a learned token in front of every prompt (``models.prompts``); without it as published.
    """

    attends = ("causal", "bidirectional")
    #: Computes all tokens of a history, padding too, so that shapes do not depend on a batch's contents (rollouts).
    whole: bool = False

    def __init__(
        self,
        layout: TokenLayout,
        heads: Mapping[str, Head],
        n_layer: int = 2,
        n_head: int = 4,
        n_embd: int = 128,
        cross_heads: int | None = None,
        size: str | None = None,
        dropout: float = 0.1,
        conditioning: Conditioning = "cross",
        sight: SightOptions | None = None,
        text: TextOptions | None = None,
        prompt_hidden: int = 128,
        prompt_length: int = LONGEST,
        history_length: int = 512,
        action_width: int = 64,
        groups: Literal["token", "group"] = "token",
        readout: Literal["valid", "last"] = "valid",
        null_token: bool = True,
        pad_pictures: bool = False,
    ) -> None:
        super().__init__(layout, heads)
        if size is not None:
            if size not in SIZES or SIZES[size][0] != n_embd:
                raise ConfigError(f"model.size={size}: expected one of {list(SIZES)}, with model.n_embd of that size")
            n_embd, n_layer, n_head, cross_heads = SIZES[size]
        self.obs, self.ee, self.action = _columns(layout)
        self.groups, self.readout, self.conditioning = groups, readout, conditioning
        self.prompt_length, self.null_token = prompt_length, null_token
        self.sight = Sight(layout.spec.factors[self.obs], n_embd, sight or SightOptions())
        self.effector = nn.Embedding(2, 2)
        self.fuse = nn.Linear(self.sight.width + 2, n_embd)
        head = heads.get(layout.spec.factors[self.action].name)
        width = layout.spec.factors[self.action].width
        self.codec = head.codec if isinstance(head, PosesHead) else PoseCodec(z=width == 14)
        parts = [p.stop - p.start for p in self.codec.parts]
        self.poses = nn.ModuleList(perceptron(n, action_width, action_width) for n in parts)
        self.act = nn.Linear(4 * action_width, n_embd)
        self.absent = nn.Parameter(torch.randn(2, n_embd) * 0.02)  # a hidden observation, a hidden action
        self.absent_effector = nn.Parameter(torch.zeros(2))
        self.positions = nn.Embedding(history_length, n_embd)
        text, sight = text or TextOptions(), sight or SightOptions()
        words: Tokeniser = LocalT5Tokeniser(text.path) if text.kind == "t5" and text.path else WordPieces()
        self.tokeniser = PromptTokeniser(words, sight.kind, prompt_length, pad_pictures)
        self.prompts = PromptEncoder(n_embd, text, words.size, self.sight.width, prompt_hidden, null_token)
        cross = conditioning == "cross"
        if cross:
            self.prompt_positions = nn.Embedding(prompt_length, n_embd)
            nn.init.normal_(self.prompt_positions.weight, std=0.02)
        else:
            self.separator = nn.Parameter(torch.zeros(n_embd))
        nn.init.normal_(self.positions.weight, std=0.02)
        self.drop = nn.Dropout(dropout)
        self.controller = Controller(n_embd, n_layer, n_head, (cross_heads or n_head) if cross else None, dropout)

    def states(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor | None = None) -> Tensor:
        behind = torch.zeros(window.batch, dtype=torch.long, device=self.absent.device)
        if self.conditioning != "cross" and window.prompt is not None:
            behind = window.prompt.valid.sum(1)
        history = self.history(window, masks, layout, behind + (self.conditioning != "cross"))
        memory, keep = self.prompt(window.prompt, masks.prompt, window.batch)
        h = self.look(history, memory, keep, behind, masks.attend == "causal")
        read = history.read if at is None else history.read.gather(1, at)
        return h.gather(1, read[..., None].expand(-1, -1, h.shape[-1]))

    def prompt(self, prompt: PromptTokens | None, mask: PromptMask | None, batch: int) -> tuple[Tensor, Tensor]:
        """States of prompts ``(B, M, D)``, with positions where the history looks at them by cross-attention, and ``(B, M)``
        bool which may be looked at. Where there is no prompt, the learned token stands alone."""
        if prompt is None:
            prompt = _empty(batch, self.absent.device)
        if prompt.kind.shape[1] > self.prompt_length:
            raise ConfigError(f"a prompt has {prompt.kind.shape[1]} tokens; model.prompt_length={self.prompt_length}")
        keep = prompt.valid if mask is None else mask.keep(prompt)
        memory, keep = self.prompts(prompt, keep, self.sight.of_prompt)
        if memory.shape[1] == 1 + prompt.kind.shape[1]:
            table = self.prompt_positions if self.conditioning == "cross" else self.positions
            memory = torch.cat([memory[:, :1], memory[:, 1:] + table(prompt.positions)], 1)
        return memory, keep

    def look(self, history: History, memory: Tensor, keep: Tensor, behind: Tensor, causal: bool) -> Tensor:
        """States ``(B, N, D)`` of the history's tokens; ``behind`` ``(B,)`` is the position behind the prompt."""
        x, valid = self.drop(history.x), history.valid
        n = x.shape[1]
        mask = valid[:, None].expand(-1, n, -1)  # (B, N, N)
        if causal and self.groups == "group":
            mask = mask & (history.group[:, None] <= history.group[..., None])
        elif causal:
            mask = mask & torch.ones(n, n, dtype=torch.bool, device=x.device).tril()
        if self.conditioning == "cross":
            mask = mask | torch.eye(n, dtype=torch.bool, device=x.device)
            return self.controller(x, mask[:, None], self.controller.remember(memory), self._keep(keep))
        m = memory.shape[1] + 1
        before = torch.cat([keep, keep.new_ones(len(keep), 1)], 1)  # the separator is always there
        whole = torch.zeros(len(x), m + n, m + n, dtype=torch.bool, device=x.device)
        whole[:, :, :m] = before[:, None]
        if self.conditioning == "causal":
            whole[:, :m, :m] &= torch.ones(m, m, dtype=torch.bool, device=x.device).tril()
        whole[:, :m, m - 1] &= torch.arange(m, device=x.device) == m - 1
        whole[:, m:, m:] = mask
        whole |= torch.eye(m + n, dtype=torch.bool, device=x.device)
        separator = (self.separator + self.positions(behind))[:, None]
        return self.controller(torch.cat([self.drop(memory), separator, x], 1), whole[:, None], [], None)[:, m:]

    def _keep(self, keep: Tensor) -> Tensor:
        """``(B, 1, 1, M)``: bool, or additive where rows may keep nothing."""
        keep = keep[:, None, None]
        return keep if self.null_token else torch.where(keep, 0.0, torch.finfo(torch.float32).min)

    def history(self, window: Window, masks: MaskSet, layout: TokenLayout, first: Tensor) -> History:
        """Embeds the visible cells of a window, at positions from ``first`` ``(B,)`` on; a hidden observation or action is one
        learned token."""
        x, valid, needed = self.embed(window, masks)
        b, t, q = needed.shape
        group = torch.arange(t, device=x.device)[:, None] * 2 + (torch.arange(q, device=x.device) == q - 1)
        x, valid, needed = x.flatten(1, 2), valid.flatten(1), needed.flatten(1)
        longest = needed.shape[1] if self.whole else max(1, int(needed.sum(1).max()))
        order = torch.argsort(~needed, dim=1, stable=True)[:, :longest]
        place = needed.long().cumsum(1) - 1  # (B, T Q): where a needed token goes
        last = (needed.view(b, t, q)[..., :-1] * torch.arange(1, q, device=x.device)).amax(-1) - 1  # (B, T)
        if self.readout == "last":
            last = torch.full_like(last, q - 2)
        start = torch.arange(t, device=x.device) * q
        observed = place.gather(1, (start + last.clamp(min=0)))
        acted = place[:, q - 1 :: q]
        streams = torch.stack([observed, acted] if self._obs_first(layout) else [acted, observed], 2).clamp(min=0)
        read = layout.to_sequence(streams)
        x, valid = x.gather(1, order[..., None].expand(-1, -1, x.shape[-1])), valid.gather(1, order)
        count = (valid.long().cumsum(1) - 1).clamp(min=0)
        position = first[:, None] + count
        if count.shape[1] >= self.positions.num_embeddings and int(position.max()) >= self.positions.num_embeddings:
            raise ConfigError(
                f"{int(position.max()) + 1} tokens do not fit model.history_length={self.positions.num_embeddings}"
            )
        position = position.clamp(max=self.positions.num_embeddings - 1)  # padding alone lies beyond
        group = group.flatten().expand(b, -1).gather(1, order)
        return History(x + self.positions(position), valid, group, read)

    def embed(self, window: Window, masks: MaskSet) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens ``(B, T, Q, D)`` of every timestep, action last; ``(B, T, Q)`` bool which may be looked at, and which are
        needed (they, and padding that is read)."""
        spec = self.layout.spec.factors
        cells, visible = window.values[spec[self.obs].name], masks.visible
        recorded = torch.ones_like(visible[..., 0]) if window.valid is None else window.valid
        seen = self.sight.seen(cells) & (visible[..., self.obs] & recorded)[..., None]
        needed = seen.clone()
        if self.readout == "last":
            needed[..., -1] |= visible[..., self.obs] & recorded
        row, time, token = needed.nonzero(as_tuple=True)
        objects = self.sight(cells, (row, time, token))
        tokens = self.fuse(torch.cat([objects, self._effectors(window, masks)[row, time].to(objects.dtype)], -1))
        b, t, q = seen.shape
        x = tokens.new_zeros(b, t, q + 1, tokens.shape[-1]).index_put((row, time, token), tokens)
        blind = recorded & ~needed.any(-1)
        x = x + _at(blind, 0, q + 1)[..., None] * self.absent[0]
        seen, needed = (torch.cat([m, recorded[..., None]], -1) | _at(blind, 0, q + 1) for m in (seen, needed))
        x = x + _at(torch.ones_like(blind), q, q + 1)[..., None] * self._actions(window, visible)[:, :, None]
        return x, seen, needed

    def _effectors(self, window: Window, masks: MaskSet) -> Tensor:
        """``(B, T, 2)``."""
        if self.ee is None:
            return self.absent_effector.expand(*masks.visible.shape[:2], 2)
        value = window.values[self.layout.spec.factors[self.ee].name]
        known = value @ self.effector.weight if value.is_floating_point() else self.effector(value)
        return torch.where(masks.visible[..., self.ee, None], known, self.absent_effector)

    def _actions(self, window: Window, visible: Tensor) -> Tensor:
        """``(B, T, D)``: what the classes of actions stand for, pose by pose. Gradients pass as if nothing were rounded."""
        values = window.values[self.layout.spec.factors[self.action].name]
        unit = self.codec.normalise(values)
        unit = unit + (self.codec.values(self.codec.classes(unit)) - unit).detach()
        poses = [pose(unit[..., part]) for pose, part in zip(self.poses, self.codec.parts, strict=True)]
        return torch.where(visible[..., self.action, None], self.act(torch.cat(poses, -1)), self.absent[1])

    @staticmethod
    def _obs_first(layout: TokenLayout) -> bool:
        return layout.spec.factors[layout.streams[0].columns[0]].role == "state"

    def remember(self, prompt: PromptTokens | None, mask: PromptMask | None, episodes: int, room: int) -> Cache:
        """What acting keeps of new episodes (``conditioning=cross``): their prompts, encoded once, and room for tokens."""
        memory, keep = self.prompt(prompt, mask, episodes)
        return self.controller.blank(self.controller.remember(memory), self._keep(keep), episodes, room)

    def step(self, window: Window, masks: MaskSet, time: Tensor, cache: Cache) -> Tensor:
        """States ``(B, D)`` that the action of timestep ``time`` ``(B,)`` is read from. The window holds two timesteps, the
        last action (hidden at the first step) and the current observation; only these tokens are computed."""
        x, valid, _ = self.embed(window, masks)
        q = x.shape[2]
        x, valid = x.flatten(1, 2)[:, q - 1 : -1], valid.flatten(1)[:, q - 1 : -1].clone()  # action, observation
        valid[:, 0] &= time > 0
        places = time[:, None] * q - 1 + torch.arange(q, device=x.device)
        places[:, 0] = torch.where(time > 0, places[:, 0], cache.valid.shape[1] - 1)  # no action came before: an unused place
        before = (cache.valid & (torch.arange(cache.valid.shape[1], device=x.device) < (time * q - 1)[:, None])).sum(1)
        count = (before[:, None] + valid.long().cumsum(1) - 1).clamp(min=0)
        h = self.controller.step(x + self.positions(count), places, valid, cache)
        last = (valid * torch.arange(q, device=x.device)).amax(1) if self.readout == "valid" else torch.full_like(time, q - 1)
        return h[torch.arange(len(h), device=x.device), last]


def _columns(layout: TokenLayout) -> tuple[int, int | None, int]:
    """Columns of the pictures, of the effector (None where there is none) and of the action."""
    spec = layout.spec.factors
    pictures = [i for i, f in enumerate(spec) if f.kind in ("objects", "image")]
    effector = [i for i, f in enumerate(spec) if f.role == "state" and f.kind == "discrete" and f.classes == 2]
    actions = [i for i, f in enumerate(spec) if f.role == "action"]
    rest = set(range(len(spec))) - {*pictures, *effector, *actions}
    if len(pictures) != 1 or len(effector) > 1 or len(actions) != 1 or rest:
        raise ConfigError(
            "model=cross reads one factor of objects or pictures, at most one effector of two classes, and one action; found "
            f"{[(f.name, f.kind) for f in spec]}. Choose env=tabletop, or another model."
        )
    names = [set(s.columns) for s in layout.streams]
    if names not in ([{*pictures, *effector}, set(actions)], [set(actions), {*pictures, *effector}]):
        raise ConfigError(
            "model=cross needs a token of the state and one of the action per timestep: choose tokens=interleaved"
        )
    return pictures[0], effector[0] if effector else None, actions[0]


def _at(rows: Tensor, place: int, width: int) -> Tensor:
    """``(B, T)`` bool to ``(B, T, width)`` bool, at one place."""
    return rows[..., None] & (torch.arange(width, device=rows.device) == place)


def _empty(batch: int, device: torch.device) -> PromptTokens:
    none = torch.zeros(batch, 0, dtype=torch.long, device=device)
    return PromptTokens(none, none, none, none, none, torch.zeros(0, 1, dtype=torch.uint8, device=device))
