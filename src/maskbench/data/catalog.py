"""The published data sets that the project knows: where they are, how large, under which licence (``catalog.yaml``)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from maskbench.errors import DataError, did_you_mean


@dataclass(frozen=True)
class DataSet:
    """One published data set, or a family of them while names hold ``{placeholders}``.

    url:      one downloadable file, or None for ``manual`` data sets.
    unpack:   ``zip``, ``tar`` or None.
    size:     exact bytes of the download where published.
    checksum: ``sha256:<hex>`` or ``md5:<hex>`` where published.
    manual:   what to run by hand where one plain download does not do.
    """

    name: str
    title: str
    system: str
    format: str
    homepage: str
    url: str | None
    file: str | None
    unpack: str | None
    size: int | None
    size_note: str | None
    licence: str
    checksum: str | None
    manual: str | None
    notes: str

    @property
    def size_text(self) -> str:
        """Size for people."""
        return f"{self.size} bytes" if self.size is not None else self.size_note or "unknown"


@cache
def _rows() -> tuple[tuple[DataSet, dict[str, list[str]]], ...]:
    from omegaconf import OmegaConf

    rows: Any = OmegaConf.to_container(OmegaConf.create(files("maskbench.data").joinpath("catalog.yaml").read_text("utf-8")))
    return tuple((DataSet(**{k: v for k, v in row.items() if k != "each"}), row.get("each", {})) for row in rows)


@cache
def catalog() -> dict[str, DataSet]:
    """Every data set by name, families expanded."""
    known: dict[str, DataSet] = {}
    for family, each in _rows():
        for choice in itertools.product(*each.values()):
            words = dict(zip(each, choice, strict=True))
            words |= {f"{k}_": v.replace("-", "_") for k, v in words.items()}
            filled = {f.name: getattr(family, f.name) for f in fields(DataSet)}
            filled = {k: v.format(**words) if isinstance(v, str) and words else v for k, v in filled.items()}
            known[filled["name"]] = DataSet(**filled)
    return known


def find_data_set(name: str) -> DataSet:
    """The data set called ``name``; raises DataError naming the nearest one."""
    known = catalog()
    if name not in known:
        raise DataError(f"no published data set is called '{name}'. {did_you_mean(name, known)}")
    return known[name]


def catalog_table() -> str:
    """The catalog as the Markdown table of ``data/README.md``, one row a family."""
    lines = ["| name | data | for | source | size | licence | command |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for family, each in _rows():
        choices = "; ".join(f"`{{{k}}}`: {', '.join(v)}" for k, v in each.items())
        title = f"{family.title}. {choices}" if choices else family.title
        command = f"by hand: {family.manual}" if family.manual else f"`python -m maskbench data fetch '{family.name}'`"
        source = f"<{family.homepage}>"
        cells = (f"`{family.name}`", title, family.system, source, family.size_text, family.licence, command)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
