"""Windows of pictures and objects: rows are read batch by batch from where they lie, memory or disk, and stay bytes.

Batches are as long as their longest episode, so that short ones cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from maskbench.data.store import EpisodeStore
from maskbench.errors import ConfigError
from maskbench.trajectory import Factor, TrajectorySpec, Window


class ScatteredRows:
    """Reads windows of the ``chosen`` episodes of a store.

    found:   per factor of the windows itself, the stored factor and its columns. convert: recorded values to model units.
    final:   one more timestep behind the last action of every episode: the state that it led to, whose other cells are unknown.
    Raises ConfigError where final states are wanted and not recorded.
    """

    def __init__(
        self,
        store: EpisodeStore,
        chosen: np.ndarray,
        found: Sequence[tuple[Factor, Factor, slice]],
        convert: Callable[[Factor, np.ndarray], Tensor],
        final: bool,
    ) -> None:
        lacking = [p.name for f, p, _ in found if final and f.role == "state" and p.name not in store.finals]
        if lacking:
            raise ConfigError(f"dataset.sampling.final: '{store.card.name}' did not record the final values of {lacking}")
        self.store, self.found, self.convert, self.final = store, tuple(found), convert, final
        self.episodes, self.lengths = chosen, store.lengths[chosen]
        self.begins = store.ends[chosen] - self.lengths

    def window(self, start: np.ndarray, episode: np.ndarray, length: int, device: torch.device) -> Window:
        """The timesteps ``start .. start + length - 1`` of episodes, ``(B,)`` each; those beyond its end are padding."""
        recorded = self.lengths[episode] + self.final
        steps = min(length, int((recorded - start).max()))
        time = start[:, None] + np.arange(steps)
        valid = time < recorded[:, None]
        inside = time < self.lengths[episode][:, None]  # rows of the store
        rows, last = (self.begins[episode][:, None] + time)[inside], valid & ~inside
        owners = np.broadcast_to(self.episodes[episode][:, None], time.shape)[last]
        values: dict[str, Tensor] = {}
        for factor, parent, columns in self.found:
            whole = np.zeros((*time.shape, *parent.shape), parent.dtype)
            whole[inside] = self.store.array(parent.name)[rows]
            if len(owners) and factor.role == "state":
                whole[last] = self.store.finals[parent.name][owners]
            values[factor.name] = self.convert(factor, whole if parent.kind != "continuous" else whole[..., columns])
        known = None
        if self.final:
            states = np.array([f.role == "state" for f, _, _ in self.found])
            known = torch.from_numpy(inside[..., None] | states).to(device)
        shown = None if valid.all() else torch.from_numpy(valid).to(device)
        return Window(values, shown, torch.from_numpy(start).to(device), known)


def shuffled(window: Window, spec: TrajectorySpec, random: np.random.Generator, every: bool) -> Window:
    """The same windows with the slots of their objects ``(B, T, V, n, ...)`` in another order, one for all views; one per
    episode, or ``every`` observation has its own."""
    values = dict(window.values)
    for f in spec:
        if f.kind == "objects":
            cells = values[f.name]
            b, t, v, n, _ = cells.shape
            keys = random.random((b, t if every else 1, 1, n))
            order = torch.from_numpy(keys.argsort(-1)).to(cells.device).expand(b, t, v, n)
            values[f.name] = cells.gather(3, order[..., None].expand_as(cells))
    return replace(window, values=values)
