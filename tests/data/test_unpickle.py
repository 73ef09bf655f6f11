import datetime
import functools
import io
import os
import pickle
import sys
from collections import OrderedDict, defaultdict
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from maskbench.data.unpickle import Stub, read_pickle
from maskbench.errors import DataError


def read(value: Any, **options: Any) -> Any:
    return read_pickle(io.BytesIO(pickle.dumps(value)), **options)


class Malicious:
    def __init__(self, call: Any, *args: Any):
        self.call, self.args = call, args

    def __reduce__(self) -> Any:
        return self.call, self.args


def test_plain_values_and_arrays_come_back_equal() -> None:
    value = {"a": [1, 2.5, "x", None, True], "b": (b"y", {3}), "c": OrderedDict(k=datetime.date(2022, 2, 1)), "n": np.int8(2)}
    assert read(value) == value
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    back = read({"array": array, "default": defaultdict(list, k=[1])})
    assert back["default"] == {"k": [1]}
    np.testing.assert_array_equal(back["array"], array)
    assert back["array"].dtype == np.int16


@pytest.mark.parametrize(
    "attack",
    [
        Malicious(os.system, "touch {path}"),
        Malicious(eval, "open('{path}', 'w')"),
        Malicious(functools.partial(os.system, "touch {path}")),
        Malicious(getattr, "x", "upper"),
    ],
    ids=["os.system", "eval", "partial", "getattr"],
)
def test_code_in_a_pickle_is_refused_and_not_run(attack: Malicious, tmp_path: Any) -> None:
    path = tmp_path / "ran"
    attack.args = tuple(a.format(path=path) if isinstance(a, str) else a for a in attack.args)
    file = tmp_path / "bad.pkl"
    file.write_bytes(pickle.dumps(attack))
    with pytest.raises(DataError, match="refuses to build"):
        read_pickle(file)
    assert not path.exists()


def test_stubs_stand_for_packages_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("gone.things")
    thing = type("Thing", (), {"__module__": "gone.things"})
    module.Thing = thing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gone", ModuleType("gone"))
    monkeypatch.setitem(sys.modules, "gone.things", module)
    made = thing()
    made.colour, made.inner = "red", [thing()]  # type: ignore[attr-defined]
    data = pickle.dumps({"x": made})
    monkeypatch.delitem(sys.modules, "gone.things")
    back = read_pickle(io.BytesIO(data), stubs=["gone"])["x"]
    assert isinstance(back, Stub)
    assert (back.source, back.colour) == ("gone.things.Thing", "red")  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="never called"):
        back()
    with pytest.raises(DataError, match=r"refuses to build 'gone\.things\.Thing'"):
        read_pickle(io.BytesIO(data))


def test_broken_and_missing_files_are_named(tmp_path: Any) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_pickle(tmp_path / "none.pkl")
    cut = tmp_path / "cut.pkl"
    cut.write_bytes(pickle.dumps([1, 2, 3])[:-2])
    with pytest.raises(DataError, match=r"cut\.pkl"):
        read_pickle(cut)
