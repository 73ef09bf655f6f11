"""Small specifications, layouts and batches that many tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from maskbench.tokens.layout import TokenLayout, build_layout
from maskbench.trajectory import Factor, TrajectorySpec, Window

torch.set_num_threads(1)


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


@pytest.fixture
def grid_layout() -> TokenLayout:
    return build_layout(discrete_spec(), 10)


@pytest.fixture
def shared_data() -> Path:
    """Genuine published episodes, where they are at hand."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the published episodes are not at hand (../shared/data)")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
