"""Distributions over cells: losses by hand, exact codecs, sampling from given noise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import continuous_spec, random_window
from torch.nn.functional import cross_entropy

from maskbench.errors import ConfigError, DataError
from maskbench.masking.random import FrontierMask
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.heads import (
    BinnedHead,
    BinsHead,
    CategoricalHead,
    GaussianHead,
    HeadChoice,
    build_head,
    build_heads,
)
from maskbench.models.heads.categorical import focal
from maskbench.models.heads.sampling import Sampling, draw_class
from maskbench.models.leakage import prove_no_leak
from maskbench.models.objective import Objective
from maskbench.tokens.kmeans import fit_kmeans
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Factor, Window

ACTION = Factor("action", "continuous", "action", (2,))
CLASSES = Factor("action", "discrete", "action", classes=5)


def fitted(num_bins: int = 6, **kwargs) -> tuple[BinsHead, torch.Tensor]:
    values = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    head = BinsHead(ACTION, 8, num_bins=num_bins, **kwargs)
    head.fit(values)
    return head, values


@given(st.integers(1, 12), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_bin_and_offset_decode_to_the_value_that_was_encoded(num_bins: int, seed: int) -> None:
    head, values = fitted(num_bins)
    index = head.encode(values)
    offset = values - head.centres[index]
    params = torch.zeros(len(values), num_bins * 3)
    params[:, num_bins:].view(-1, num_bins, 2)[torch.arange(len(values)), index] = offset
    torch.testing.assert_close(head.decode(params, index), values)
    assert (torch.cdist(values, head.centres).argmin(1) == index).all()


def test_only_the_true_bins_offset_receives_gradient() -> None:
    head, values = fitted()
    params = torch.zeros(400, 18, requires_grad=True)
    head.losses(params, values)["offset"].sum().backward()
    grad = params.grad[:, 6:].view(400, 6, 2)
    touched = grad.abs().sum(-1) > 0
    assert (touched.sum(1) == 1).all()
    assert torch.equal(touched.int().argmax(1), head.encode(values))


def test_the_offset_loss_is_its_scale_times_the_mean_squared_residual() -> None:
    head, values = fitted(offset_scale=7.0)
    loss = head.losses(torch.zeros(400, 18), values)["offset"]
    torch.testing.assert_close(loss, 7 * (values - head.centres[head.encode(values)]).square().mean(-1))


def test_one_bin_leaves_a_regression_around_the_mean() -> None:
    head, values = fitted(num_bins=1)
    torch.testing.assert_close(head.centres[0], values.mean(0), atol=1e-5, rtol=1e-5)
    assert head.losses(torch.zeros(400, 3), values)["class"].abs().max() == 0


def test_without_offsets_the_head_answers_with_centres() -> None:
    head, values = fitted(predict_offsets=False)
    assert set(head.losses(torch.zeros(400, 6), values)) == {"class"}
    assert torch.equal(head.mode(torch.eye(6)), head.centres)


def test_unfitted_bins_are_refused() -> None:
    with pytest.raises(DataError, match="never fitted"):
        BinsHead(ACTION, 8).losses(torch.zeros(3, 72), torch.zeros(3, 2))


def test_more_bins_than_distinct_actions_are_refused() -> None:
    with pytest.raises(DataError, match="training data has 4"):
        fit_kmeans(torch.eye(4).repeat(10, 1), 5)


def test_centres_do_not_depend_on_the_order_of_restarts_or_calls() -> None:
    _, values = fitted()
    assert torch.equal(fit_kmeans(values, 5), fit_kmeans(values, 5))


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_loss_by_hand(gamma: float) -> None:
    logits, target = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
    p = logits.softmax(-1)[0, 0]
    torch.testing.assert_close(focal(logits, target, gamma)[0], -((1 - p) ** gamma) * p.log())
    if gamma == 0:
        torch.testing.assert_close(focal(logits, target, 0.0), cross_entropy(logits, target, reduction="none"))


def test_classes_are_drawn_with_their_probabilities() -> None:
    logits = torch.log(torch.tensor([0.1, 0.2, 0.7]))
    u = (torch.arange(10_000) + 0.5).double() / 10_000
    drawn = draw_class(logits.expand(10_000, 3), u)
    assert (torch.bincount(drawn, minlength=3) / 10_000).tolist() == pytest.approx([0.1, 0.2, 0.7], abs=1e-3)
    sharp = draw_class(logits.expand(10_000, 3), u, Sampling(0.05))
    assert (sharp == 2).float().mean() > 0.999


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=8), st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_any_noise_draws_a_valid_class(logits: list[float], u: float) -> None:
    drawn = draw_class(torch.tensor([logits]), torch.tensor([u], dtype=torch.float64))
    assert 0 <= int(drawn) < len(logits)


def test_a_gaussian_head_samples_its_own_moments_and_scores_them() -> None:
    head = GaussianHead(ACTION, 8)
    params = torch.tensor([1.0, -2.0, 0.0, 0.5]).expand(20_000, 4)
    u = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = head.sample(params, u)
    assert drawn.mean(0).tolist() == pytest.approx([1, -2], abs=0.05)
    assert drawn.std(0).tolist() == pytest.approx([1, float(torch.tensor(0.5).exp())], rel=0.03)
    nll = head.losses(params[:1], drawn[:1])["nll"]
    dist = torch.distributions.Normal(params[0, :2], params[0, 2:].exp())
    torch.testing.assert_close(nll[0], -dist.log_prob(drawn[0]).mean())


def test_heads_follow_the_kind_of_the_factor() -> None:
    assert isinstance(build_head(CLASSES, 8, HeadChoice()), CategoricalHead)
    focal_head = build_head(CLASSES, 8, HeadChoice(kind="bins", focal_gamma=2.0))
    assert isinstance(focal_head, CategoricalHead)
    assert focal_head.focal_gamma == 2.0
    with pytest.raises(ConfigError, match="is discrete"):
        build_head(CLASSES, 8, HeadChoice(kind="mse"))
    with pytest.raises(ConfigError, match="is continuous"):
        build_head(ACTION, 8, HeadChoice(kind="categorical"))


def binned(kind: str = "uniform_bins", **choice) -> BinnedHead:
    head = build_head(ACTION, 8, HeadChoice(kind, **choice))
    head.fit(torch.tensor([[0.0, -1.0], [4.0, 1.0]]))
    return head


def test_binned_losses_are_the_cross_entropy_of_each_dimension() -> None:
    head = binned(num_bins=4)
    params, target = torch.randn(5, 3, 8), torch.rand(5, 3, 2) * torch.tensor([4.0, 2.0]) - torch.tensor([0.0, 1.0])
    index = head.codec.encode(target)
    by_hand = torch.stack(
        [cross_entropy(params[..., 4 * d : 4 * d + 4].flatten(0, 1), index[..., d].flatten()) for d in (0, 1)]
    )
    torch.testing.assert_close(head.losses(params, target)["class"].mean(), by_hand.mean())


def test_binned_predictions_are_bin_centres_drawn_dimension_by_dimension() -> None:
    head = binned(num_bins=4)
    params = torch.zeros(1, 8)
    params[0, 1] = params[0, 4 + 3] = 50.0
    torch.testing.assert_close(head.mode(params), torch.tensor([[1.5, 0.75]]))
    flat = torch.zeros(1, 8)
    assert head.num_uniforms == 2
    torch.testing.assert_close(head.sample(flat, torch.tensor([[0.1, 0.9]], dtype=torch.float64)), torch.tensor([[0.5, 0.75]]))


def test_given_bins_predict_the_values_that_were_given() -> None:
    head = binned("given_bins", values=(-1.0, 0.0, 3.0))
    params = torch.zeros(1, 6)
    params[0, 2] = params[0, 3] = 9.0
    assert head.mode(params).tolist() == [[3.0, -1.0]]


@pytest.mark.parametrize("by", ["factor", "dimension"])
def test_binned_factors_enter_the_model_as_classes_and_leak_nothing(by: str) -> None:
    layout = build_layout(continuous_spec(3, 2, returns=True), 4, by=by)
    heads = build_heads(layout.spec, 16, {"state": HeadChoice("uniform_bins", num_bins=6)})
    model = Autoencoder(layout, heads, 1, 1, 2, 16, style="mtm").eval()
    scheme = FrontierMask([0.6], {"action": 1.0})
    prove_no_leak(model, scheme)
    window = random_window(layout, 4)
    for f in layout.spec.with_role("state"):
        model.head(f.name).fit(torch.tensor([[-2.0], [2.0]]).expand(2, f.width))
    name = layout.spec.with_role("state")[0].name
    assert model.embed.cell(name, window.values[name]).shape[-1] == 6 * layout.spec[name].width
    masks = scheme.sample(torch.Generator().manual_seed(0), 4, layout)
    nudged = dict(window.values)
    nudged[name] = heads[name].codec.decode(heads[name].codec.encode(window.values[name]))
    for a, b in zip(model(window, masks).values(), model(Window(nudged), masks).values(), strict=True):
        assert torch.equal(a, b)  # only the bin of a value is seen
    assert Objective()(model, window, masks)["loss"].isfinite()


def test_discrete_factors_have_classes_already() -> None:
    with pytest.raises(ConfigError, match="categorical"):
        build_head(CLASSES, 8, HeadChoice("uniform_bins"))
