"""Fixtures that many tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from maskbench.tokens.layout import TokenLayout, build_layout
from tests.examples import discrete_spec

torch.set_num_threads(1)


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
