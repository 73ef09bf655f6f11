"""Drawing actions: a generator per episode, bins that are held for some steps, several draws of which one is played."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maskbench.models.heads import CodesHead, Head
from maskbench.policies.queries import Query


class Drawing:
    """Turns the distributions of one step into actions, slot by slot as the query says.

    clouds: per action factor all draws of the latest step, ``(n, query.action_batch, *shape)`` in model units.
    """

    def __init__(self, query: Query, num_slots: int) -> None:
        self.query, self.how = query, query.sampling
        self.clouds: dict[str, Tensor] = {}
        self._generators: list[np.random.Generator | None] = [None] * num_slots
        self._age = np.full(num_slots, -1)
        self._held: dict[str, Tensor] = {}
        self._played = np.zeros(0, np.int64)
        self._ahead: dict[str, tuple[Tensor, Tensor]] = {}

    def reset(self, slot: int, seed: int) -> None:
        """A new episode: its noise comes from ``seed`` alone."""
        self._generators[slot] = np.random.Generator(np.random.Philox(key=seed))
        self._age[slot] = -1

    def step(self, slots: np.ndarray) -> None:
        """A new action of each slot begins; its factors are drawn next."""
        self.clouds = {}
        self._age[slots] += 1
        several = self.query.action_batch > 1
        draws = [self._generator(s).integers(self.query.action_batch) if several else 0 for s in slots]
        self._played = np.array(draws, np.int64)

    def draw(self, name: str, head: Head, params: Tensor, slots: np.ndarray) -> Tensor:
        """Values ``(n, *shape)`` of one factor from its parameters ``(n, P)``."""
        if head.num_uniforms == 0:
            value = head.mode(params)
            self.clouds[name] = value[:, None].expand(-1, self.query.action_batch, *value.shape[1:])
            return value
        m = self.query.action_batch
        u = np.stack([self._generator(s).random((m, head.num_uniforms)) for s in slots])
        # MPS has no float64
        noise = torch.as_tensor(u, device="cpu" if params.device.type == "mps" else params.device)
        wide = params[:, None].expand(-1, m, -1)
        fresh = head.choose(wide, noise, self.how)
        choice = self._kept(name, fresh, slots) if fresh is not None and self.query.commit_steps > 1 else fresh
        offset_of = fresh if self.query.commit_legacy else None
        rows, played = torch.arange(len(slots)), torch.as_tensor(self._played)
        if isinstance(head, CodesHead) and head.chunk > 1:
            assert choice is not None
            chunks = head.realise_chunk(wide, choice, self.how, offset_of)  # (n, m, chunk, A)
            self.clouds[name] = chunks[:, :, 0].unflatten(-1, head.factor.shape)
            return self._averaged(name, chunks[rows, played], slots).unflatten(-1, head.factor.shape)
        self.clouds[name] = head.realise(wide, choice, noise, self.how, offset_of)
        return self.clouds[name][rows, played]

    def _averaged(self, name: str, chunks: Tensor, slots: np.ndarray) -> Tensor:
        """What the latest chunks ``(n, chunk, A)`` of each slot say about this step, on average ``(n, A)`` (VQ-BeT)."""
        _, chunk, a = chunks.shape
        if name not in self._ahead:
            total = chunks.new_zeros(len(self._generators), chunk, a)
            self._ahead[name] = total, chunks.new_zeros(len(self._generators), chunk, 1)
        at = torch.as_tensor(slots, device=chunks.device)
        first = torch.as_tensor(self._age[slots] == 0, device=chunks.device)
        total, count = (torch.where(first[:, None, None], 0.0, kept[at]) for kept in self._ahead[name])
        total, count = (torch.cat([x[:, 1:], torch.zeros_like(x[:, :1])], 1) for x in (total, count))
        total, count = total + chunks, count + 1
        self._ahead[name][0][at], self._ahead[name][1][at] = total, count
        return total[:, 0] / count[:, 0]

    def _kept(self, name: str, fresh: Tensor, slots: np.ndarray) -> Tensor:
        """``fresh`` ``(n, m, C)``, or the choice that a slot holds; a slot whose time is over holds what it plays now."""
        at = torch.as_tensor(slots, device=fresh.device)
        if name not in self._held:
            self._held[name] = fresh.new_zeros((len(self._generators), fresh.shape[-1]))
        held = self._held[name]
        over = torch.as_tensor(self._age[slots] % self.query.commit_steps == 0, device=fresh.device)
        played = fresh[torch.arange(len(slots)), torch.as_tensor(self._played)]
        held[at] = torch.where(over[:, None], played, held[at])
        return torch.where(over[:, None, None], fresh, held[at][:, None])

    def _generator(self, slot: int) -> np.random.Generator:
        generator = self._generators[int(slot)]
        assert generator is not None, "draw() before reset()"
        return generator
