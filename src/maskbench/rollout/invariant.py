"""Batched layers on CPU whose every row is independent of its neighbours and of the size of the batch.

Kernels choose their order of summation by the shape of the whole batch (a linear layer over one to three rows differs from
the same rows among many in the last bits), and elementwise functions treat the last few elements of an array by scalar code
that rounds otherwise than the vector code. A rollout would then depend on how many episodes happen to be alive. Inside
``batch_invariant()`` it does not: linear maps run as one product of MKL or oneDNN, whichever is faster on the processor, by
kernels that sum every row alike whatever the number of rows (checked once per size of layer), or, where they do not, as one
product per row of the leading axis; elementwise functions run on rows padded to whole vector registers, convolutions and
recurrent layers row by row. LayerNorm, softmax, embeddings and scaled dot-product attention are invariant by themselves (tests
measure all of this for every batch size from 1 to 64).

The leading axis must be the batch. Not covered: ``nn.MultiheadAttention``, ``einsum`` with a shared weight, compiled modules
and devices other than the CPU. Measured cost on transformers of 4-6 layers, widths 72-256: 1.03-1.9 times the plain forward,
the least for wide models.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor
    from torch.overrides import TorchFunctionMode

#: Weights of a linear map from which oneDNN is faster than an MKL that uses half of the vectors (measured).
_LARGE = 4096
#: Rows that are not padded any more.
_MANY = 512
#: Rows from which MKL takes its kernel for many.
_FEW = 4
#: Rows of elementwise functions are padded to a multiple of this many bytes: two 512-bit registers.
_REGISTERS = 128
#: Elementwise functions whose scalar and vector code may round differently, by name.
_ELEMENTWISE = frozenset(
    {"gelu", "silu", "elu", "celu", "selu", "softplus", "mish", "sigmoid", "logsigmoid", "tanh", "exp", "expm1", "exp2"}
    | {"log", "log1p", "log2", "log10", "sin", "cos", "tan", "erf", "erfinv", "rsqrt", "pow", "__pow__", "float_power"}
)
_MATMUL = frozenset({"matmul", "__matmul__", "mm"})
_ROW_BY_ROW = frozenset({f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)})
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


class PackedWeights:
    """Parameters of linear maps as oneDNN wants them, which otherwise brings them there at every call: for few rows half of
    the time of a large map, a tenth for many (measured). Costs their memory once more for as long as this lives."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Tensor, int, Tensor]] = {}  # the parameter is kept: no other can get its id

    def of(self, weight: Tensor) -> Tensor:
        """``weight``, packed where it is a parameter; packed anew once its values change."""
        import torch

        if not isinstance(weight, torch.nn.Parameter) or weight.is_inference():  # which tell of no changes
            return weight
        parameter, version, packed = self._found.get(id(weight), (None, -1, weight))
        if parameter is None or version != weight._version:
            packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
            self._found[id(weight)] = weight, weight._version, packed
        return packed


@contextlib.contextmanager
def batch_invariant(packed: PackedWeights | None = None) -> Iterator[None]:
    """Reroutes the layers called inside; one intra-op thread, because threads split work by the size of the batch.

    packed: weights that are kept from one use to the next. None: for this one.

    Does nothing where torch is not imported: a policy that does not use it needs no care.
    """
    if "torch" not in sys.modules:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    if threads != 1:
        torch.set_num_threads(1)
    try:
        with _mode_class()(packed or PackedWeights()):
            yield
    finally:
        if threads != 1:
            torch.set_num_threads(threads)


@cache
def _mode_class() -> Callable[[PackedWeights], TorchFunctionMode]:
    from torch.overrides import TorchFunctionMode

    from maskbench.arithmetic import answered_by

    names: dict[Any, str] = {}

    class BatchInvariant(TorchFunctionMode):
        def __init__(self, packed: PackedWeights) -> None:
            super().__init__()
            self.linear = partial(_linear, packed)

        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            name = names.get(func)
            if name is None:
                name = names[func] = _rerouted(func)
            if not name:
                return func(*args, **kwargs) if kwargs else func(*args)
            return self.reroute(name, func, args, kwargs or {})

        def reroute(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if name == "linear":
                return self.linear(*args, **kwargs)
            if name == "_whole_trunk":
                with answered_by(self.linear):
                    return func(*args)
            if name in _ELEMENTWISE:
                return _padded(func, *args, **kwargs)
            if name in _MATMUL and args[1].dim() == 2 and args[0].dim() >= 2:
                return self.linear(args[0], args[1].mT)
            if name == "addmm" and not kwargs and args[0].dim() == 1:
                return self.linear(args[1], args[2].mT, args[0])
            if name in _ROW_BY_ROW:
                return _row_by_row(func, *args, **kwargs)
            if name in _RECURRENT and isinstance(args[-1], bool):
                return _recurrent(func, *args)
            return func(*args, **kwargs)

    return BatchInvariant


def _rerouted(func: Any) -> str:
    """The name of a function that is not called as it is, else nothing."""
    name = getattr(func, "__name__", "")
    return name if name in ("linear", "addmm", "_whole_trunk", *_ELEMENTWISE, *_MATMUL, *_ROW_BY_ROW, *_RECURRENT) else ""


def _linear(
    packed: PackedWeights, input: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: str | None = None
) -> Tensor:
    """``(B, ..., D) -> (B, ..., O)`` by the weight ``(O, D)``, and GELU by its approximation; the way depends on all sizes but
    ``B``."""
    import torch

    if input.dim() == 1:
        return _linear(packed, input[None], weight, bias, gelu)[0]
    if input.numel() == 0:
        return torch.nn.functional.linear(input, weight, bias)
    batch, wide = input.shape[0], input.shape[-1]
    way = _fastest(*weight.shape) if _is_plain(input, weight) else "rows"
    if way == "onednn":
        return _by_onednn(input.reshape(-1, wide), packed.of(weight), bias, gelu).reshape(*input.shape[:-1], len(weight))
    if way == "mkl":
        product = _by_mkl(input.reshape(-1, wide), weight, bias)
    else:
        rows, shared = input.reshape(batch, -1, wide), weight.mT.expand(batch, wide, weight.shape[0])
        product = torch.bmm(rows, shared) if bias is None else torch.baddbmm(bias.expand(batch, 1, -1), rows, shared)
    product = product.reshape(*input.shape[:-1], weight.shape[0])
    return product if gelu is None else _padded(torch.nn.functional.gelu, product, approximate=gelu)


def _is_plain(input: Tensor, weight: Tensor) -> bool:
    import torch

    gradient = torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad)
    fp32 = input.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return weight.is_contiguous() and input.device.type == "cpu" and fp32 and not gradient


@cache
def _fastest(out: int, wide: int) -> Literal["mkl", "onednn", "rows"]:
    """What multiplies by a weight ``(out, wide)`` such that each row is the same bits whatever the number of rows."""
    from maskbench.arithmetic import mkl_is_narrow

    if mkl_is_narrow() and out * wide >= _LARGE and _onednn_sums_rows_alike(out, wide):
        return "onednn"
    return "mkl" if _mkl_sums_rows_alike(out, wide) else "rows"


def _by_mkl(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``(M, D) -> (M, O)``. The fewest rows would take another kernel, and are padded."""
    import torch

    count = len(rows)
    if count >= _FEW:
        return torch.nn.functional.linear(rows, weight, bias)
    return torch.nn.functional.linear(torch.nn.functional.pad(rows, (0, 0, 0, _FEW - count)), weight, bias)[:count]


def _by_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None, gelu: str | None = None) -> Tensor:
    """``(M, D) -> (M, O)``. A single row would take another kernel, and every new ``M`` costs a kernel's generation (0.3 ms and
    more): as long as a copy costs less, ``M`` is padded to at most 16 values an octave."""
    import torch

    count = len(rows)
    step = max(2, 1 << max(0, count.bit_length() - 4))
    short = -count % step if count < _MANY else 0
    padded = torch.nn.functional.pad(rows, (0, 0, 0, short)) if short else rows
    after = "none" if gelu is None else "gelu"
    product: Tensor = torch.ops.mkldnn._linear_pointwise(padded, weight, bias, after, [], gelu or "")
    return product[:count]


def _onednn_sums_rows_alike(out: int, wide: int) -> bool:
    """Packed or not."""
    import torch

    rows, weight, bias = _example(out, wide)
    whole = _by_onednn(rows, weight, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    return all(torch.equal(_by_onednn(rows[at : at + n], packed, bias), whole[at : at + n]) for at, n in _PARTS)


def _mkl_sums_rows_alike(out: int, wide: int) -> bool:
    import torch

    if not torch.backends.mkl.is_available():
        return False  # of other libraries nothing is known
    rows, weight, bias = _example(out, wide)
    whole = _by_mkl(rows, weight, bias)
    return all(torch.equal(_by_mkl(rows[at : at + n], weight, bias), whole[at : at + n]) for at, n in _PARTS)


#: Where parts of 416 rows begin, and how many they are.
_PARTS = ((7, 1), (1, 2), (30, 3), (9, 5), (100, 12), (200, 17), (50, 52), (208, 208))


def _example(out: int, wide: int) -> tuple[Tensor, Tensor, Tensor]:
    import torch

    make = torch.Generator().manual_seed(0)
    rows, weight, bias = (torch.randn(*shape, generator=make) for shape in ((416, wide), (out, wide), (out,)))
    return rows, weight, bias


def _padded(func: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
    """Applies an elementwise function to rows of whole vector registers, so that no element falls into a scalar tail."""
    import torch

    if not isinstance(input, torch.Tensor) or input.dim() == 0 or input.numel() == 0 or not input.is_floating_point():
        return func(input, *args, **kwargs)
    if any(isinstance(a, torch.Tensor) and a.dim() > 0 for a in args) or kwargs.get("out") is not None:
        return func(input, *args, **kwargs)
    rows = input.reshape(input.shape[0], -1)
    short = -rows.shape[1] % (_REGISTERS // rows.element_size())
    if short == 0:
        return func(input.contiguous(), *args, **kwargs)
    padded = torch.nn.functional.pad(rows, (0, short))
    return func(padded, *args, **kwargs)[:, : rows.shape[1]].reshape(input.shape)


def _row_by_row(func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    import torch

    return torch.cat([func(input[i : i + 1], *args, **kwargs) for i in range(len(input))])


def _recurrent(func: Any, input: Tensor, state: Any, *args: Any) -> tuple[Tensor, ...]:
    """``torch.lstm`` and its kind, called as ``(input, state, ..., batch_first)``; states are ``(layers, B, width)``."""
    import torch

    def of_row(whole: Tensor, i: int) -> Tensor:
        return whole[:, i : i + 1].contiguous()

    axis = 0 if args[-1] else 1
    parts = []
    for i in range(input.shape[axis]):
        row = input.narrow(axis, i, 1)
        own = of_row(state, i) if isinstance(state, torch.Tensor) else [of_row(s, i) for s in state]
        parts.append(func(row, own, *args))
    output, *states = zip(*parts, strict=True)
    return (torch.cat(output, axis), *(torch.cat(s, 1) for s in states))
