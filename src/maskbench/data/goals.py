"""Goals in hindsight: what a recorded episode came to later, shown in front of a window (C-BeT; BeT spec 5.1).

window    | g g | s0 s1 s2 s3 |        g: frames from a random moment after the window, of the same episode
          | - - | a0 a1 a2 a3 |        no action belongs to them
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from maskbench.data.store import EpisodeStore
from maskbench.errors import ConfigError
from maskbench.trajectory import Factor


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
