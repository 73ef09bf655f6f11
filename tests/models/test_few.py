"""Training with the batch last gives the results and gradients of the plain transformer."""

import pytest
import torch
from torch import Tensor, nn

from maskbench import arithmetic
from maskbench.models import few
from maskbench.models.dropout import kept
from maskbench.models.transformer import Activation, Norm, Transformer
from maskbench.training.stack import stack_models

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")

ROWS, TOKENS, WIDTH, HEADS = 64, 6, 16, 4


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes any processor take the fast way; holds an entry per layer that did."""
    layers: list[str] = []
    linear = few.linear
    monkeypatch.setattr(arithmetic, "has_wide_vectors", lambda: True)
    monkeypatch.setattr(few, "linear", lambda layer, x: (layers.append("linear"), linear(layer, x))[1])
    return layers


def window(rows: int = ROWS) -> Tensor:
    return torch.randn(rows, TOKENS, WIDTH, requires_grad=True)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_results_and_gradients_are_those_of_plain_training(
    norm: Norm, activation: Activation, causal: bool, chosen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = Transformer(2, HEADS, WIDTH, 24, 0.0, activation, norm)
    for p in model.parameters():
        nn.init.normal_(p, 0.1, 0.3)  # biases and scales away from zero and one
    x, weights = window(), torch.randn(ROWS, TOKENS, WIDTH)
    results = []
    for fast in (True, False):
        if not fast:
            monkeypatch.setattr(few, "pays", lambda x: False)
        y = model(x, causal)
        results.append((y, *torch.autograd.grad((y * weights).sum(), [x, *model.parameters()])))
    assert len(chosen) == 8  # four in each block, none on the plain way
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=2e-5 * plain.abs().max().item())


@pytest.mark.parametrize("causal", [False, True])
def test_dropped_attention_is_that_of_autograd_under_the_same_mask(causal: bool) -> None:
    torch.manual_seed(0)
    qkv, weights = torch.randn(3 * WIDTH, TOKENS, ROWS, requires_grad=True), torch.randn(WIDTH, TOKENS, ROWS)
    torch.manual_seed(1)
    ours = few.attend(qkv, HEADS, causal, 0.3)
    torch.manual_seed(1)
    keep = kept(torch.Size([TOKENS, HEADS, TOKENS, ROWS]), 0.3) / 0.7
    q, k, v = qkv.unflatten(0, (3, HEADS, -1)).unbind(0)
    score = torch.einsum("hwjb,hwib->jhib", k, q) * (WIDTH / HEADS) ** -0.5
    if causal:
        future = torch.arange(TOKENS)[:, None] > torch.arange(TOKENS)
        score = score.masked_fill(future[:, None, :, None], -torch.inf)
    plain = torch.einsum("jhib,hwjb->hwib", score.softmax(0) * keep, v).flatten(0, 1)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad((y * weights).sum(), qkv)[0] for y in (ours, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_sums_drop_as_dropout_does_and_pass_gradients_where_values_do() -> None:
    torch.manual_seed(0)
    x, y = (torch.ones(40, 50, 60, requires_grad=True) for _ in range(2))
    z = few.add_dropped(x, y, 0.2)
    dx, dy = torch.autograd.grad(z.sum(), [x, y])
    assert torch.equal(dx, torch.ones_like(dx))
    torch.testing.assert_close(dy, z.detach() - 1)
    assert set(dy.unique().tolist()) == {0.0, 1.25}
    assert (dy == 0).float().mean().item() == pytest.approx(0.2, abs=5 * (0.2 * 0.8 / dy.numel()) ** 0.5)


def test_training_with_dropout_averages_to_no_dropout(chosen: list[str]) -> None:
    torch.manual_seed(0)
    model = Transformer(1, HEADS, WIDTH, 24, 0.1, "relu", "post", False)
    row = torch.randn(1, TOKENS, WIDTH)
    x = row.expand(4000, -1, -1).clone().requires_grad_()
    mean = model(x).mean(0)
    with torch.no_grad():
        torch.testing.assert_close(mean, model.eval()(row)[0], rtol=0, atol=0.05)
    assert len(chosen) == 4


def test_inference_small_batches_padding_bf16_and_stacks_stay_plain(chosen: list[str]) -> None:
    models = [Transformer(1, HEADS, WIDTH, 24, 0.0) for _ in range(2)]
    model, x = models[0], window()
    with torch.no_grad():
        model(x)
    model(window(8))
    model(x, keys=torch.ones(ROWS, TOKENS, dtype=torch.bool))
    with torch.autocast("cpu", torch.bfloat16):
        model(x)
    stack_models(models)(x)
    assert chosen == []
    model(x)
    assert len(chosen) == 4
