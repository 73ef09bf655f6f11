"""Finding a factor, or a declared part of one (``state.height``), by name."""

from __future__ import annotations

from maskbench.errors import DataError, did_you_mean
from maskbench.trajectory import Factor, TrajectorySpec


def find_factor(spec: TrajectorySpec, name: str) -> tuple[Factor, Factor, slice]:
    """``(factor, parent, columns)``: the named factor, the stored factor that holds it and its columns there.

    For an unsplit factor the parent is the factor itself and the columns are all of them. Raises ``DataError`` naming the
    nearest valid name.
    """
    if name in spec:
        return spec[name], spec[name], slice(None)
    parent_name = name.split(".", 1)[0]
    if "." in name and parent_name in spec:
        parent = spec[parent_name]
        bounds = [(a, b) for _, a, b in parent.parts] or [(i, i + 1) for i in range(parent.width)]
        for factor, (start, stop) in zip(parent.split(), bounds, strict=False):
            if factor.name == name:
                return factor, parent, slice(start, stop)
        valid = [p.name for p in parent.split() if p is not parent]
        raise DataError(f"factor '{parent_name}' has no part '{name}'. {did_you_mean(name, valid)}")
    raise DataError(f"no factor is called '{name}'. {did_you_mean(name, spec.names)}")
