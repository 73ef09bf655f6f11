"""Windows of episodes, resident on the device and gathered by one index per factor.

    resident rows   | episode 0 ........ | episode 1 .. 0 0 | episode 2 ............ |     (0: padding of a short episode)
    windows (T = 4)  [0 1 2 3]             [0 1 0 0]
                       [1 2 3 4] ...                         [0 1 2 3] ...

Every factor lies in memory as ``(rows, width)``, so a window is ``T * width`` consecutive numbers. A strided view of shape
``(rows - T + 1, T * width)`` makes each possible window a row of a matrix, and a batch one ``index_select`` of whole rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from maskbench.data.goals import FutureGoals, Hindsight, TokenGoals
from maskbench.data.normalise import Normaliser
from maskbench.data.parts import find_factor
from maskbench.data.scattered import ScatteredRows, shuffled
from maskbench.data.store import EpisodeStore
from maskbench.errors import ConfigError, DataError, did_you_mean
from maskbench.trajectory import MODEL_ROLES, Factor, TrajectorySpec, Window

By = Literal["window", "episode", "length"]
Short = Literal["pad", "skip", "error"]
Shuffle = Literal["none", "episode", "observation"]
#: Prompts of some episodes of a store, ``(B,)``, as tokens; the generator is for transforms that draw.
Prompts = Callable[[np.ndarray, np.random.Generator], Any]

# Independent random streams of one key.
_BATCH, _EPOCH, _FIXED, _GOALS = 0, 1, 2, 3


class WindowSampler:
    """Draws batches of ``length`` timesteps; every batch is a pure function of ``(seed, step)``."""

    def __init__(
        self,
        store: EpisodeStore,
        length: int,
        batch_size: int,
        seed: int,
        *,
        episodes: Sequence[int] | np.ndarray | None = None,
        factors: Sequence[str] | None = None,
        by: By = "window",
        short: Short = "pad",
        stride: int = 1,
        legacy_slicing: bool = False,
        beginnings: bool = False,
        device: torch.device | str = "cpu",
        normaliser: Normaliser | None = None,
        known: Mapping[str, np.ndarray] | None = None,
        goal_frames: int = 0,
        goal_drop: float = 0.1,
        chunk: int = 1,
        hindsight: Hindsight = "none",
        reach: int = 64,
        final: bool = False,
        prompts: Prompts | None = None,
        shuffle_slots: Shuffle = "none",
    ) -> None:
        """Loads the chosen rows onto ``device``, normalised once.

        episodes: indices to draw from (a split's part); all by default.
        factors:  names in the order of the model, parts of split factors (``state.height``) included; all that a model may
            see by default.
        by:       ``window`` makes all windows equally likely; ``episode`` draws an episode uniformly, then an offset (maskdp.md
            section 1.5a); ``length`` draws it in proportion to its length, then an offset (unimask.md section 1.3).
        short:    an episode shorter than ``length`` gives one window padded at its end (``pad``), none (``skip``), or an error.
        stride:   distance between the first timesteps of an episode's windows.
        legacy_slicing: leaves out each episode's last window, as the released BeT loaders do (bet.md section 1.5).
        beginnings: adds windows of an episode's first 1, 2, .. ``length - 1`` timesteps, as the histories of rollouts are. The
            first action is then in as many windows as later ones, ``length``; otherwise it is in one. What
            follows in them is recorded, but not ``valid``.
        known:    per stored factor ``(E,)`` bool over the episodes of the store: which of them have it; factors that are not
            named are known everywhere. What is unknown reads as zero, and windows say so (``Window.known``).
        goal_frames: the first timesteps of each window hold later states of its episode, goals in hindsight; a share
            ``goal_drop`` of the windows has none (``data.goals``). Their other cells are unknown.
        chunk: where actions are predicted ``chunk`` at a time, the last ``chunk - 1`` timesteps complete those of the others;
            their own are unknown. Windows then reach beyond the end of an episode by as many timesteps of zero actions.
        hindsight, reach: what fills factors of the role ``goal`` (``data.goals.TokenGoals``).
        final: every episode has one more timestep, the state after its last action, whose other cells are unknown.
        shuffle_slots: permutes objects whenever an ``episode`` is drawn, or in each ``observation`` anew, alike in all views.
        prompts: called with ``(B,)`` episodes of the store and a generator of their own; windows carry what it returns.

        Pictures and objects are never loaded: their rows are read batch by batch, and batches end with their longest episode.
        A store opened with ``place="mmap"`` stays on disk where ``device`` is the CPU and no episode needs padding: batches
        are then read and normalised one by one. Raises ``DataError`` where no window is left.
        """
        _check_choices(length - goal_frames - chunk + 1, batch_size, stride, by, short)
        self._lead, self._tail, length = goal_frames, chunk - 1, length - goal_frames
        chosen = np.arange(store.num_episodes) if episodes is None else np.asarray(episodes, np.int64)
        rows = store.rows(chosen)
        names = [f.name for f in store.spec if f.role in MODEL_ROLES] if factors is None else list(factors)
        found = [find_factor(store.spec, n) for n in names]

        self.spec = TrajectorySpec(tuple(factor for factor, _, _ in found))
        self.length, self.batch_size, self.seed = length + goal_frames, batch_size, seed
        self._history = length
        self.device = torch.device(device)
        self._by, self._short, self._legacy = by, short, legacy_slicing
        self._normaliser = normaliser
        self._lengths = store.lengths[chosen]
        scattered = any(f.kind in ("image", "objects") for f, _, _ in found)
        if scattered and (goal_frames or hindsight != "none" or chunk > 1 or known):
            raise ConfigError("pictures are read without goals, action chunks and unlabelled episodes; leave these out")
        if final and not scattered:
            raise ConfigError("dataset.sampling.final is for episodes of pictures; others give their last states as goals")
        self._final, self._prompts, self._chosen, self._shuffle = int(final), prompts, chosen, shuffle_slots
        if beginnings and scattered:
            raise ConfigError("dataset.sampling.beginnings is for episodes without pictures; leave it out")
        has_goals = hindsight != "none" and any(f.role == "goal" for f in self.spec)
        padded = scattered or self._tail > 0 or (short == "pad" and bool((self._lengths < length).any()))
        stays = not padded and not goal_frames and not has_goals and not beginnings
        self._on_disk = store.place == "mmap" and self.device.type == "cpu" and stays

        room = np.maximum(self._lengths + self._tail, length) if padded else self._lengths
        self._begins = store.ends[chosen] - self._lengths if self._on_disk else np.cumsum(room) - room
        self._table = self._windows(stride, beginnings)
        self._scattered = ScatteredRows(store, chosen, found, self._on_device, final) if scattered else None
        if self.num_windows == 0:
            raise DataError(
                f"no window of {length} steps is left in {len(chosen)} episodes of at most {self._lengths.max(initial=0)} "
                f"steps (short={short}, legacy_slicing={legacy_slicing}). Shorten the window or choose short=pad."
            )
        recorded = np.stack([_of(known, parent.name, store.num_episodes)[chosen] for _, parent, _ in found], 1)
        self._known = None if recorded.all() else torch.from_numpy(recorded).to(self.device)
        whole = np.array_equal(chosen, np.arange(store.num_episodes))
        self._views: dict[str, Tensor] = {}
        self._goals = FutureGoals(store, chosen, found, goal_frames, goal_drop, self._on_device) if goal_frames else None
        self._tokens: TokenGoals | None = None
        self._later = FutureGoals(store, chosen, found, 1, 0.0, self._on_device) if hindsight == "later" else None
        if scattered:
            return
        for (factor, parent, columns), has in zip(found, recorded.T, strict=True):
            if factor.role == "goal" and has_goals:
                continue
            values = store.array(parent.name)[..., columns]
            resident = torch.from_numpy(values) if self._on_disk else self._on_device(factor, values if whole else values[rows])
            if not has.all() and not self._on_disk:
                resident = _blanked(resident, torch.from_numpy(np.repeat(has, self._lengths)).to(self.device))
            if padded:
                resident = _spread(resident, self._begins, self._lengths, int(room.sum()))
            self._views[factor.name] = _every_window(resident, length)
        if has_goals:
            self._tokens = TokenGoals(self.spec, hindsight, length, reach, self._views)

    def with_seed(self, seed: int) -> WindowSampler:
        """The same windows, in the same memory, in another order."""
        twin = copy(self)
        twin.seed = seed
        return twin

    @property
    def num_windows(self) -> int:
        return int(self._table.places.shape[1])

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which ``epoch_batches`` shows every window once; the last one may be smaller."""
        return -(-self.num_windows // self.batch_size)

    def batch(self, step: int) -> Window:
        """``batch_size`` windows drawn with replacement: the same ones for the same ``(seed, step)`` whatever came before."""
        random = _random(self.seed, step, _BATCH)
        if self._by == "window":
            return self._gather(self._table, random.integers(0, self.num_windows, self.batch_size), random)
        first, count = self._table.first, self._table.count
        episode = np.searchsorted(self._table.weight, random.random(self.batch_size), side="right")
        return self._gather(self._table, first[episode] + random.integers(0, count[episode]), random)

    def epoch_batches(self, epoch: int, first_step: int = 0) -> Iterator[Window]:
        """Every window once, whatever ``by`` says, in an order that depends on ``(seed, epoch)`` only.

        first_step: where to go on inside the epoch, without replaying what came before.
        """
        order = _random(self.seed, epoch, _EPOCH).permutation(self.num_windows)
        for step in range(first_step, self.steps_per_epoch):
            random = _random(self.seed, epoch * self.steps_per_epoch + step, _GOALS)
            yield self._gather(self._table, order[step * self.batch_size : (step + 1) * self.batch_size], random)

    def fixed(self, n: int, seed: int) -> Window:
        """The evaluation set of this ``seed``: ``n`` different windows drawn as ``by`` says, or all where there are fewer."""
        random = _random(seed, 0, _FIXED)
        weights = None
        if self._by != "window":
            share = np.diff(self._table.weight, prepend=0.0) / self._table.count
            weights = np.repeat(share, self._table.count)
            weights /= weights.sum()
        index = random.choice(self.num_windows, min(n, self.num_windows), replace=False, p=weights)
        return self._gather(self._table, index, random)

    def all_windows(self, stride: int = 1) -> Iterator[Window]:
        """Windows of every episode at this stride, in order, in batches of ``batch_size``."""
        _check_choices(self._history, self.batch_size, stride)
        table = self._windows(stride)
        for first in range(0, table.places.shape[1], self.batch_size):
            index = np.arange(first, min(first + self.batch_size, table.places.shape[1]))
            yield self._gather(table, index, _random(self.seed, first, _GOALS))

    def _gather(self, table: _Table, index: np.ndarray, random: np.random.Generator) -> Window:
        """The windows at these places of the table; ``random`` draws their goals, if they have any."""
        if self._scattered is not None:
            _, start, _, episode = table.places.take(index, axis=1)
            window = self._scattered.window(start, episode, self._history, self.device)
            if self._shuffle != "none":
                window = shuffled(window, self.spec, random, self._shuffle == "observation")
        else:
            window = self._recorded(table, index)
        if self._goals is not None:
            _, start, valid, episode = table.places.take(index, axis=1)
            goals, shown = self._goals.draw(random, episode, start + valid)
            window = self._with_goals(window, goals, shown.to(self.device))
        if self._tokens is not None:
            row, start, valid, episode = table.places.take(index, axis=1)
            if self._later is None:
                window = self._tokens.fill(random, window, row, self._lengths[episode] - start)
            else:
                window = self._tokens.show(window, self._later.draw(random, episode, start + valid)[0])
        if self._tail:
            shape = (window.batch, window.length, len(self.spec))
            known = torch.ones(shape, dtype=torch.bool, device=self.device) if window.known is None else window.known.clone()
            known[:, -self._tail :, [i for i, f in enumerate(self.spec) if f.role == "action"]] = False
            window = replace(window, known=known)
        if self._prompts is not None:
            episodes = self._chosen[table.places[3].take(index)]
            window = replace(window, prompt=self._prompts(episodes, random).to(self.device))
        return window

    def _with_goals(self, window: Window, goals: Mapping[str, Tensor], shown: Tensor) -> Window:
        """``window`` behind its goals; the other cells of their timesteps, and all of goals not ``shown``, are unknown."""
        b, lead, f = window.batch, self._lead, len(self.spec)
        front = {n: _blanked(v, shown) for n, v in goals.items()}
        values = {n: torch.cat([front.get(n, v.new_zeros(b, lead, *v.shape[2:])), v], 1) for n, v in window.values.items()}
        is_state = torch.tensor([factor.role == "state" for factor in self.spec], device=self.device)
        head = (shown[:, None] & is_state)[:, None].expand(b, lead, f)
        known = torch.ones(b, window.length, f, dtype=torch.bool, device=self.device) if window.known is None else window.known
        valid = None if window.valid is None else torch.nn.functional.pad(window.valid, (lead, 0), value=True)
        start = None if window.start is None else window.start - lead
        return Window(values, valid, start, torch.cat([head, known], 1))

    def _recorded(self, table: _Table, index: np.ndarray) -> Window:
        """The windows as they were recorded: one transfer, then one index per factor."""
        places = torch.from_numpy(table.places.take(index, axis=1)).to(self.device, non_blocking=True)
        row, start, valid, episode = places.unbind()
        values = {name: view.index_select(0, row) for name, view in self._views.items()}
        if self._on_disk:
            values = {name: self._on_device(self.spec[name], v) for name, v in values.items()}
        recorded = torch.arange(self._history, device=self.device) < valid[:, None] if table.padded else None
        if self._known is None:
            return Window(values, recorded, start)
        known = self._known[episode]  # (B, F)
        if self._on_disk:
            values = {name: _blanked(v, known[:, i]) for i, (name, v) in enumerate(values.items())}
        return Window(values, recorded, start, known[:, None].expand(-1, self._history, -1))

    def _on_device(self, factor: Factor, values: np.ndarray | Tensor) -> Tensor:
        """Recorded values ``(..., *shape)`` in model units, type and place."""
        dtype = {"discrete": torch.int64, "image": torch.uint8, "objects": torch.uint8}.get(factor.kind, torch.float32)
        tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
        tensor = tensor.to(self.device, dtype)
        return tensor if self._normaliser is None or dtype == torch.uint8 else self._normaliser.apply(factor.name, tensor)

    def _windows(self, stride: int, beginnings: bool = False) -> _Table:
        """Where each window starts, and how much of it is recorded."""
        reach = self._lengths + self._tail + self._final
        starts = reach - self._history + (0 if self._legacy else 1)
        count = -(-starts // stride)
        if (reach < self._history).any():
            is_short = reach < self._history
            if self._short == "error":
                episode = int(np.flatnonzero(is_short)[0])
                raise DataError(
                    f"{int(is_short.sum())} of {len(is_short)} episodes are shorter than the window of {self._history} steps "
                    f"(the first, number {episode} of those chosen, has {self._lengths[episode]}). "
                    "Choose short=pad or short=skip."
                )
            count = np.where(is_short, 1 if self._short == "pad" else 0, count)
        used = np.flatnonzero(count)
        whole = np.minimum(self._history, self._lengths[used] + self._final)  # recorded timesteps of an episode's first window
        early = whole - 1 if beginnings else np.zeros_like(whole)  # windows that are shorter still
        count = count[used] + early
        first = np.cumsum(count) - count
        place = np.arange(count.sum()) - np.repeat(first + early, count)
        start = np.maximum(place, 0) * stride
        valid = np.minimum(np.repeat(self._lengths[used] + self._final, count) - start, self._history)
        valid = np.where(place < 0, np.repeat(whole, count) + place, valid)
        weight = np.cumsum(self._lengths[used] if self._by == "length" else np.ones(len(used)))
        return _Table(
            places=np.stack([np.repeat(self._begins[used], count) + start, start, valid, np.repeat(used, count)]),
            padded=bool((valid < self._history).any()),
            first=first,
            count=count,
            weight=weight / weight[-1:],
        )


@dataclass(frozen=True)
class _Table:
    """Every window there is, episode after episode.

    places: ``(4, windows)`` int64: resident row, timestep inside the episode, recorded steps, place of the episode among
            those chosen.
    padded: whether any window holds fewer recorded steps than the window length.
    first, count: per episode with windows, its first window and how many it has.
    weight: per such episode the cumulative probability of drawing it.
    """

    places: np.ndarray
    padded: bool
    first: np.ndarray
    count: np.ndarray
    weight: np.ndarray


def _random(seed: int, step: int, stream: int) -> np.random.Generator:
    """Counter-based: any step's numbers without those before it."""
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, step], counter=[0, 0, 0, stream]))


def _of(known: Mapping[str, np.ndarray] | None, name: str, episodes: int) -> np.ndarray:
    """``(E,)`` bool: the episodes that have a factor."""
    return np.ones(episodes, np.bool_) if known is None or name not in known else known[name]


def _blanked(values: Tensor, known: Tensor) -> Tensor:
    """A copy of ``(n, ...)`` with zeros in the rows that are not ``known`` ``(n,)``."""
    return values.masked_fill(~known.view(-1, *(1,) * (values.dim() - 1)), 0)


def _spread(values: Tensor, begins: np.ndarray, lengths: np.ndarray, rows: int) -> Tensor:
    """Moves consecutive episodes apart, so that each begins at its own row; the rows between are zero."""
    slots = np.arange(lengths.sum()) + np.repeat(begins - (np.cumsum(lengths) - lengths), lengths)
    resident = values.new_zeros((rows, *values.shape[1:]))
    resident[torch.from_numpy(slots).to(values.device)] = values
    return resident


def _every_window(values: Tensor, length: int) -> Tensor:
    """``(rows, *shape)`` to an overlapping view ``(rows - length + 1, length, *shape)``."""
    row, *inner = values.stride()
    return values.as_strided((len(values) - length + 1, length, *values.shape[1:]), (row, row, *inner))


def _check_choices(length: int, batch_size: int, stride: int, by: str = "window", short: str = "pad") -> None:
    if min(length, batch_size, stride) < 1:
        raise ConfigError(f"window length, batch size and stride must be positive; found {length}, {batch_size}, {stride}")
    for key, value, valid in (("by", by, get_args(By)), ("short", short, get_args(Short))):
        if value not in valid:
            raise ConfigError(f"{key} is '{value}'. {did_you_mean(value, valid)}")
