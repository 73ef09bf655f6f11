"""From plain YAML values to typed dataclasses, refusing what the schema does not know.

OmegaConf's structured configs know neither literals, bounds nor unions of nodes, and their messages name no nearest
key; the types that the schemas use are few enough to be decoded here.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from maskbench.app.config.node import Node, argument_name, members
from maskbench.errors import ConfigError, did_you_mean

T = TypeVar("T")


class KeyMistake(ConfigError):
    """What is wrong with one key. ``key`` is its dotted path, ``problem`` the sentence without it."""

    def __init__(self, key: str, problem: str) -> None:
        self.key, self.problem = key, problem
        super().__init__(f"{key}: {problem}" if key else problem)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.problem)


class UnknownKey(KeyMistake):
    """A key that the schema of its group does not have."""


@dataclass(frozen=True)
class Bound:
    """Range of a number: exclusive ``above`` and ``below``, inclusive ``least`` and ``most``."""

    above: float = -math.inf
    below: float = math.inf
    least: float = -math.inf
    most: float = math.inf

    def holds(self, value: float) -> bool:
        return self.above < value < self.below and self.least <= value <= self.most

    def __str__(self) -> str:
        rules = {"above": self.above, "below": self.below, "at least": self.least, "at most": self.most}
        return " and ".join(f"{word} {bound:g}" for word, bound in rules.items() if math.isfinite(bound))


def decode(cls: type[T], value: Any, key: str = "") -> T:
    """``value`` (plain dicts, lists and scalars) as ``cls``. Raises ``KeyMistake`` at the first key that does not fit."""
    return _decode(cls, value, key)  # type: ignore[no-any-return]


def schema_keys(cls: type) -> dict[str, Any]:
    """YAML keys of a dataclass and their annotations."""
    return {argument_name(name): hint for name, hint in _hints(cls).items()}


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {f.name: hints[f.name] for f in fields(cls)}


def _decode(kind: Any, value: Any, key: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if isinstance(value, str) and value == "???":
        raise KeyMistake(key, f"must be given; expected {describe(kind)}")
    if origin is Annotated:
        return _bounded(args[0], args[1:], value, key)
    if origin in (Union, types.UnionType):
        return _union(args, value, key)
    if origin is Literal:
        return _literal(args, value, key)
    if origin is tuple:
        return _tuple(kind, args, value, key)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong_type(kind, value, key)
        return {_decode(args[0], k, _join(key, k)): _decode(args[1], v, _join(key, k)) for k, v in value.items()}
    if is_dataclass(kind):
        return _node(kind, value, key) if issubclass(kind, Node) else _dataclass(kind, value, key)  # type: ignore[arg-type]
    return _scalar(kind, value, key)


def _scalar(kind: Any, value: Any, key: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():  # 1e4 steps
        return int(value)
    if type(value) is not kind or (kind is float and math.isnan(value)):
        raise _wrong_type(kind, value, key)
    return value


def _bounded(kind: Any, bounds: tuple[Any, ...], value: Any, key: str) -> Any:
    found = _decode(kind, value, key)
    for bound in bounds:
        if not bound.holds(found):
            raise KeyMistake(key, f"expected {describe(kind)} {bound}; found {value}")
    return found


def _union(options: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and types.NoneType in options:
        return None
    options = tuple(o for o in options if o is not types.NoneType)
    if len(options) == 1:
        return _decode(options[0], value, key)
    for option in sorted(options, key=lambda o: _base(o) is not type(value)):
        try:
            return _decode(option, value, key)
        except KeyMistake as mistake:
            if _base(option) is type(value):  # the right type with a bad value: its own message says more
                raise mistake
    raise KeyMistake(key, f"expected {' or '.join(describe(o) for o in options)}; found {_show(value)}")


def _literal(options: tuple[Any, ...], value: Any, key: str) -> Any:
    if any(value == o and type(value) is type(o) for o in options):
        return value
    names = [str(o) for o in options]
    raise KeyMistake(key, f"found {_show(value)}; expected one of {', '.join(names)}. {did_you_mean(str(value), names)}")


def _tuple(kind: Any, args: tuple[Any, ...], value: Any, key: str) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _wrong_type(kind, value, key)
    if args[-1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        raise KeyMistake(key, f"expected a list of {len(args)}; found {len(value)}: {_show(value)}")
    return tuple(_decode(a, v, f"{key}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))


def _node(family: type[Node], value: Any, key: str) -> Any:
    allowed = members(family)
    if not isinstance(value, Mapping):
        raise KeyMistake(key, f"expected a node with a _target_; found {_show(value)}")
    rest = dict(value)
    target = rest.pop("_target_", None)
    if target not in allowed:
        where = _join(key, "_target_")
        if target is None:
            raise KeyMistake(where, f"is missing; expected one of {', '.join(sorted(allowed))}")
        raise KeyMistake(where, f"'{target}' cannot be used here. {did_you_mean(str(target), allowed)}")
    return _dataclass(allowed[target], rest, key)


def _dataclass(cls: type, value: Any, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise KeyMistake(key, f"expected a group of keys ({', '.join(schema_keys(cls))}); found {_show(value)}")
    hints, decoded = _hints(cls), {}
    known = schema_keys(cls)
    for name in value:
        if name not in known:
            raise UnknownKey(_join(key, str(name)), f"unknown key. {did_you_mean(str(name), known)}")
    for f in fields(cls):
        name = argument_name(f.name)
        if name in value:
            decoded[f.name] = _decode(hints[f.name], value[name], _join(key, name))
        elif f.default is MISSING and f.default_factory is MISSING:
            raise KeyMistake(_join(key, name), f"is required and missing; expected {describe(hints[f.name])}")
    return cls(**decoded)


def describe(kind: Any) -> str:
    """What a user should write for ``kind``."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return f"{describe(args[0])} {' and '.join(map(str, args[1:]))}"
    if origin in (Union, types.UnionType):
        return " or ".join("null" if a is types.NoneType else describe(a) for a in args)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin is tuple:
        return f"a list ({describe(args[0])} each)"
    if origin in (dict, Mapping) or is_dataclass(kind):
        return "a group of keys"
    names = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
    return names.get(kind, str(kind))


def _base(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _wrong_type(kind: Any, value: Any, key: str) -> KeyMistake:
    return KeyMistake(key, f"expected {describe(kind)}; found {_show(value)}")


def _show(value: Any) -> str:
    names = {type(None): "null", str: "text", int: "an integer", float: "a number", bool: "true or false"}
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "a group of keys"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"the list {list(value)}"
    return f"'{value}' ({names.get(type(value), type(value).__name__)})"


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else str(name)
