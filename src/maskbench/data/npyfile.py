"""``.npy`` files that grow while episodes arrive, and that are read back with every surprise named."""

from __future__ import annotations

import hashlib
import io
import math
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from maskbench.errors import DataError


class GrowingArray:
    """Appends rows to an ``.npy`` file; the header is rewritten in place with the final length on ``close``. A file that is
    there is gone on with: its whole rows stay."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...] = ()) -> None:
        self._dtype, self._shape, self.rows = dtype, shape, 0
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._write_header()
        self._header = self._file.tell()
        row = dtype.itemsize * math.prod(shape)
        self.rows = max(0, self._file.seek(0, os.SEEK_END) - self._header) // row if row else 0
        self._file.seek(self._header + self.rows * row)
        self._file.truncate()

    def append(self, rows: np.ndarray) -> None:
        """Adds ``(n, *shape)`` rows."""
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self.rows += len(rows)

    def flush(self) -> None:
        """Hands what was appended to the system."""
        self._file.flush()

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        assert self._file.tell() == self._header, "numpy leaves room in headers for the first axis to grow"
        self._file.close()

    def __enter__(self) -> GrowingArray:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _write_header(self) -> None:
        _write_header(self._file, self._dtype, (self.rows, *self._shape))


def load_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], *, mmap: bool = False) -> np.ndarray:
    """Reads an ``.npy`` file that must hold exactly ``dtype`` and ``shape``.

    Mapped arrays are copy-on-write: nothing that is done to them reaches the file. Raises ``DataError`` for a missing,
    truncated or different file.
    """
    fix = "Delete the store and make it again."
    if not path.is_file():
        raise DataError(f"{path} is missing; expected {dtype} {shape}. {fix}")
    try:
        array: np.ndarray = np.load(path, mmap_mode="c" if mmap and np.prod(shape) else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is truncated or no array ({error}); expected {dtype} {shape}. {fix}") from error
    if array.dtype != dtype or array.shape != shape:
        raise DataError(f"{path} holds {array.dtype} {array.shape}; expected {dtype} {shape}. {fix}")
    return array.view(np.ndarray)


def hash_array(array: np.ndarray) -> str:
    """sha256 of the ``.npy`` file that would hold ``array``."""
    header = io.BytesIO()
    _write_header(header, array.dtype, array.shape)
    digest = hashlib.sha256(header.getvalue())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_begin(path: Path) -> int:
    """Bytes in front of the values of an ``.npy`` file, which are rewritten when it is closed; none in front of other files."""
    if path.suffix != ".npy":
        return 0
    with path.open("rb") as file:
        start = file.read(10)
    return 10 + int.from_bytes(start[8:10], "little")


def _write_header(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
