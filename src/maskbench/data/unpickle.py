"""Reading published pickles without running them: an allow-list of classes, inert stubs for packages that need not exist."""

from __future__ import annotations

import collections
import datetime
import functools
import importlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from maskbench.errors import DataError

#: Names that build plain values and nothing else. numpy's own have moved between its versions.
_PLAIN: dict[str, Any] = {
    **{f"builtins.{t.__name__}": t for t in (bytearray, complex, frozenset, set, slice, range, object)},
    **{f"builtins.{t.__name__}": t for t in (bool, bytes, dict, float, int, list, str, tuple)},
    "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": collections.defaultdict,
    "collections.deque": collections.deque,
    **{f"datetime.{t.__name__}": t for t in (datetime.date, datetime.datetime, datetime.time, datetime.timedelta)},
    "functools.partial": functools.partial,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
}
_NUMPY = {f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")}


class Stub:
    """Stands for an object of a class that is not to be had: keeps what its pickle said of it, does nothing.

    ``source`` is the class's qualified name, ``args`` what it was built from; its attributes are those of the pickle.
    """

    source = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Stub:
        stub = super().__new__(cls)
        stub.args = args
        return stub

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, Mapping):
                self.__dict__.update(part)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise DataError(f"'{self.source}' comes from a pickle and is never called")


def read_pickle(
    file: Path | BinaryIO, *, classes: Mapping[str, Any] | None = None, stubs: Sequence[str] = (), names: Sequence[str] = ()
) -> Any:
    """The value in a pickle, of which nothing is run but the construction of plain values and numpy arrays.

    ``classes`` maps further qualified names to what stands for them; ``stubs`` lists packages, and ``names`` qualified names,
    whose objects become ``Stub``. Raises DataError, before it is built, for any other class or function; and for broken files.
    """
    if isinstance(file, Path):
        if not file.is_file():
            raise DataError(f"there is no file {file}")
        with file.open("rb") as opened:
            return read_pickle(opened, classes=classes, stubs=stubs, names=names)
    where = getattr(file, "name", "the pickle")
    try:
        return _Unpickler(file, where, dict(classes or {}), tuple(stubs), frozenset(names)).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: expected a pickle of plain values; reading it failed ({error})") from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, where: str, classes: dict[str, Any], stubs: tuple[str, ...], names: frozenset[str]):
        super().__init__(file)
        self.where, self.classes, self.stubs, self.names = where, classes, stubs, names

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in self.classes:
            return self.classes[full]
        if full in self.names or any(module == s or module.startswith(s + ".") for s in self.stubs):
            return type(name.rpartition(".")[2], (Stub,), {"source": full})
        if full in _PLAIN:
            return _PLAIN[full]
        if full in _NUMPY:
            return getattr(importlib.import_module("numpy._core.multiarray"), name)
        raise DataError(
            f"{self.where}: refuses to build '{full}'. Pickles can run code; only plain values, numpy arrays and the classes "
            "of the published format are read. If the file is yours, save it as npz or json"
        )
