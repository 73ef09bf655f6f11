"""Our dropout has the distribution of torch's, and repeats itself under a seed."""

import pytest
import torch
from torch import nn

from maskbench.models.dropout import Dropout, drop, kept, relu_drop
from maskbench.models.transformer import attend_few


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_rate_and_the_mean_are_right(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(400_001)  # no multiple of the four numbers in a word
    y = drop(x, p)
    zero = (y == 0).float().mean().item()
    assert zero == pytest.approx(p, abs=5 * (p * (1 - p) / len(x)) ** 0.5)
    assert torch.equal(y[y != 0], torch.full_like(y[y != 0], 1.0).mul_(1 / (1 - p)))


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    keep = kept(torch.Size([100_000, 4]), 0.3)
    correlation = torch.corrcoef(torch.cat([keep, keep.roll(1, 0)], 1).T)
    assert (correlation - torch.eye(8)).abs().max() < 0.02


def test_gradients_pass_where_values_do() -> None:
    torch.manual_seed(0)
    x = torch.ones(5, 7, requires_grad=True)
    y = drop(x, 0.4)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_a_seed_repeats_the_mask_and_evaluation_changes_nothing() -> None:
    x, layer = torch.randn(6, 11), Dropout(0.5)
    drawn = [(torch.manual_seed(3), layer(x))[1] for _ in range(2)]
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], layer(x))
    assert layer.eval()(x) is x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types_and_shapes_stay(dtype: torch.dtype) -> None:
    x = torch.randn(3, 1, 5, dtype=dtype)
    assert drop(x, 0.2).dtype == dtype
    assert drop(x, 0.2).shape == x.shape
    assert drop(torch.empty(0, 4), 0.2).shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_relu_and_dropout_in_one_are_relu_then_dropout(p: float, dtype: torch.dtype) -> None:
    x = torch.randn(9, 11, dtype=dtype, requires_grad=True)
    weights = torch.randn(9, 11, dtype=dtype)
    results = []
    for work in (relu_drop, lambda x, p: drop(x.relu(), p)):
        torch.manual_seed(5)
        y = work(x, p)
        results.append((y, torch.autograd.grad((y * weights).sum(), x)[0]))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert torch.equal(relu_drop(x, p, training=False), x.relu())


@pytest.mark.parametrize("causal", [False, True])
def test_attention_over_few_tokens_equals_fused_attention(causal: bool) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(3, 2, 10, 8, requires_grad=True) for _ in range(3)]
    ours = attend_few(*inputs, causal, 0.0)
    fused = nn.functional.scaled_dot_product_attention(*inputs, is_causal=causal)
    torch.testing.assert_close(ours, fused)
    weights = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (ours, fused)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
