"""Typed decoding: what fits is converted, what does not is named."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.app.config.decode import Bound, KeyMistake, decode


@dataclass(frozen=True)
class Inner:
    ratio: Annotated[float, Bound(above=0, below=1)]
    kind: Literal["a", "b", 3]
    return_: int | None


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    sizes: tuple[int, ...]
    pair: tuple[float, float]
    weights: Mapping[str, float]
    flag: Literal["auto"] | bool
    extra: Any = None


GOOD: dict[str, Any] = {
    "name": "x",
    "inner": {"ratio": 0.5, "kind": "a", "return": None},
    "sizes": [1, 2],
    "pair": [0, 1.5],
    "weights": {"s": 1},
    "flag": "auto",
}


def changed(path: str, value: Any) -> dict[str, Any]:
    *parents, last = path.split(".")
    top = {**GOOD, "inner": dict(GOOD["inner"])}
    node = top
    for p in parents:
        node = node[p]
    node[last] = value
    return top


def test_values_become_typed() -> None:
    got = decode(Outer, GOOD)
    assert got == Outer("x", Inner(0.5, "a", None), (1, 2), (0.0, 1.5), {"s": 1.0}, "auto")
    assert isinstance(got.pair[0], float)
    assert decode(Outer, changed("flag", False)).flag is False


@pytest.mark.parametrize(
    ("path", "value", "key", "says"),
    [
        ("name", 3, "name", "expected text"),
        ("inner", 3, "inner", "group of keys"),
        ("inner.ratio", 1.0, "inner.ratio", "above 0 and below 1"),
        ("inner.ratio", "x", "inner.ratio", "a number"),
        ("inner.ratio", True, "inner.ratio", "a number"),
        ("inner.ratio", float("nan"), "inner.ratio", "a number"),
        ("inner.kind", "c", "inner.kind", "a, b, 3"),
        ("inner.return", 1.5, "inner.return", "an integer"),
        ("inner.retrun", 1, "inner.retrun", "'return'"),
        ("sizes", [1, "b"], "sizes[1]", "an integer"),
        ("sizes", "12", "sizes", "a list"),
        ("pair", [1.0], "pair", "a list of 2"),
        ("weights", [1.0], "weights", "a group of keys"),
        ("weights", {"s": "x"}, "weights.s", "a number"),
        ("flag", "on", "flag", "auto"),
        ("flag", 1, "flag", "auto or true or false"),
        ("name", "???", "name", "must be given"),
        ("naem", "x", "naem", "'name'"),
    ],
)
def test_mistakes_name_key_and_expectation(path: str, value: Any, key: str, says: str) -> None:
    with pytest.raises(KeyMistake) as caught:
        decode(Outer, changed(path, value))
    assert caught.value.key == key
    assert says in caught.value.problem


@pytest.mark.parametrize("name", ["name", "inner", "sizes", "flag"])
def test_missing_required_keys_are_refused(name: str) -> None:
    with pytest.raises(KeyMistake, match="required and missing"):
        decode(Outer, {k: v for k, v in GOOD.items() if k != name})


@given(st.floats(allow_nan=False) | st.integers())
def test_bounds_hold_exactly(value: float) -> None:
    fits = 0 < value < 1
    try:
        assert decode(Outer, changed("inner.ratio", value)).inner.ratio == value
        assert fits
    except KeyMistake:
        assert not fits


def test_mistakes_travel_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(KeyMistake("a.b", "is wrong")))
    assert (copy.key, copy.problem, str(copy)) == ("a.b", "is wrong", "a.b: is wrong")
