import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskbench import arithmetic
from maskbench.models import products


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "has_wide_vectors", lambda: True)


@pytest.mark.parametrize("shape", [(300, 16), (5, 64, 16), (2, 3, 50, 16)])
def test_products_and_their_gradients_are_those_of_linear(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 24), torch.randn(shape, requires_grad=True)
    y, expected = products.linear(layer, x), F.linear(x, layer.weight, layer.bias)
    assert type(y.grad_fn).__name__ == "_LinearBackward"
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
    slope = torch.randn_like(expected)
    leaves = (x, layer.weight, layer.bias)
    for found, plain in zip(torch.autograd.grad(y, leaves, slope), torch.autograd.grad(expected, leaves, slope), strict=True):
        torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)


def test_rows_that_lie_apart_or_are_repeated_are_brought_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN would answer, in a hundred times as long."""
    given: list[torch.Tensor] = []
    product = products.product
    monkeypatch.setattr(products, "product", lambda a, b, bias=None: given.extend((a, b)) or product(a, b, bias))
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 24), torch.randn(300, 3, 16, requires_grad=True)
    apart = products.linear(layer, x[:, 1])
    apart.sum().backward()  # a gradient of one number, repeated
    assert len(given) == 6
    assert all(
        0 not in t.stride() and 1 in t.stride() and max(t.stride()) == min(t.shape[t.stride().index(1)], 300) for t in given
    )
    assert x.grad is not None
    torch.testing.assert_close(x.grad[:, 1], layer.weight.detach().sum(0).expand(300, 16), atol=1e-5, rtol=1e-5)


def test_rollouts_small_products_and_half_precision_keep_torchs_own() -> None:
    layer, x = nn.Linear(16, 24), torch.randn(300, 16, requires_grad=True)
    with torch.no_grad():
        assert torch.equal(products.linear(layer, x), layer(x))
    assert type(products.linear(layer, x[:8]).grad_fn).__name__ == "AddmmBackward0"
    with torch.autocast("cpu", torch.bfloat16):
        assert products.linear(layer, x).dtype == torch.bfloat16


def test_layers_of_another_kind_are_called_as_they_are() -> None:
    layer, x = nn.Sequential(nn.Linear(16, 24)), torch.randn(300, 16, requires_grad=True)
    assert torch.equal(products.linear(layer, x), layer(x))


def test_linear_maps_are_answered_by_who_is_asked_and_by_nobody_afterwards() -> None:
    layer, x, asked = nn.Linear(3, 4), torch.randn(2, 3), []

    def answer(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, gelu: str | None = None) -> torch.Tensor:
        asked.append(gelu)
        return torch.zeros(len(x), len(weight))

    with arithmetic.answered_by(answer):
        assert not products.linear(layer, x).any()
        assert not products.linear_gelu(layer, x, "tanh").any()
    assert asked == [None, "tanh"]
    assert torch.equal(products.linear(layer, x), layer(x))
