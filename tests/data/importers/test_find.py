"""Finding the importer of a path, and what is said where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from maskbench.data.importers import find_importer, importers
from maskbench.errors import DataError


def test_a_missing_path_says_what_could_be_there() -> None:
    with pytest.raises(DataError, match="no such file or folder") as caught:
        find_importer("nowhere/at/all")
    assert all(f"{name}:" in str(caught.value) for name in importers())


def test_unrecognised_files_list_every_format(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="no importer recognises") as caught:
        find_importer(tmp_path)
    assert all(i.expects in str(caught.value) for i in importers().values())


def test_an_unknown_format_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'maskdp'"):
        find_importer(tmp_path, "maskpd")


def test_a_named_format_must_fit_the_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not in the format 'd4rl', which expects one \.hdf5 file"):
        find_importer(tmp_path, "d4rl")


def test_importing_the_importers_loads_no_heavy_library() -> None:
    code = (
        "import sys, maskbench.data.importers; print([m for m in ('torch', 'h5py', 'minari', 'gymnasium') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
