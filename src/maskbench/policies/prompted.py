"""Acting on instructions: every prompt is encoded once, every observation once; histories are kept as keys and values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskSet, PromptMask
from maskbench.models.cross import CrossDecoder
from maskbench.models.xattn import Cache
from maskbench.policies.model import ModelPolicy
from maskbench.prompt import Prompt
from maskbench.tokens.perturb import Perturbation
from maskbench.tokens.prompt import LONGEST, Readable
from maskbench.trajectory import Window

if TYPE_CHECKING:
    from maskbench.rollout.plan import PlanRow

#: Lengths to which prompts are padded when they are encoded. A prompt's own length alone decides, not its neighbours.
_LENGTHS = (32, 64, 128, 256, 512, 1024)


class PromptedPolicy(ModelPolicy):
    """Plays a ``CrossDecoder``. The runner brings instructions by ``instruct``, after ``reset``.

    task_of: environment seed to the name of the task, for changes to instructions that depend on it.
    Causal models with cross-attention compute the tokens of the newest timestep alone; others compute their window again.
    """

    def __init__(self, model: CrossDecoder, *args: Any, task_of: Callable[[int], str] | None = None, **options: Any) -> None:
        model.whole = True
        super().__init__(model, *args, **options)
        self.decoder, self.task_of = model, task_of or (lambda seed: "")
        self.perturbation = Perturbation(self.query.perturb, model.tokeniser.tokeniser)
        slots = len(self.time)
        self.prompts: list[Readable] = [Readable("", {})] * slots
        self.rows: dict[int, PlanRow] = {}
        words = torch.ones(slots, dtype=torch.bool, device=self.device)
        groups = torch.ones(slots, LONGEST, dtype=torch.bool, device=self.device)
        self.shown = PromptMask(words, words.clone(), groups)
        self.cached = self.attend == "causal" and model.conditioning == "cross" and self.query.mode == "closed"
        self.cache: Cache | None = None

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        super().reset(slots, rows)
        self.rows.update({int(s): r for s, r in zip(slots, rows, strict=True)})
        for slot, row in zip(slots, rows, strict=True):
            drawn = self.query.prompt.draw(torch.Generator().manual_seed(row.policy_seed), 1)
            self.shown.words[int(slot)] = drawn is None or bool(drawn.words[0])
            self.shown.images[int(slot)] = drawn is None or bool(drawn.images[0])
            assert self.shown.groups is not None
            self.shown.groups[int(slot)] = True if drawn is None or drawn.groups is None else drawn.groups[0].to(self.device)

    def instruct(self, slots: np.ndarray, prompts: Sequence[Prompt]) -> None:
        """What the episodes in ``slots`` are asked for; changed as the query says, encoded once."""
        lengths = np.zeros(len(slots), np.int64)
        for i, (slot, prompt) in enumerate(zip(slots, prompts, strict=True)):
            row = self.rows[int(slot)]
            changed = self.perturbation(prompt, self.task_of(row.env_seed), [row.policy_seed])
            readable = self.decoder.tokeniser.prepare(changed)
            self.prompts[int(slot)] = readable
            needed = self.decoder.tokeniser([readable]).kind.shape[1]
            lengths[i] = min(next((n for n in _LENGTHS if n >= needed), needed), self.decoder.prompt_length)
        if not self.cached:
            return
        with torch.no_grad():
            for length in np.unique(lengths):
                self._encode(slots[lengths == length], int(length))

    def _encode(self, slots: np.ndarray, length: int) -> None:
        at = torch.as_tensor(slots, device=self.device)
        tokens = self.decoder.tokeniser([self.prompts[int(s)] for s in slots], length).to(self.device)
        fresh = self.decoder.remember(tokens, self.shown.rows(at), len(slots), self._room)
        if self.cache is None:
            room = 1 + self.decoder.prompt_length
            heads, _, width = fresh.memory[0][0].shape[1:]
            blank = fresh.keep.new_zeros(len(self.time), 1, 1, room)
            like = fresh.memory[0][0]
            memory = [
                (like.new_zeros(len(blank), heads, room, width), like.new_zeros(len(blank), heads, room, width))
                for _ in fresh.memory
            ]
            if fresh.keep.dtype != torch.bool:
                blank = blank + torch.finfo(torch.float32).min
            self.cache = self.decoder.controller.blank(memory, blank, len(blank), self._room)
        size = fresh.keep.shape[-1]
        for mine, theirs in zip(self.cache.memory, fresh.memory, strict=True):
            mine[0][at, :, :size], mine[1][at, :, :size] = theirs
        self.cache.keep[at] = False if fresh.keep.dtype == torch.bool else torch.finfo(torch.float32).min
        self.cache.keep[at, :, :, :size] = fresh.keep
        self.cache.valid[at] = False

    @property
    def _room(self) -> int:
        """Tokens of the longest episode, and one place that is never looked at."""
        cells = self.cells[self.layout.spec.factors[self.decoder.obs].name]
        return max(int(self.budget.max(initial=0)), self.horizon) * (self.decoder.sight.tokens(cells) + 1) + 1

    def act(self, observations: Mapping[str, np.ndarray], slots: np.ndarray) -> np.ndarray:
        if self.query.shuffle_slots:
            observations = self._shuffled(observations, slots)
        if not self.cached:
            return super().act(observations, slots)
        if self.cache is None:
            raise ConfigError("this model acts on instructions; the environment gives none")
        with torch.no_grad():
            at = torch.as_tensor(slots, device=self.device)
            time = torch.as_tensor(self.time[slots], device=self.device)
            window, masks = self._newest(observations, at, time)
            everyone = len(slots) == len(self.time)
            cache = self.cache if everyone else self.cache.rows(at)
            h = self.decoder.step(window, masks, time, cache)
            if not everyone:
                self.cache.put(at, cache)
            self.drawing.step(slots)
            drawn: dict[str, Tensor] = {}
            for f in self.actions:
                head = self.model.head(f.name)
                drawn[f.name] = self.drawing.draw(f.name, head, head(h), slots)
                self.cells[f.name][at, 0] = drawn[f.name]
            self.time[slots] += 1
            return self._to_environment(drawn)

    def _newest(self, observations: Mapping[str, np.ndarray], at: Tensor, time: Tensor) -> tuple[Window, MaskSet]:
        """Two timesteps: the last action, where there is one, and the current observation."""
        values: dict[str, Tensor] = {}
        visible = torch.zeros(len(at), 2, len(self.layout.spec), dtype=torch.bool, device=self.device)
        for i, f in enumerate(self.layout.spec):
            if f.role == "action":
                last = self.cells[f.name][at, 0]
                values[f.name] = torch.stack([last, torch.zeros_like(last)], 1)
                visible[:, 0, i] = time > 0
            else:
                now = self._to_model(f, torch.as_tensor(np.asarray(observations[f.parent])))
                values[f.name] = torch.stack([torch.zeros_like(now), now], 1)
                visible[:, 1, i] = True
        return Window(values), MaskSet(visible, torch.zeros_like(visible), "causal")

    def _question(self, values: dict[str, Tensor], at: Tensor, slots: np.ndarray) -> tuple[Window, MaskSet]:
        window, masks = super()._question(values, at, slots)
        tokens = self.decoder.tokeniser([self.prompts[int(s)] for s in slots], self.decoder.prompt_length).to(self.device)
        return (
            Window(window.values, window.valid, window.start, window.known, tokens),
            MaskSet(masks.visible, masks.predict, masks.attend, masks.max_visible, prompt=self.shown.rows(at)),
        )

    def _shuffled(self, observations: Mapping[str, np.ndarray], slots: np.ndarray) -> Mapping[str, np.ndarray]:
        """Object slots in another order at every observation, the same in all views (CoGeLoT)."""
        name = self.layout.spec.factors[self.decoder.obs].name
        cells = observations[name].copy()
        for i, slot in enumerate(slots):
            random = np.random.default_rng([self.rows[int(slot)].policy_seed, int(self.time[slot])])
            cells[i] = cells[i][:, random.permutation(cells.shape[2])]
        return {**observations, name: cells}
