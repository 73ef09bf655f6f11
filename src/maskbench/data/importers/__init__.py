"""Readers of published data formats, one module a format.

``find_importer(path).read(path)`` answers an ``Imported``: a specification and a re-iterable of episodes.
"""

from __future__ import annotations

from pathlib import Path

from maskbench.data.importers.base import Imported, Importer
from maskbench.errors import DataError, did_you_mean

__all__ = ["Imported", "Importer", "find_importer", "importers"]


def importers() -> dict[str, Importer]:
    """Every importer by format name, in the order in which they are asked."""
    from maskbench.data.importers.bet import BetImporter
    from maskbench.data.importers.d4rl import D4rlImporter
    from maskbench.data.importers.maskdp import MaskdpImporter
    from maskbench.data.importers.minari import MinariImporter
    from maskbench.data.importers.vima import VimaImporter

    known: tuple[Importer, ...] = (VimaImporter(), MaskdpImporter(), BetImporter(), MinariImporter(), D4rlImporter())
    return {i.format: i for i in known}


def find_importer(path: str | Path, format: str = "auto") -> Importer:
    """The importer named ``format``, or the first that recognises ``path``.

    Raises DataError for an unknown format, a missing path and a path that nothing recognises.
    """
    known = importers()
    if format != "auto" and format not in known:
        raise DataError(f"no importer is called '{format}'. {did_you_mean(format, [*known, 'auto'])}")
    expectations = "".join(f"\n  {i.format}: {i.expects}" for i in known.values())
    location = Path(path)
    candidates = list(known.values()) if format == "auto" else [known[format]]
    for importer in candidates:
        if importer.recognises(location):
            return importer
    if not location.exists():
        raise DataError(f"{path}: no such file or folder. Point dataset.path= at one of:{expectations}")
    if format != "auto":
        raise DataError(f"{path}: not in the format '{format}', which expects {known[format].expects}")
    raise DataError(f"{path}: no importer recognises these files. Known formats:{expectations}")
