"""Restricted reading of foreign array files: no pickles, no links out of the file, every fault named.

All functions raise ``DataError`` with the file, the key, what was found and what was expected.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from maskbench.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import h5py

#: What numpy and zipfile raise on files that are cut, corrupt, encrypted or hold Python objects.
_UNREADABLE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, NotImplementedError)


def load_npy(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file, memory-mapped read-only."""
    if not path.is_file():
        raise DataError(f"{path}: the file does not exist; expected a .npy array")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _UNREADABLE as error:
        raise DataError(
            f"{path}: expected a readable .npy array of numbers; found a corrupt or truncated file ({error})"
        ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: expected one .npy array; found an archive of several")
    return array


def load_npz(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Arrays ``required`` and, where present, ``optional`` of an ``.npz`` archive."""
    try:
        archive = np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise DataError(f"{path}: expected an .npz archive; found a corrupt or truncated file ({error})") from error
    if isinstance(archive, np.ndarray):
        raise DataError(f"{path}: expected an .npz archive with {', '.join(required)}; found a single array")
    with archive:
        require(path, archive.files, required)
        arrays = {}
        for key in (*required, *(k for k in optional if k in archive.files)):
            try:
                arrays[key] = archive[key]
            except _UNREADABLE as error:
                raise DataError(f"{path}: key '{key}': expected a numeric array; found unreadable data ({error})") from error
    return arrays


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file opened for reading."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "data", "Reading HDF5 files") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: expected an HDF5 file; found a corrupt or truncated file ({error})") from error
    with file:
        yield file


def hdf5_dataset(path: Path, file: h5py.File, key: str) -> h5py.Dataset:
    """Data set ``key`` of an open file; refuses groups and data kept outside the file."""
    import h5py

    names = key.split("/")
    for depth in range(1, len(names) + 1):
        if isinstance(file.get("/".join(names[:depth]), getlink=True), h5py.ExternalLink):
            raise DataError(f"{path}: key '{key}': expected data inside the file; found a link to another file")
    found = file.get(key)
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{path}: key '{key}': expected an array; found {'nothing' if found is None else 'a group'}")
    if found.external or found.is_virtual:
        raise DataError(f"{path}: key '{key}': expected data inside the file; found storage in another file")
    return found


def read_hdf5(path: Path, file: h5py.File, key: str) -> np.ndarray:
    """Data set ``key`` of an open file, whole."""
    dataset = hdf5_dataset(path, file, key)
    try:
        return np.asarray(dataset[()])
    except OSError as error:
        raise DataError(f"{path}: key '{key}': expected {dataset.shape} values; the data cannot be read ({error})") from error


def require(path: Path, found: Sequence[str], required: Sequence[str]) -> None:
    """Every required key is there."""
    missing = [k for k in required if k not in found]
    if missing:
        raise DataError(f"{path}: missing key '{missing[0]}'; found {sorted(found)}, expected {list(required)}")


def check_layout(path: Path, key: str, array: Any, shape: Sequence[int | None]) -> None:
    """``array`` (anything with ``shape`` and ``dtype``) holds numbers and has ``shape``; None matches any size."""
    if array.dtype.kind not in "biuf":
        raise DataError(f"{path}: key '{key}': expected numbers; found dtype {array.dtype}")
    found = tuple(array.shape)
    if len(found) != len(shape) or any(want is not None and want != have for want, have in zip(shape, found, strict=True)):
        expected = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise DataError(f"{path}: key '{key}': expected shape {expected}; found {found}")


def finite(path: Path, key: str, array: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """``array`` cast to a floating ``dtype``, C-contiguous; refuses NaN and infinity, naming the row."""
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=dtype)
    good = np.isfinite(values)
    if not good.all():
        row = int(np.argwhere(~good)[0, 0])
        kind, found = np.dtype(dtype).name, np.asarray(array)[row]
        raise DataError(f"{path}: key '{key}': expected finite {kind} values; found {found} in row {row}")
    return values


def same_rows(path: Path, arrays: Mapping[str, Any], rows: int, like: str) -> None:
    """Every array has ``rows`` leading entries, as the key ``like`` has."""
    for key, array in arrays.items():
        if len(array.shape) == 0 or array.shape[0] != rows:
            raise DataError(f"{path}: key '{key}': expected {rows} rows like '{like}'; found shape {tuple(array.shape)}")


def positive(name: str, value: int | None) -> None:
    """An optional count is at least one."""
    if value is not None and value < 1:
        raise DataError(f"{name}: expected a positive number or none; found {value}")
