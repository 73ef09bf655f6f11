"""Numbers as classes and back: within half a bin, clamped at the edges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import continuous_spec

from maskbench.errors import ConfigError, DataError
from maskbench.tokens.codecs import GivenBins, UniformBins
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import part_slice

numbers = st.floats(-100, 100, width=32)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30), st.integers(2, 64))
@settings(max_examples=60, deadline=None)
def test_training_values_come_back_within_half_a_bin(rows, num_bins: int) -> None:
    values = torch.tensor(rows)
    codec = UniformBins(2, num_bins)
    codec.fit(values)
    index = codec.encode(values)
    assert index.min() >= 0
    assert index.max() < num_bins
    half = (values.amax(0) - values.amin(0)) / num_bins / 2
    assert ((codec.decode(index) - values).abs() <= half + 1e-4).all()


@given(st.integers(2, 200), st.floats(-50, 50), st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_every_class_is_its_own_round_trip(num_bins: int, low: float, span: float) -> None:
    codec = UniformBins(1, num_bins)
    codec.fit(torch.tensor([[low], [low + span]]))
    index = torch.arange(num_bins)[:, None]
    assert torch.equal(codec.encode(codec.decode(index)), index)


def test_bins_are_floored_and_edges_clamped() -> None:
    codec = UniformBins(1, 4)
    codec.fit(torch.tensor([[0.0], [8.0]]))
    value = torch.tensor([[-5.0], [0.0], [1.99], [2.0], [7.99], [8.0], [50.0]])
    assert codec.encode(value)[:, 0].tolist() == [0, 0, 0, 1, 3, 3, 3]
    assert codec.decode(torch.arange(4)[:, None])[:, 0].tolist() == [1, 3, 5, 7]


def test_a_constant_dimension_keeps_its_value() -> None:
    codec = UniformBins(2, 8)
    codec.fit(torch.tensor([[3.0, 0.0], [3.0, 1.0]]))
    assert codec.decode(codec.encode(torch.tensor([[3.0, 0.5]])))[0, 0] == 3


def test_bins_that_were_never_fitted_are_refused() -> None:
    with pytest.raises(DataError, match="never fitted"):
        UniformBins(1, 4).encode(torch.zeros(1, 1))


@given(st.lists(numbers, min_size=2, max_size=9, unique=True), st.lists(numbers, min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_given_bins_take_the_nearest_value(bins, values) -> None:
    codec = GivenBins(sorted(bins))
    value = torch.tensor(values)[:, None]
    gaps = (value - codec.values).abs()
    chosen = (codec.decode(codec.encode(value)) - value).abs()
    torch.testing.assert_close(chosen[:, 0], gaps.amin(1), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("bad", [[], [1.0], [2.0, 1.0], [1.0, 1.0]])
def test_given_bins_must_rise(bad: list[float]) -> None:
    with pytest.raises(ConfigError, match="rising"):
        GivenBins(bad)


def test_a_factor_is_split_into_pieces_of_equal_width_and_a_narrower_rest() -> None:
    layout = build_layout(continuous_spec(17, 2), 4, by="factor", pieces={"state": 4})
    assert layout.spec.names == ("state.0-5", "state.5-10", "state.10-15", "state.15-17", "action")
    assert [f.width for f in layout.spec] == [5, 5, 5, 2, 2]
    assert [part_slice(continuous_spec(17, 2)["state"], n) for n in layout.spec.names[:4]] == [
        slice(0, 5),
        slice(5, 10),
        slice(10, 15),
        slice(15, 17),
    ]
    assert build_layout(continuous_spec(4, 2), 4, by="factor", pieces={"action": 2}).spec.names[-2:] == (
        "action.0-1",
        "action.1-2",
    )
