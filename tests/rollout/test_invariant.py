"""Each row of a batched layer equals, to the bit, the same row in any other batch size and position."""

import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from maskbench import arithmetic  # noqa: E402
from maskbench.models.products import linear_gelu  # noqa: E402
from maskbench.models.transformer import Activation, Transformer  # noqa: E402
from maskbench.rollout import invariant  # noqa: E402
from maskbench.rollout.invariant import PackedWeights, batch_invariant  # noqa: E402


def changed(layer: Callable[[Tensor], Tensor], *shape: int, integers: int = 0) -> list[int]:
    """Batch sizes 1..64 at which some row, at the front, in the middle or at the end, differs from the batch of 64."""
    make = torch.Generator().manual_seed(0)
    x = torch.randint(integers, (64, *shape), generator=make) if integers else torch.randn(64, *shape, generator=make)
    with torch.inference_mode():
        whole = layer(x)
        return [
            size
            for size in range(1, 65)
            if not all(torch.equal(layer(x[at : at + size]), whole[at : at + size]) for at in {0, (64 - size) // 2, 64 - size})
        ]


class Block(nn.Module):
    """One pre-norm transformer block of 5 tokens, width 36."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.qkv, self.out = nn.LayerNorm(36), nn.Linear(36, 108), nn.Linear(36, 36)
        self.mlp = nn.Sequential(nn.LayerNorm(36), nn.Linear(36, 144), nn.GELU(approximate="tanh"), nn.Linear(144, 36))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).view(len(x), 5, 3, 4, 9).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape))
        return x + self.mlp(x)


def linear(wide: int, out: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(wide, out, bias)


#: ``(10, 10)``, each query sees two keys.
BLOCKS = torch.arange(10)[:, None] // 2 == torch.arange(10) // 2

LAYERS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "linear of one token": (linear(64, 64), (64,)),
    "linear of a sequence": (linear(33, 17), (5, 33)),
    "linear without bias": (linear(7, 5, bias=False), (2, 7)),
    "product with a matrix": (lambda x: x @ linear(33, 9).weight.T, (2, 33)),
    "addmm": (lambda x: torch.addmm(linear(33, 9).bias, x, linear(33, 9).weight.T), (33,)),
    "layer norm": (nn.LayerNorm(33), (3, 33)),
    "gelu": (F.gelu, (3, 7)),
    "tanh gelu": (lambda x: F.gelu(x, approximate="tanh"), (3, 7)),
    "silu": (F.silu, (5,)),
    "sigmoid": (torch.sigmoid, (5,)),
    "softplus": (F.softplus, (3, 5)),
    "power": (lambda x: x.abs() ** 1.7, (3, 5)),
    "tanh, exp, log": (lambda x: x.tanh().exp().log(), (3, 5)),
    "softmax": (lambda x: F.softmax(x, -1), (3, 7)),
    "log softmax": (lambda x: F.log_softmax(x, -1), (3, 7)),
    "attention": (lambda x: F.scaled_dot_product_attention(*x.unbind(1)), (3, 4, 10, 9)),
    "causal attention": (lambda x: F.scaled_dot_product_attention(*x.unbind(1), is_causal=True), (3, 4, 10, 9)),
    "masked attention": (
        lambda x: F.scaled_dot_product_attention(*x.unbind(1), attn_mask=BLOCKS),
        (3, 2, 10, 8),
    ),
    "convolution": (nn.Conv2d(3, 4, 3), (3, 8, 8)),
    "LSTM": (lambda x: nn.LSTM(6, 9, 2, batch_first=True)(x)[0] if torch.manual_seed(0) else x, (5, 6)),
    "linear and gelu, wide": (partial(linear_gelu, nn.Linear(72, 100), approximate="none"), (3, 72)),
    "linear and gelu, narrow": (partial(linear_gelu, nn.Linear(5, 7), approximate="tanh"), (3, 5)),
    "transformer block": (Block(), (5, 36)),
}


@pytest.fixture(params=["as it is", "narrow", "wide"])
def mkl(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processors on which one or the other library multiplies, whatever this one is."""
    invariant._fastest.cache_clear()
    if request.param != "as it is":
        if not torch.backends.mkldnn.is_available():
            pytest.skip("no oneDNN")
        monkeypatch.setattr(arithmetic, "mkl_is_narrow", lambda: request.param == "narrow")
    yield
    invariant._fastest.cache_clear()


@pytest.mark.parametrize("name", LAYERS)
def test_rows_do_not_depend_on_their_batch(name: str, mkl: None) -> None:
    layer, shape = LAYERS[name]
    with batch_invariant():
        assert changed(layer, *shape) == []


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
def test_a_transformers_rows_do_not_depend_on_their_batch_and_are_its_own(activation: Activation, mkl: None) -> None:
    torch.manual_seed(0)
    trunk = Transformer(2, 2, 72, activation=activation).eval()
    keys = torch.tensor([[True, False, True, True, False, True, True]])

    def read(x: Tensor) -> Tensor:
        shown, at = keys.expand(len(x), -1), torch.full((len(x), 1), 6)
        return torch.cat([trunk(x, causal=True), trunk(x, keys=shown), trunk(x, causal=True, at=at)], 1)

    x = torch.randn(5, 7, 72, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain = read(x)
    with batch_invariant():
        assert changed(read, 7, 72) == []
        with torch.inference_mode():
            torch.testing.assert_close(read(x), plain, rtol=1e-4, atol=1e-5)


def test_one_product_serves_all_rows_where_mkl_sums_them_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it did not, rollouts would still be right, and slow: this says that they are fast."""
    if sys.platform != "linux" or not torch.backends.mkl.is_available():
        pytest.skip("of other libraries nothing is known")
    monkeypatch.setattr(arithmetic, "mkl_is_narrow", lambda: False)
    invariant._fastest.cache_clear()
    assert {invariant._fastest(out, wide) for out, wide in ((216, 72), (288, 72), (72, 288), (480, 120), (72, 16))} == {"mkl"}
    invariant._fastest.cache_clear()


def test_embedding_rows_do_not_depend_on_their_batch() -> None:
    with batch_invariant():
        assert changed(nn.Embedding(11, 7), 5, integers=11) == []


@pytest.mark.parametrize("name", [n for n in LAYERS if n not in ("layer norm", "softmax", "log softmax")])
def test_results_are_those_of_the_plain_layers_up_to_rounding(name: str) -> None:
    layer, shape = LAYERS[name]
    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain = layer(x)
        with batch_invariant():
            careful = layer(x)
    assert careful.shape == plain.shape
    torch.testing.assert_close(careful, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="rounding of other BLAS libraries is not known to differ")
def test_scalar_tails_of_elementwise_functions_do_depend_on_the_batch_without_care() -> None:
    if "AVX" not in torch.backends.cpu.get_cpu_capability():
        pytest.skip("needs vector registers")
    assert changed(lambda x: F.gelu(x, approximate="tanh"), 3, 7) != []


def test_packed_weights_follow_their_parameters() -> None:
    layer, x, packed = nn.Linear(72, 100), torch.randn(5, 72), PackedWeights()
    for _ in range(2):
        with torch.no_grad(), batch_invariant(packed):
            torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias, rtol=1e-4, atol=1e-5)
            layer.weight.mul_(-3.0)


def test_thread_count_is_restored_also_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with batch_invariant():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError, match=r"shapes|size"), batch_invariant():
            torch.zeros(2, 3) @ torch.zeros(2, 3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
