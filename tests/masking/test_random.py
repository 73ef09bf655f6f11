"""Random masks: counts, marginals and frontiers that the papers fix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import continuous_spec, discrete_spec

from maskbench.errors import ConfigError
from maskbench.masking.random import BernoulliMask, FrontierMask, ModalityMask, RatioMask
from maskbench.tokens.layout import build_layout


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [(64, [54, 41, 28, 16, 3]), (128, [108, 83, 57, 32, 6]), (256, [217, 166, 115, 64, 12])],
)
def test_maskdp_keeps_the_published_number_of_tokens(tokens: int, kept: list[int]) -> None:
    layout = build_layout(continuous_spec(), tokens // 2, by="factor", inputs=["state", "action"])
    for ratio, want in zip([0.15, 0.35, 0.55, 0.75, 0.95], kept, strict=True):
        masks = RatioMask([ratio]).sample(generator(), 16, layout)
        assert (masks.visible.flatten(1).sum(1) == want).all()
        assert masks.max_visible == want
        assert masks.predict.all()


def test_every_position_is_kept_equally_often() -> None:
    layout = build_layout(continuous_spec(), 16, by="factor", inputs=["state", "action"])
    masks = RatioMask([0.5]).sample(generator(), 4000, layout)
    assert (masks.visible.float().mean(0) - 0.5).abs().max() < 0.04


def test_one_ratio_a_batch_or_one_a_row() -> None:
    layout = build_layout(continuous_spec(), 16, by="factor", inputs=["state", "action"])
    counts = lambda per: RatioMask([0.15, 0.5, 0.95], per).sample(generator(), 64, layout).visible.flatten(1).sum(1)  # noqa: E731
    assert len(counts("batch").unique()) == 1
    assert len(counts("row").unique()) == 3


def test_unimask_shows_a_uniform_number_of_cells_and_ties_states_to_actions(grid_layout) -> None:
    masks = BernoulliMask().sample(generator(), 20_000, grid_layout)
    s = masks.visible[:, :, grid_layout.column("state")].sum(1).float()
    a = masks.visible[:, :, grid_layout.column("action")].sum(1).float()
    assert (torch.bincount(s.long(), minlength=11) / 20_000 - 1 / 11).abs().max() < 0.012
    assert torch.corrcoef(torch.stack([s, a]))[0, 1] == pytest.approx(0.83, abs=0.01)
    both = masks.visible[:, :, [grid_layout.column("state"), grid_layout.column("state_key")]]
    assert (both[..., 0] == both[..., 1]).all()


def test_unimask_shows_the_first_return_half_the_time_and_never_asks_for_one(grid_layout) -> None:
    masks = BernoulliMask().sample(generator(), 10_000, grid_layout)
    r = grid_layout.column("rtg")
    assert masks.visible[:, 0, r].float().mean() == pytest.approx(0.5, abs=0.02)
    assert not masks.visible[:, 1:, r].any()
    assert not masks.predict[:, :, r].any()
    others = [c for c in range(4) if c != r]
    assert (masks.predict[:, :, others] == ~masks.visible[:, :, others]).all()


def test_parts_of_a_state_can_be_masked_apart() -> None:
    layout = build_layout(continuous_spec(), 8, by="factor", inputs=["state", "action"], split=["state"])
    apart = BernoulliMask(independent_parts=True).sample(generator(), 100, layout).visible
    together = BernoulliMask().sample(generator(), 100, layout).visible
    pose, velocity = layout.column("state.pose"), layout.column("state.velocity")
    assert (apart[..., pose] != apart[..., velocity]).any()
    assert (together[..., pose] == together[..., velocity]).all()


@given(st.integers(0, 2**31), st.integers(2, 20))
@settings(max_examples=40, deadline=None)
def test_nothing_beyond_the_frontier_is_visible(seed: int, length: int) -> None:
    layout = build_layout(discrete_spec(), length, by="factor")
    scheme = FrontierMask([0.5, 1.0], {"state": 0.2, "return": 0.1, "action": 0.7})
    visible = scheme.sample(generator(seed), 32, layout).visible
    t = torch.arange(length)
    last = {role: torch.where(visible[:, :, layout.columns(role)[0]], t, -1).amax(1) for role in ("state", "return", "action")}
    # in the order state, return, action no role reaches further than one step beyond a later one's limit
    limit = torch.stack(list(last.values())).amax(0)
    for role in last:
        assert (visible[:, :, layout.columns(role)[0]] <= (t[None] <= limit[:, None])).all()


def test_with_all_visible_the_frontier_alone_decides() -> None:
    layout = build_layout(discrete_spec(), 6, by="factor")
    scheme = FrontierMask([1.0], {"action": 1.0})
    visible = scheme.sample(generator(), 200, layout).visible
    states = visible[:, :, layout.column("state")].sum(1)
    actions = visible[:, :, layout.column("action")].sum(1)
    assert (states == actions + 1).all()  # s_0..s_u and a_0..a_{u-1}: exactly what behaviour cloning sees
    assert set(actions.tolist()) == set(range(6))


def test_mtm_can_share_one_mask_between_all_rows(grid_layout) -> None:
    shared = ModalityMask([0.5], per="batch").sample(generator(), 16, grid_layout).visible
    assert (shared == shared[:1]).all()
    apart = ModalityMask([0.5], per="row").sample(generator(), 16, grid_layout).visible
    assert (apart.sum(1) == 5).all()
    assert not (apart == apart[:1]).all()


@pytest.mark.parametrize("scheme", [BernoulliMask(), RatioMask([0.3, 0.6]), ModalityMask([0.5]), BernoulliMask(p=0.15)])
def test_a_seed_draws_the_same_masks_again(scheme, grid_layout) -> None:
    a, b = (scheme.sample(generator(7), 32, grid_layout) for _ in range(2))
    c = scheme.sample(generator(8), 32, grid_layout)
    assert torch.equal(a.visible, b.visible)
    assert not torch.equal(a.visible, c.visible)


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.5])
def test_rates_outside_the_open_unit_interval_are_refused(bad: float) -> None:
    with pytest.raises(ConfigError, match=r"\(0, 1\)"):
        BernoulliMask(p=bad)
    with pytest.raises(ConfigError, match=r"\(0, 1\)"):
        RatioMask([bad])


def test_random_masks_are_the_same_for_gpt(grid_layout) -> None:
    both = [BernoulliMask(attend=a).sample(generator(), 32, grid_layout) for a in ("bidirectional", "causal")]
    assert torch.equal(both[0].visible, both[1].visible)
    assert torch.equal(both[0].predict, both[1].predict)
    assert [m.attend for m in both] == ["bidirectional", "causal"]


@pytest.mark.parametrize(("share", "returns"), [(0.0, "none"), (0.5, "first_half"), (1.0, "first")])
def test_random_masks_say_which_returns_they_show(share: float, returns: str) -> None:
    assert BernoulliMask(first_return=share).returns == returns
