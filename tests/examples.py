"""Small specifications and batches that many tests share."""

from __future__ import annotations

import torch

from maskbench.tokens.layout import TokenLayout
from maskbench.trajectory import Factor, TrajectorySpec, Window


def discrete_spec() -> TrajectorySpec:
    """The key-door gridworld's factors."""
    return TrajectorySpec(
        (
            Factor("state", "discrete", "state", classes=16),
            Factor("state_key", "discrete", "state", classes=16),
            Factor("action", "discrete", "action", classes=4),
            Factor("rtg", "discrete", "return", classes=17, offset=6),
        )
    )


def continuous_spec(state: int = 24, action: int = 6, returns: bool = False) -> TrajectorySpec:
    """A dm_control-like specification; the state has two parts."""
    parts = (("pose", 0, state // 2), ("velocity", state // 2, state)) if state > 1 else ()
    factors = [
        Factor("state", "continuous", "state", (state,), parts=parts),
        Factor("action", "continuous", "action", (action,)),
    ]
    return TrajectorySpec((*factors, Factor("rtg", "continuous", "return", (1,))) if returns else tuple(factors))


def random_window(layout: TokenLayout, batch: int, seed: int = 0) -> Window:
    """Random cells for every factor of a layout."""
    g = torch.Generator().manual_seed(seed)
    values = {}
    for f in layout.spec:
        if f.classes is not None:
            values[f.name] = torch.randint(f.classes, (batch, layout.length), generator=g)
        else:
            values[f.name] = torch.randn(batch, layout.length, *f.shape, generator=g)
    return Window(values)
