"""What may reach a prediction: nothing hidden, nothing later, no padding, no neighbour."""

import pytest
import torch
from tests.examples import continuous_spec, discrete_spec, random_window
from torch import nn

from maskbench.masking.causal import CausalMask
from maskbench.masking.random import BernoulliMask, FrontierMask, RatioMask
from maskbench.masking.scheme import MaskSet
from maskbench.masking.span import SpanMask
from maskbench.masking.tasks import TASKS, NamedTask
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.decoder import Decoder
from maskbench.models.encoder import Encoder
from maskbench.models.heads import build_heads
from maskbench.models.leakage import LeakageError, prove_no_leak
from maskbench.models.objective import Objective
from maskbench.tokens.layout import TokenLayout, build_layout
from maskbench.trajectory import Window

FRONTIER = FrontierMask([0.5, 0.9], {"state": 0.2, "return": 0.1, "action": 0.7})


def make(kind: str, layout: TokenLayout, outputs=None, **kwargs):
    heads = build_heads(layout.spec.select(outputs or layout.spec.names), 32, {})
    if kind == "encoder":
        return Encoder(layout, heads, n_embd=32, n_inner=32, n_head=4, **kwargs).eval()
    if kind == "decoder":
        return Decoder(layout, heads, n_layer=2, n_embd=32, **kwargs).eval()
    return Autoencoder(layout, heads, 1, 1, 4, 32, style=kind, **kwargs).eval()


@pytest.mark.parametrize("spec", [discrete_spec(), continuous_spec(6, 2)], ids=["discrete", "continuous"])
@pytest.mark.parametrize("by", ["timestep", "role", "factor", "dimension"])
@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        ("encoder", BernoulliMask()),
        ("maskdp", RatioMask([0.15, 0.95], per="row")),
        ("mtm", FRONTIER),
        ("decoder", CausalMask(["state", "action"])),
        ("decoder", BernoulliMask(attend="causal")),
        ("decoder", SpanMask(attend="causal")),
        ("decoder", NamedTask("future", attend="causal")),
    ],
)
def test_no_gradient_flows_from_hidden_or_later_cells(spec, by: str, kind: str, scheme) -> None:
    layout = build_layout(spec, 6, by)
    prove_no_leak(make(kind, layout, scheme.outputs(layout)), scheme)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_hides_what_it_hides(name: str, grid_layout) -> None:
    for kind in ("encoder", "maskdp", "mtm"):
        prove_no_leak(make(kind, grid_layout), NamedTask(name))


class Peeking(nn.Module):
    """Wraps an embedding so that it forgets to hide."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, values, visible):
        return self.inner(values, torch.ones_like(visible))


def test_a_model_that_peeks_at_hidden_cells_is_caught(grid_layout) -> None:
    model = make("encoder", grid_layout)
    model.embed = Peeking(model.embed)
    with pytest.raises(LeakageError, match="hidden cell"):
        prove_no_leak(model, BernoulliMask())


def test_a_causal_model_that_looks_ahead_is_caught() -> None:
    layout = build_layout(discrete_spec(), 6, "role")
    scheme = CausalMask(["action"])
    model = make("decoder", layout, scheme.outputs(layout))
    forward = model.trunk.forward
    model.trunk.forward = lambda x, causal=False, keys=None, at=None: forward(x, False, keys, at)
    with pytest.raises(LeakageError, match="later cell"):
        prove_no_leak(model, scheme)


@pytest.mark.parametrize("kind", ["encoder", "maskdp", "mtm"])
def test_changing_hidden_values_changes_no_bit_of_the_answer(kind: str, grid_layout) -> None:
    model, window = make(kind, grid_layout), random_window(grid_layout, 16)
    masks = FRONTIER.sample(torch.Generator().manual_seed(0), 16, grid_layout)
    other = random_window(grid_layout, 16, seed=1)
    mixed = {n: torch.where(masks.visible[:, :, grid_layout.column(n)], v, other.values[n]) for n, v in window.values.items()}
    a, b = model(window, masks), model(Window(mixed), masks)
    assert all(torch.equal(a[n], b[n]) for n in a)


def test_a_hidden_nan_stays_hidden() -> None:
    layout = build_layout(continuous_spec(4, 2), 5, by="timestep", inputs=["state", "action"])
    window = random_window(layout, 4)
    window.values["state"][:, 3:] = float("nan")
    masks = NamedTask("bc").at(torch.tensor([3, 2, 1, 3]), layout)
    assert torch.isfinite(make("encoder", layout)(window, masks)["action"]).all()


@pytest.mark.parametrize(
    ("kind", "scheme"), [("encoder", BernoulliMask()), ("maskdp", RatioMask([0.5])), ("decoder", CausalMask())]
)
def test_padding_changes_nothing(kind: str, scheme) -> None:
    layout = build_layout(discrete_spec(), 8, "role")
    model = make(kind, layout, scheme.outputs(layout))
    window = random_window(layout, 4)
    masks = scheme.sample(torch.Generator().manual_seed(0), 4, layout)
    valid = (torch.arange(8)[None] < 5).expand(4, 8)
    padded = model(Window(window.values, valid), masks)
    short_layout = layout.with_length(5)
    short = Window({n: v[:, :5] for n, v in window.values.items()})
    masks5 = MaskSet(masks.visible[:, :5], masks.predict[:, :5], masks.attend)
    assert short_layout.num_tokens == 15
    for name, value in model(short, masks5).items():
        torch.testing.assert_close(padded[name][:, :5], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["maskdp", "mtm"])
def test_rows_with_nothing_visible_are_answered_with_finite_marginals(kind: str, grid_layout) -> None:
    model = make(kind, grid_layout)
    masks = NamedTask("past").at(torch.tensor([10, 4]), grid_layout)
    out = model(random_window(grid_layout, 2), masks)
    assert all(torch.isfinite(v).all() for v in out.values())


def test_reading_one_timestep_equals_reading_all(grid_layout) -> None:
    model, window = make("encoder", grid_layout), random_window(grid_layout, 6)
    masks = NamedTask("bc").at(torch.tensor([1, 2, 3, 4, 5, 10]), grid_layout)
    at = torch.tensor([0, 1, 2, 3, 4, 9])
    every = model(window, masks)["action"][torch.arange(6), at]
    torch.testing.assert_close(model(window, masks, only=["action"], at=at)["action"][:, 0], every)


def test_the_loss_averages_each_factor_over_its_own_cells(grid_layout) -> None:
    model, window = make("encoder", grid_layout), random_window(grid_layout, 12)
    masks = BernoulliMask().sample(torch.Generator().manual_seed(3), 12, grid_layout)
    out = Objective({"return": 0.0, "state_key": 0.5})(model, window, masks)
    params, want = model(window, masks), 0.0
    for name, weight in (("state", 1.0), ("state_key", 0.5), ("action", 1.0)):
        cells = masks.predict[:, :, grid_layout.column(name)]
        ce = nn.functional.cross_entropy(params[name][cells], window.values[name][cells])
        want = want + weight * ce
        torch.testing.assert_close(out[f"{name}/class"], ce.detach())
    torch.testing.assert_close(out["loss"], want)


def test_the_zero_state_predictor_of_maskdp_loses_one_over_its_dimensions() -> None:
    from maskbench.models.heads import HeadChoice, build_head

    state = continuous_spec(24, 6)["state"]
    head = build_head(state, 8, HeadChoice(target="l2"))
    loss = head.losses(torch.zeros(5, 7, 24), torch.randn(5, 7, 24))["mse"]
    torch.testing.assert_close(loss, torch.full((5, 7), 1 / 24))


def test_the_masked_loss_sends_no_gradient_to_visible_predictions() -> None:
    layout = build_layout(continuous_spec(4, 2), 6, by="factor", inputs=["state", "action"])
    model, window = make("maskdp", layout), random_window(layout, 3)
    masks = RatioMask([0.5], predict="hidden").sample(torch.Generator().manual_seed(0), 3, layout)
    seen = []
    model.head("state").register_forward_hook(lambda m, i, o: (o.retain_grad(), seen.append(o))[1])
    Objective(reduction="pooled")(model, window, masks)["loss"].backward()
    visible = masks.visible[:, :, layout.column("state")]
    assert seen[0].grad[visible].abs().max() == 0
    assert seen[0].grad[~visible].abs().max() > 0
