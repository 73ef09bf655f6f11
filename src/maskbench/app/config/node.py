"""Nodes with a ``_target_``: which classes YAML may build, and their arguments.

The dataclasses registered here are the allow-list: a ``_target_`` that no schema mirrors cannot be built. Fields of a
schema are the keyword arguments of its class (a test compares the signatures), except those in ``labels``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

#: Every target lives in this package.
PREFIX = "maskbench."


@dataclass(frozen=True)
class Node:
    """Base of every typed node. Direct subclasses are families (``EnvNode`` ...), theirs are the buildable nodes."""

    #: Import path of the class that this node builds; empty for families.
    target: ClassVar[str] = ""
    #: Fields that describe the node and are not passed to the class.
    labels: ClassVar[tuple[str, ...]] = ()


N = TypeVar("N", bound=Node)


def members(family: type[N]) -> dict[str, type[N]]:
    """Buildable nodes of ``family`` (itself included) by target."""
    found = {family.target: family} if family.target else {}
    for child in family.__subclasses__():
        found.update(members(child))
    return found


def argument_name(field: str) -> str:
    """Key in YAML and keyword of the class: Python keywords carry a trailing underscore in schemas (``return_``)."""
    return field.removesuffix("_")
