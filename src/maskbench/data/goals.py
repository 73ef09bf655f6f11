"""Goals in hindsight: what a recorded episode came to later, in front of a window (C-BeT; BeT spec 5.1) or in every token.

In front (``FutureGoals``)::

    window    | g g | s0 s1 s2 s3 |        g: frames from a random moment after the window, of the same episode
              | - - | a0 a1 a2 a3 |        no action belongs to them

In every token (``TokenGoals``; MaskDP's Goal-GPT and Goal-MLP, MaskDP spec 2.8; C-BeT's mode ``stack``), factors of their own
with the role ``goal``::

    window    | s0 s1 s2 s3 |              s3: the goal; actions from its timestep on are not asked
              | s3 s3 s3 s3 |
              | a0 a1 a2 -- |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from maskbench.data.store import EpisodeStore
from maskbench.errors import ConfigError, DataError
from maskbench.trajectory import Factor, TrajectorySpec, Window

#: Which state is the goal: the window's last one, one of its later ones at random, one of those after it, or one up to
#: ``reach`` timesteps after the window's only one, the same distance in a whole batch.
Hindsight = Literal["none", "last", "random", "later", "ahead"]
PREFIX = "goal_"


def add_goals(store: EpisodeStore) -> EpisodeStore:
    """``store`` with a factor ``goal_<state>`` of the role ``goal`` for each state factor.

    Its array is that of the state: where the goal of a window lies is drawn with the window. Raises DataError where there is
    one already."""
    if store.spec.with_role("goal"):
        raise DataError(f"'{store.card.name}' has goal factors of its own: {[f.name for f in store.spec.with_role('goal')]}")
    states = store.spec.with_role("state")
    goals = tuple(replace(f, name=PREFIX + f.name, role="goal", parts=()) for f in states)
    arrays = {**store.arrays, **{PREFIX + f.name: store.arrays[f.name] for f in states}}
    return replace(store, spec=TrajectorySpec((*store.spec.factors, *goals)), arrays=arrays)


def state_of(goal: str) -> str:
    """The state factor that a goal factor is a state of."""
    return goal.removeprefix(PREFIX)


class TokenGoals:
    """Fills the goal factors of windows and leaves actions from the goal's timestep on unasked.

    mode:  see ``Hindsight``. ``ahead`` is Goal-MLP's: of a window of ``reach`` timesteps one start and one goal at or after
           it, the same for the whole batch, cut off at the end of the episode.
    """

    def __init__(self, spec: TrajectorySpec, mode: Hindsight, length: int, reach: int, views: Mapping[str, Tensor]) -> None:
        """``views``: per state factor every window of the resident rows ``(rows - length + 1, length, *shape)``."""
        if mode in ("last", "random") and length < 2:
            raise ConfigError(f"goals inside a window need at least 2 timesteps; found {length}. For single states: ahead")
        if mode == "ahead" and (length != 1 or reach < 2):
            raise ConfigError(f"goals ahead are for windows of one timestep and a reach of 2 or more; found {length}, {reach}")
        self.mode, self.reach, self._views = mode, reach, views
        self._actions = [i for i, f in enumerate(spec) if f.role == "action"]
        self._factors = len(spec)
        self._goals = [f.name for f in spec if f.role == "goal"]

    def fill(self, random: np.random.Generator, window: Window, row: np.ndarray, left: np.ndarray) -> Window:
        """row, left: ``(B,)`` resident row of each window's first timestep, and the timesteps recorded from there on."""
        b, t = window.batch, window.length
        first = next(iter(window.values.values()))
        if self.mode == "ahead":
            start = int(random.integers(self.reach - 1))
            offset = int(random.integers(start, self.reach)) - start
            at = torch.from_numpy(row + np.minimum(offset, left - 1)).to(first.device)
            values = {g: self._views[state_of(g)][at] for g in self._goals}
            return replace(window, values={**window.values, **values})
        recorded = np.minimum(left, t)
        goal = recorded - 1 if self.mode == "last" else 1 + (random.random(b) * np.maximum(recorded - 1, 1)).astype(np.int64)
        at = torch.from_numpy(np.minimum(goal, recorded - 1)).to(first.device)
        every = torch.arange(b, device=first.device)
        values = {g: _repeated(window.values[state_of(g)][every, at], t) for g in self._goals}
        everything = torch.ones(b, t, self._factors, dtype=torch.bool, device=first.device)
        known = everything if window.known is None else window.known.clone()
        asked = torch.arange(t, device=first.device) < at[:, None]
        for i in self._actions:
            known[:, :, i] &= asked
        return replace(window, values={**window.values, **values}, known=known)

    def show(self, window: Window, states: Mapping[str, Tensor]) -> Window:
        """The window with goals ``(B, 1, *shape)`` per state factor, from outside of it."""
        goals = {g: _repeated(states[state_of(g)][:, 0], window.length) for g in self._goals}
        return replace(window, values={**window.values, **goals})


def _repeated(state: Tensor, length: int) -> Tensor:
    """``(B, ...)`` at every timestep, ``(B, length, ...)``."""
    return state[:, None].expand(-1, length, *state.shape[1:])


class FutureGoals:
    """Later states of the episodes that windows are cut from, the one after the last action included where it is recorded.

    frames: consecutive states that make a goal.
    drop:   share of the windows that get none, so that the model can also be asked without a goal.
    """

    def __init__(
        self,
        store: EpisodeStore,
        episodes: np.ndarray,
        found: Sequence[tuple[Factor, Factor, slice]],
        frames: int,
        drop: float,
        convert: Callable[[Factor, np.ndarray], Tensor],
    ) -> None:
        """``found``: per factor of the windows itself, the stored factor and its columns. ``convert`` to model units."""
        rows, lengths = store.rows(episodes), store.lengths[episodes]
        if frames > int(lengths.min()):
            raise ConfigError(f"goals of {frames} frames do not fit the shortest episode, of {int(lengths.min())} steps")
        self.frames, self.drop, self._lengths = frames, drop, lengths + 1
        self._begins = np.cumsum(lengths + 1) - (lengths + 1)
        ends = self._begins + lengths
        place = np.arange(len(rows)) + np.repeat(np.arange(len(lengths)), lengths)
        self._pools: dict[str, Tensor] = {}
        for factor, parent, columns in (f for f in found if f[0].role == "state"):
            pool = np.empty((len(rows) + len(lengths), *parent.shape), parent.dtype)
            pool[place] = store.array(parent.name)[rows]
            pool[ends] = store.finals[parent.name][episodes] if parent.name in store.finals else pool[ends - 1]
            self._pools[factor.name] = convert(factor, pool[..., columns] if parent.kind == "continuous" else pool)

    def draw(self, random: np.random.Generator, episode: np.ndarray, after: np.ndarray) -> tuple[Mapping[str, Tensor], Tensor]:
        """Goals for windows of the ``episode``-th episodes ``(B,)`` that end before timestep ``after`` ``(B,)``.

        Returns per state factor ``(B, frames, *shape)``, and ``(B,)`` bool which windows get one. A window at the end of its
        episode is shown the episode's last states.
        """
        latest = self._lengths[episode] - self.frames
        earliest = np.minimum(after, latest)
        first = self._begins[episode] + earliest + (random.random(len(episode)) * (latest - earliest + 1)).astype(np.int64)
        shown = torch.from_numpy(random.random(len(episode)) >= self.drop)
        at = torch.from_numpy(first[:, None] + np.arange(self.frames))
        return {name: pool[at.to(pool.device)] for name, pool in self._pools.items()}, shown
