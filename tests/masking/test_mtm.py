"""MTM's masks, row by row (spec 6.2): 1 = visible."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import continuous_spec, discrete_spec

from maskbench.errors import ConfigError
from maskbench.masking.mixture import Mixture
from maskbench.masking.mtm import PATTERNS, PatternMask
from maskbench.masking.random import COSINE_FRACTIONS, FrontierMask, ModalityMask, TokenMask
from maskbench.tokens.layout import build_layout

LAYOUT = build_layout(discrete_spec(), 5, by="factor")
NONE, ALL = "00000", "11111"
BC = [("10000", "00000"), ("11000", "10000"), ("11100", "11000"), ("11110", "11100"), ("11111", "11110")]
TABLES = {
    "id": [(ALL, NONE, NONE)] * 5,
    "fd": [("00000", ALL, NONE), ("10000", ALL, NONE), ("11000", ALL, NONE), ("11100", ALL, NONE)],
    "bc": [(s, a, a) for s, a in BC],
    "rcbc": [(s, a, ALL) for s, a in BC],
    "goal": [(s, NONE, NONE) for s in ("10001", "11001", "10101", "10011", "10001")],
    "goal_n": [("10001", NONE, NONE), ("11001", "10000", NONE), ("11101", "11000", NONE), (ALL, "11100", NONE)],
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bits(visible: torch.Tensor, role: str) -> list[str]:
    return ["".join(str(int(v)) for v in row) for row in visible[:, :, LAYOUT.columns(role)[0]]]


@pytest.mark.parametrize("name", TABLES)
def test_every_pattern_shows_what_the_paper_shows(name: str) -> None:
    scheme = PatternMask(name)
    visible = scheme.at(torch.tensor(list(scheme.times(5))), LAYOUT)
    assert list(zip(*(bits(visible, r) for r in ("state", "action", "return")), strict=True)) == TABLES[name]


@pytest.mark.parametrize("name", TABLES)
def test_drawn_masks_are_rows_of_the_table_and_all_of_them_are_drawn(name: str) -> None:
    masks = PatternMask(name).sample(generator(), 400, LAYOUT)
    drawn = set(zip(*(bits(masks.visible, r) for r in ("state", "action", "return")), strict=True))
    assert drawn == set(TABLES[name])
    assert masks.predict.all()


def test_bc_random_keeps_half_of_what_bc_shows() -> None:
    masks = PatternMask("bc_random").sample(generator(), 20_000, LAYOUT)
    state, action = (masks.visible[:, :, LAYOUT.columns(r)[0]].float().mean(0) for r in ("state", "action"))
    t = torch.arange(5)
    torch.testing.assert_close(state, (5 - t) / 10, atol=0.015, rtol=0)
    torch.testing.assert_close(action, (4 - t) / 10, atol=0.015, rtol=0)


@pytest.mark.parametrize("name", PATTERNS)
def test_one_mask_can_be_shared_by_the_batch_and_hidden_cells_alone_be_asked(name: str) -> None:
    masks = PatternMask(name, per="batch", predict="hidden").sample(generator(), 16, LAYOUT)
    assert (masks.visible == masks.visible[:1]).all()
    assert torch.equal(masks.predict, ~masks.visible)


def test_patterns_of_two_timesteps_refuse_windows_of_one() -> None:
    layout = build_layout(discrete_spec(), 1, by="factor")
    for name in ("fd", "goal_n"):
        with pytest.raises(ConfigError, match="longer than 1"):
            PatternMask(name).sample(generator(), 4, layout)
    assert PatternMask("id").sample(generator(), 4, layout).visible[..., layout.columns("state")[0]].all()


def test_an_unknown_pattern_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="rcbc"):
        PatternMask("rcbcc")


def test_full_random_has_the_published_cosine_ratios() -> None:
    expected = [math.cos(math.pi * r) / 2 + 0.5 for r in torch.linspace(0.15, 0.9, 30, dtype=torch.float64).tolist()]
    assert list(COSINE_FRACTIONS) == pytest.approx(expected)
    assert [COSINE_FRACTIONS[0], COSINE_FRACTIONS[-1]] == pytest.approx([0.9455, 0.0245], abs=1e-4)


@given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from([0.1, 0.5, 0.85, 1.0]))
@settings(max_examples=30, deadline=None)
def test_full_random_counts_tokens_of_a_modality_and_random_counts_timesteps(seed: int, length: int, share: float) -> None:
    layout = build_layout(continuous_spec(6, 2, returns=True), length, by="factor", pieces={"state": 3})
    state = list(layout.columns("state"))
    assert len(state) == 3
    tokens = TokenMask([share]).sample(generator(seed), 8, layout).visible
    assert (tokens[:, :, state].flatten(1).sum(1) == int(3 * length * share)).all()
    assert (tokens[:, :, layout.column("action")].sum(1) == int(length * share)).all()
    whole = ModalityMask([share]).sample(generator(seed), 8, layout).visible[:, :, state]
    assert (whole == whole[..., :1]).all()
    assert (whole[..., 0].sum(1) == int(length * share)).all()


def test_full_random_shows_every_token_equally_often() -> None:
    layout = build_layout(continuous_spec(6, 2), 4, by="factor", pieces={"state": 3})
    shown = TokenMask([0.5]).sample(generator(), 4000, layout).visible.float().mean(0)
    assert (shown - 0.5).abs().max() < 0.04


def test_auto_mask_draws_the_tokens_of_a_modality_apart() -> None:
    layout = build_layout(continuous_spec(6, 2), 8, by="dimension")
    visible = FrontierMask([0.5], {"action": 1.0}).sample(generator(), 50, layout).visible[:, :, list(layout.columns("state"))]
    assert (visible != visible[..., :1]).any()


def test_heteromodal_training_mixes_id_and_auto_mask() -> None:
    auto = FrontierMask([1.0], {"action": 1.0})
    masks = Mixture({"id": PatternMask("id"), "auto": auto}).sample(generator(), 400, LAYOUT)
    states, actions = (masks.visible[:, :, LAYOUT.columns(r)[0]].sum(1) for r in ("state", "action"))
    is_id = (states == 5) & (actions == 0)
    assert 0.4 < is_id.float().mean() < 0.6
    assert (states[~is_id] == actions[~is_id] + 1).all()
