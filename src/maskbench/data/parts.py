"""Finding a factor, or a part of one (``state.height``, ``state.3``), by name."""

from __future__ import annotations

from dataclasses import replace

from maskbench.errors import DataError, did_you_mean
from maskbench.trajectory import Factor, TrajectorySpec, part_slice


def find_factor(spec: TrajectorySpec, name: str) -> tuple[Factor, Factor, slice]:
    """``(factor, parent, columns)``: the named factor, the stored factor that holds it and its columns there.

    For an unsplit factor the parent is the factor itself and the columns are all of them. Raises ``DataError`` naming the
    nearest valid name.
    """
    parent_name = name.split(".", 1)[0]
    if parent_name not in spec:
        raise DataError(f"no factor is called '{name}'. {did_you_mean(name, spec.names)}")
    parent = spec[parent_name]
    if name == parent_name:
        return parent, parent, slice(None)
    columns = part_slice(parent, name)
    return replace(parent, name=name, shape=(columns.stop - columns.start,), parts=()), parent, columns
