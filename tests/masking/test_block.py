"""Block masks (CurrMask): exact counts, whole runs, every position alike."""

import pytest
import torch
from tests.examples import continuous_spec

from maskbench.errors import ConfigError
from maskbench.masking.block import BlockMask
from maskbench.tokens.layout import build_layout

LAYOUT = build_layout(continuous_spec(), 32, by="factor", inputs=["state", "action"])


def tokens(scheme: BlockMask, batch: int = 400, seed: int = 0) -> torch.Tensor:
    masks = scheme.sample(torch.Generator().manual_seed(seed), batch, LAYOUT)
    return LAYOUT.tokens_with(masks.visible)


@pytest.mark.parametrize(("ratio", "kept"), [(0.15, 54), (0.35, 41), (0.55, 28), (0.75, 16), (0.95, 3)])
def test_blocks_keep_as_many_tokens_as_single_ones(ratio: float, kept: int) -> None:
    for block in (1, 4, 20):
        assert (tokens(BlockMask([block], [ratio])).sum(1) == kept).all()


def test_hidden_tokens_come_in_runs() -> None:
    hidden = ~tokens(BlockMask([8], [0.5]))
    runs = (hidden[:, 1:] & ~hidden[:, :-1]).sum(1) + hidden[:, 0]
    assert runs.max() <= 64 // 8 // 2 + 2  # half of the runs, one of which may be cut, and one more at the edge
    singles = ~tokens(BlockMask([1], [0.5]))
    assert ((singles[:, 1:] & ~singles[:, :-1]).sum(1) + singles[:, 0]).float().mean() > 2 * runs.float().mean()


def test_every_position_is_hidden_as_often() -> None:
    share = (~tokens(BlockMask([5], [0.5]), batch=6000)).float().mean(0)
    assert (share - 0.5).abs().max() < 0.05


def test_a_draw_is_a_function_of_the_generator() -> None:
    scheme = BlockMask([1, 5, 20], [0.15, 0.75], per="row")
    assert torch.equal(tokens(scheme, seed=3), tokens(scheme, seed=3))
    assert not torch.equal(tokens(scheme, seed=3), tokens(scheme, seed=4))


def test_lengths_and_ratios_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="blocks must be"):
        BlockMask([0], [0.5])
    with pytest.raises(ConfigError, match="mask ratios must be"):
        BlockMask([1], [1.0])
