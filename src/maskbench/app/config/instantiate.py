"""The one place where configuration becomes objects."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from maskbench.app.config.node import PREFIX, Node, argument_name, members
from maskbench.errors import ConfigError, did_you_mean


def instantiate(node: Node, **extra: Any) -> Any:
    """Builds the object that ``node`` describes; nested nodes, also in lists and mappings, are built first.

    ``extra`` are keyword arguments that YAML cannot hold (a specification, a layout ...); they may not repeat a field.
    """
    allowed = members(Node)
    if allowed.get(node.target) is not type(node) or not node.target.startswith(PREFIX):
        raise ConfigError(f"'{node.target}' may not be built from configuration. {did_you_mean(node.target, allowed)}")
    module, _, name = node.target.rpartition(".")
    build = getattr(importlib.import_module(module), name)
    return build(**arguments(node), **extra)


def arguments(node: Node) -> dict[str, Any]:
    """Keyword arguments of the node's class, labels left out."""
    return {argument_name(f.name): _value(getattr(node, f.name)) for f in fields(node) if f.name not in node.labels}


def _value(value: Any) -> Any:
    if isinstance(value, Node):
        return instantiate(value)
    if isinstance(value, Mapping):
        return {k: _value(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_value(v) for v in value)
    return value
