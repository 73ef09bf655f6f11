"""Published numbers that results are compared with: ``claims/*.yaml``, one published table a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskbench.errors import DataError, did_you_mean
from maskbench.reports.collect import Matrix, read_yaml

_FOLDER = Path(__file__).with_name("claims")
_KEYS = {"system", "table", "title", "metric", "source", "columns", "rows"}


@dataclass(frozen=True)
class Claim:
    """One published number: a cell of a table of a system. ``error`` as the source states it, or None."""

    system: str
    table: str
    row: str
    column: str
    value: float
    error: float | None
    metric: str
    source: str


def load_claims(path: Path | str) -> list[Claim]:
    """Cells of one file, row by row; blank (null) cells left out.

    A file holds ``system, table, title, metric, source, columns`` and ``rows``, a mapping of row name to one value a column;
    a value is a number or ``[number, error]``. Raises DataError where it does not.
    """
    path = Path(path)
    content = read_yaml(path)
    if set(content) != _KEYS:
        raise DataError(f"{path} must hold exactly {sorted(_KEYS)}; found {sorted(content)}")
    claims = []
    for row, values in content["rows"].items():
        if len(values) != len(content["columns"]):
            raise DataError(f"{path}: row '{row}' needs {len(content['columns'])} values; found {len(values)}")
        for column, cell in zip(content["columns"], values, strict=True):
            if cell is None:
                continue
            value, error = cell if isinstance(cell, list) else (cell, None)
            if not isinstance(value, int | float):
                raise DataError(f"{path}: {row} / {column} must be a number or [number, error]; found {cell!r}")
            facts = (content["system"], content["table"], str(row), str(column), float(value), error)
            claims.append(Claim(*facts, content["metric"], content["source"]))
    return claims


def published(system: str, table: str) -> list[Claim]:
    """The claims of one table shipped with the package. Raises DataError that names the nearest table where there is none."""
    name = f"{system}/{table}"
    known = {f"{p.parent.name}/{p.stem}": p for p in sorted(_FOLDER.glob("*/*.yaml"))}
    if name not in known:
        raise DataError(f"no published table is called '{name}'. {did_you_mean(name, known)}")
    return load_claims(known[name])


def claims_matrix(claims: Sequence[Claim], title: str) -> Matrix:
    """The cells of one table as a matrix, rows and columns in the order of appearance."""
    rows, columns = (tuple(dict.fromkeys(getattr(c, axis) for c in claims)) for axis in ("row", "column"))
    cells = {(c.row, c.column): c.value for c in claims}
    return Matrix(title, rows, columns, np.array([[cells.get((r, c), math.nan) for c in columns] for r in rows]))
