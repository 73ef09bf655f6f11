"""Rollout records on disk: ``records.jsonl`` for everything but trajectories, ``trajectories.npz`` for those."""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from maskbench.errors import DataError
from maskbench.trajectory import EpisodeRecord

RECORDS, TRAJECTORIES = "records.jsonl", "trajectories.npz"


def write_records(records: Sequence[EpisodeRecord], folder: Path | str) -> None:
    """Writes ``records.jsonl`` and, where any record has a trajectory, ``trajectories.npz`` (``<row>/<name>`` arrays).

    Each file appears complete or not at all; trajectories first, so that listed records always have theirs.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"{r.row}/{name}": value for r in records if r.trajectory is not None for name, value in r.trajectory.items()}
    if arrays:
        with _replacing(folder / TRAJECTORIES) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    else:
        (folder / TRAJECTORIES).unlink(missing_ok=True)
    with _replacing(folder / RECORDS) as file:
        for record in records:
            row = record.to_json()
            row["metrics"] = {k: v if math.isfinite(v) else None for k, v in row["metrics"].items()}
            file.write(json.dumps(row, allow_nan=False).encode() + b"\n")


def read_records(folder: Path | str) -> list[EpisodeRecord]:
    """Reads what ``write_records`` wrote. Raises DataError where it is absent, or a line is no record."""
    path = Path(folder) / RECORDS
    if not path.is_file():
        raise DataError(f"no rollout records at {path}")
    trajectories = _read_trajectories(path.with_name(TRAJECTORIES))
    records = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row: dict[str, Any] = json.loads(text)
            row["metrics"] = {k: math.nan if v is None else v for k, v in row["metrics"].items()}
            row["events"] = tuple((int(step), str(name)) for step, name in row["events"])
            records.append(EpisodeRecord(**row, trajectory=trajectories.get(row["row"])))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"line {number} of {path} is no rollout record: {error!r}") from error
    return records


def _read_trajectories(path: Path) -> dict[int, dict[str, np.ndarray]]:
    trajectories: dict[int, dict[str, np.ndarray]] = {}
    if not path.is_file():
        return trajectories
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                row, name = key.split("/", 1)
                trajectories.setdefault(int(row), {})[name] = file[key]
    except (ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} holds no trajectories: {error}") from error
    return trajectories


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file written under a temporary name, renamed to ``path`` when complete."""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
