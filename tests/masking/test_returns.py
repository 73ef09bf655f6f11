"""Return modes: what they show of the returns-to-go, and that they touch nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import continuous_spec, discrete_spec

from maskbench.errors import ConfigError
from maskbench.masking.causal import CausalMask
from maskbench.masking.mixture import Mixture
from maskbench.masking.random import BernoulliMask, ModalityMask, RatioMask
from maskbench.masking.returns import WithReturns
from maskbench.masking.tasks import NamedTask
from maskbench.tokens.layout import build_layout

SCHEMES = {
    "random": BernoulliMask(),
    "return": NamedTask("return"),
    "gpt": CausalMask(returns="all"),
    "mixture": Mixture({"bc": NamedTask("bc"), "return": NamedTask("return")}),
    "ratio": RatioMask([0.5]),
    "modality": ModalityMask([0.5, 1.0], predict="hidden"),
}
#: mode -> (visible returns in the rows that show any, share of those rows); spec 2.2.
MODES = {"none": (0, 0), "all": (10, 1), "first": (1, 1), "all_half": (10, 0.5), "first_half": (1, 0.5)}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SCHEMES)
def test_modes_show_exactly_their_returns(name: str, mode: str, grid_layout) -> None:
    scheme = WithReturns(SCHEMES[name], mode)
    shown = scheme.sample(generator(), 2000, grid_layout).visible[:, :, grid_layout.column("rtg")]
    count, share = MODES[mode]
    assert set(shown.sum(1).tolist()) <= {0, count}
    assert shown.any(1).float().mean() == pytest.approx(share, abs=0.04)
    assert not count or shown[:, 0].sum() == shown.any(1).sum()
    assert scheme.returns == mode


def test_keep_half_wipes_half_the_rows_of_what_the_scheme_shows(grid_layout) -> None:
    column = grid_layout.column("rtg")
    every = WithReturns(CausalMask(returns="all"), "keep_half")
    counts = every.sample(generator(), 2000, grid_layout).visible[:, :, column].sum(1)
    assert set(counts.tolist()) == {0, 10}
    assert (counts > 0).float().mean() == pytest.approx(0.5, abs=0.04)
    assert every.returns == "all_half"
    quarter = WithReturns(BernoulliMask(), "keep_half").sample(generator(), 4000, grid_layout).visible[:, :, column]
    assert quarter.any(1).float().mean() == pytest.approx(0.25, abs=0.04)


@given(mode=st.sampled_from([*MODES, "keep_half"]), name=st.sampled_from(sorted(SCHEMES)), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_other_factors_keep_the_masks_of_the_scheme_and_shown_returns_are_not_asked(mode: str, name: str, seed: int) -> None:
    layout = build_layout(discrete_spec(), 6, "factor")
    plain = SCHEMES[name].sample(generator(seed), 16, layout)
    masks = WithReturns(SCHEMES[name], mode).sample(generator(seed), 16, layout)
    others = [i for i, f in enumerate(layout.spec) if f.role != "return"]
    assert torch.equal(masks.visible[..., others], plain.visible[..., others])
    assert torch.equal(masks.predict[..., others], plain.predict[..., others])
    column = layout.column("rtg")
    assert not (masks.visible & masks.predict)[..., column].any()
    assert masks.attend == plain.attend
    if masks.max_visible is not None:
        assert layout.tokens_with(masks.visible).sum(1).max() <= masks.max_visible


def test_a_scheme_keeps_its_nature_inside() -> None:
    random = WithReturns(BernoulliMask(attend="causal"), "none")
    assert (random.attend, random.hides, random.returns) == ("causal", True, "none")
    gpt = WithReturns(CausalMask(["action"]), "all")
    assert (gpt.attend, gpt.hides, gpt.returns) == ("causal", False, "all")
    assert gpt.outputs(build_layout(discrete_spec(), 4)) == ("action",)


def test_where_there_are_no_returns_nothing_changes() -> None:
    layout = build_layout(continuous_spec(), 5, "factor")
    plain, masks = (s.sample(generator(), 4, layout) for s in (BernoulliMask(), WithReturns(BernoulliMask(), "all")))
    assert torch.equal(plain.visible, masks.visible)


def test_an_unknown_mode_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'first_half'"):
        WithReturns(BernoulliMask(), "first_hlaf")
