"""Causal, span, custom and mixed schemes."""

import pytest
import torch
from tests.examples import continuous_spec, discrete_spec

from maskbench.errors import ConfigError
from maskbench.masking.causal import CausalMask
from maskbench.masking.custom import CustomMask
from maskbench.masking.mixture import Mixture
from maskbench.masking.random import BernoulliMask
from maskbench.masking.span import SpanMask
from maskbench.masking.tasks import NamedTask
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Window


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("returns", "shown"), [("none", 0), ("first", 1), ("all", 10)])
def test_causal_schemes_show_everything_but_the_returns_they_hide(returns: str, shown: int, grid_layout) -> None:
    masks = CausalMask(["action"], returns).sample(generator(), 8, grid_layout)
    assert masks.attend == "causal"
    assert masks.visible[:, :, list(grid_layout.columns("state") + grid_layout.columns("action"))].all()
    assert (masks.visible[:, :, grid_layout.column("rtg")].sum(1) == shown).all()
    assert masks.predict.sum() == 8 * 10


def test_half_the_rows_see_the_first_return(grid_layout) -> None:
    first = CausalMask(returns="first_half").sample(generator(), 4000, grid_layout).visible[:, 0, grid_layout.column("rtg")]
    assert first.float().mean() == pytest.approx(0.5, abs=0.03)


def test_span_with_open_end_is_future_and_with_open_start_is_past(grid_layout) -> None:
    lo = SpanMask([3, 10]).sample(generator(), 1, grid_layout)
    future = NamedTask("future").at(torch.tensor([3]), grid_layout)
    state_action = [grid_layout.column("state"), grid_layout.column("action")]
    assert torch.equal(lo.predict[..., state_action], future.predict[..., state_action])
    hi = SpanMask([0, 4]).sample(generator(), 1, grid_layout)
    past = NamedTask("past").at(torch.tensor([4]), grid_layout)
    assert torch.equal(hi.visible[..., state_action], past.visible[..., state_action])


def test_a_span_beyond_the_window_is_refused(grid_layout) -> None:
    with pytest.raises(ConfigError, match="beyond the window"):
        SpanMask([2, 11]).sample(generator(), 4, grid_layout)


def test_custom_masks_address_parts_and_ask_for_the_complement() -> None:
    layout = build_layout(continuous_spec(), 3, by="factor", inputs=["state", "action"], split=["state"])
    masks = CustomMask({"state": [1, 0, 0], "state.velocity": [1, 1, 0]}).sample(generator(), 2, layout)
    assert masks.visible[0, :, layout.column("state.pose")].tolist() == [True, False, False]
    assert masks.visible[0, :, layout.column("state.velocity")].tolist() == [True, True, False]
    assert torch.equal(masks.predict, ~masks.visible)


@pytest.mark.parametrize(
    ("rows", "what"), [({"state": [1, 0]}, "3 zeros and ones"), ({"stat": [1, 0, 0]}, "no role or factor")]
)
def test_custom_masks_that_do_not_fit_are_refused(rows: dict, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        CustomMask(rows).sample(generator(), 2, build_layout(discrete_spec(), 3))


def test_a_row_mixture_draws_every_scheme_by_its_weight(grid_layout) -> None:
    mix = Mixture({"a": NamedTask("forward_dynamics"), "b": NamedTask("past")}, {"a": 1, "b": 3})
    masks = mix.sample(generator(), 4000, grid_layout)
    dynamics = masks.visible[:, :, grid_layout.column("state")].sum(1) == 1
    asks_actions = masks.predict[:, :, grid_layout.column("action")].any(1)
    assert asks_actions.float().mean() == pytest.approx(0.75, abs=0.03)
    assert dynamics[~asks_actions].all()


def test_a_cycle_takes_schemes_in_turn(grid_layout) -> None:
    mix = Mixture({"past": NamedTask("past"), "bc": NamedTask("bc")}, per="cycle")
    asked = [
        mix.sample(generator(), 10, grid_layout, step).predict[..., grid_layout.column("state")].any() for step in range(4)
    ]
    assert [bool(a) for a in asked] == [True, False, True, False]


def test_schemes_of_different_attention_do_not_mix() -> None:
    with pytest.raises(ConfigError, match="one attention rule"):
        Mixture({"a": CausalMask(), "b": BernoulliMask()})


def test_a_causal_mixture_of_tasks_is_causal_and_hides(grid_layout) -> None:
    mix = Mixture({n: NamedTask(n, attend="causal") for n in ("bc", "return", "past")})
    assert (mix.attend, mix.hides, mix.returns) == ("causal", True, "first")
    assert mix.sample(generator(), 8, grid_layout).attend == "causal"
    assert not Mixture({"a": CausalMask()}).hides


def test_padding_is_hidden_and_never_asked_for(grid_layout) -> None:
    valid = torch.arange(10)[None] < torch.tensor([[4], [10]])
    window = Window({"state": torch.zeros(2, 10, dtype=torch.long)}, valid=valid)
    masks = BernoulliMask().sample(generator(), 2, grid_layout).within(window)
    assert not masks.visible[0, 4:].any()
    assert not masks.predict[0, 4:].any()
    assert (masks.visible | masks.predict)[1].any()
