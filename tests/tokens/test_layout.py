"""Token order, readout positions and splitting."""

import pytest
import torch
from tests.examples import continuous_spec, discrete_spec

from maskbench.errors import ConfigError, DataError
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Factor, part_slice


@pytest.mark.parametrize(
    ("by", "order", "tokens"),
    [("timestep", "time", 10), ("factor", "time", 40), ("role", "time", 30), ("dimension", "stream", 40)],
)
def test_number_of_tokens(by: str, order: str, tokens: int) -> None:
    assert build_layout(discrete_spec(), 10, by, order).num_tokens == tokens


def test_interleaved_order_is_return_state_action() -> None:
    layout = build_layout(discrete_spec(), 2, by="role")
    assert [s.name for s in layout.streams] == ["return", "state", "action"]
    assert layout.token_timesteps.tolist() == [0, 0, 0, 1, 1, 1]
    assert layout.token_streams.tolist() == [0, 1, 2, 0, 1, 2]


def test_stream_order_puts_whole_streams_one_after_the_other() -> None:
    layout = build_layout(discrete_spec(), 2, by="role", order="stream")
    assert layout.token_streams.tolist() == [0, 0, 1, 1, 2, 2]
    grid = torch.arange(6).view(1, 2, 3)  # (B, T, S)
    assert layout.to_sequence(grid).tolist() == [[0, 3, 1, 4, 2, 5]]


def test_a_causal_action_is_read_at_the_state_before_it() -> None:
    layout = build_layout(discrete_spec(), 2, by="role")
    where = layout.readout("causal")
    assert where[:, layout.column("action")].tolist() == [1, 4]
    assert where[:, layout.column("state")].tolist() == [0, 3]
    assert where[:, layout.column("rtg")].tolist() == [-1, 2]


def test_a_factor_that_is_no_input_is_read_at_its_own_timestep() -> None:
    layout = build_layout(continuous_spec(), 3, inputs=["state"])
    assert layout.num_tokens == 3
    assert layout.readout("causal")[:, layout.column("action")].tolist() == [0, 1, 2]


def test_splitting_by_dimension_makes_one_token_a_scalar() -> None:
    layout = build_layout(continuous_spec(4, 2), 3, by="dimension", inputs=["state", "action"])
    assert layout.num_tokens == 3 * 6
    assert all(f.width == 1 for f in layout.spec)


def test_parts_tile_their_factor() -> None:
    state = continuous_spec(24)["state"]
    assert part_slice(state, "state.velocity") == slice(12, 24)
    with pytest.raises(DataError, match="is no part"):
        part_slice(state, "state.height")
    with pytest.raises(DataError, match="must tile"):
        Factor("x", "continuous", "state", (4,), parts=(("a", 0, 1), ("b", 2, 4)))


def test_a_layout_without_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match="selects none"):
        build_layout(continuous_spec(), 3, inputs=["return"])
