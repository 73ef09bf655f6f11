"""The objects of the benchmark: 29 that tasks use and two that none does (VIMA specification 1.6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from maskbench.envs.tabletop.outlines import TEXELS, relief
from maskbench.envs.tabletop.reading import read_yaml
from maskbench.errors import ConfigError, did_you_mean

Profile = Literal["square", "circle", "other"]


@dataclass(frozen=True, eq=False)
class ObjectSpec:
    """A kind of object.

    smallest, largest: sizes (x, y, z) in metres, between which one factor is drawn.
    symmetry:  radians after which it looks the same; 0 for round ones.
    hollow:    other objects may not start inside it.
    relief:    ``(TEXELS, TEXELS)`` height as a part of its full height (see ``outlines.relief``).
    cover:     ``(n, 2)`` points of its footprint, holes filled, in units of its size; tests of overlap use them.
    """

    name: str
    group: Literal["dragged", "base", "strip", "unused"]
    smallest: tuple[float, float, float]
    largest: tuple[float, float, float]
    symmetry: float
    profile: Profile
    novel: bool
    task_only: bool
    hollow: bool
    relief: np.ndarray
    cover: np.ndarray

    @property
    def fixed(self) -> bool:
        """Whether nothing moves it."""
        return self.group != "dragged"

    @property
    def asymmetric(self) -> bool:
        """Whether its yaw shows."""
        return self.symmetry > 6.0


@cache
def catalogue() -> dict[str, ObjectSpec]:
    """Every object by name."""
    return {name: _spec(name, row) for name, row in read_yaml("objects.yaml").items()}


def find_object(name: str) -> ObjectSpec:
    """Raises ConfigError naming the nearest object where none is called ``name``."""
    if name not in catalogue():
        raise ConfigError(f"no object is called '{name}'. {did_you_mean(name, catalogue())}")
    return catalogue()[name]


def object_names(group: str, novel: bool | None = None) -> tuple[str, ...]:
    """Names of a group that tasks draw from; ``novel`` keeps only trained (False) or only new (True) ones."""
    return tuple(
        o.name for o in catalogue().values() if o.group == group and not o.task_only and (novel is None or o.novel == novel)
    )


def _spec(name: str, row: dict[str, Any]) -> ObjectSpec:
    sizes = row["size"] if isinstance(row["size"][0], list) else [row["size"], row["size"]]
    height = relief(row["layers"])
    height.flags.writeable = False
    return ObjectSpec(
        name=name,
        group=row["group"],
        smallest=tuple(sizes[0]),
        largest=tuple(sizes[1]),
        symmetry=float(np.deg2rad(row["symmetry"])),
        profile=row["profile"],
        novel=row.get("novel", False),
        task_only=row.get("task_only", False),
        hollow=row.get("hollow", False),
        relief=height,
        cover=_cover(height),
    )


def _cover(height: np.ndarray) -> np.ndarray:
    """Texels between the first and the last solid one of every row, thinned to the border and a grid."""
    solid = height > 0
    left = np.maximum.accumulate(solid, 1)
    right = np.maximum.accumulate(solid[:, ::-1], 1)[:, ::-1]
    filled = np.pad(left & right, 1)
    core = filled[:-2, 1:-1] & filled[2:, 1:-1] & filled[1:-1, :-2] & filled[1:-1, 2:]
    filled = filled[1:-1, 1:-1]
    rows, columns = np.indices(filled.shape)
    border = filled & ~core & ((rows + columns) % 3 == 0)
    grid = filled & (rows % 8 == 4) & (columns % 8 == 4)
    points = (np.argwhere(border | grid) + 0.5) / TEXELS - 0.5
    points.flags.writeable = False
    return points
