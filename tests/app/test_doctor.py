import builtins
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from maskbench.app import doctor as module
from maskbench.app.doctor import (
    Check,
    check_base,
    check_extras,
    check_folder,
    check_offline,
    check_python,
    check_rendering,
    check_threads,
    check_torch,
    check_traps,
    doctor,
)

INSTALLED = {"torch": "2.13.0", "numpy": "2.4.6", "mujoco": "3.11.0", "h5py": "3.16.0"}


@pytest.fixture
def installed(monkeypatch):
    packages = dict(INSTALLED)
    monkeypatch.setattr(module, "_installed", packages.get)
    return packages


def run(monkeypatch, checks) -> tuple[int, str]:
    monkeypatch.setattr(module, "examine", lambda *_: iter(checks))
    out = io.StringIO()
    return doctor(Console(file=out, width=120)), out.getvalue()


def test_a_working_base_install_ends_with_zero_whatever_the_extras(monkeypatch):
    checks = [
        Check("base", "torch", "ok", "2.13.0"),
        Check("extra", "robotics", "absent", "mujoco not installed", "pip install 'maskbench[robotics]'"),
        Check("trap", "pandas", "problem", "3.0", "pip install 'pandas<3'"),
    ]
    code, text = run(monkeypatch, checks)
    assert code == 0
    assert "The base install works." in text


def test_a_broken_base_install_ends_with_one_and_says_how_to_mend_it(monkeypatch):
    code, text = run(
        monkeypatch, [Check("base", "numpy", "problem", "1.26 is outside <2.5,>=2", "pip install 'numpy>=2,<2.5'")]
    )
    assert code == 1
    assert "base numpy: pip install 'numpy>=2,<2.5'" in text


def test_square_brackets_of_extras_are_printed(monkeypatch):
    _, text = run(monkeypatch, [Check("extra", "data", "absent", "h5py not installed", "pip install 'maskbench[data]'")])
    assert "pip install 'maskbench[data]'" in text


def test_a_check_that_is_not_ok_has_a_fix():
    with pytest.raises(ValueError, match="fix"):
        Check("base", "numpy", "problem", "missing")


@pytest.mark.parametrize(("version", "state"), [((3, 10, 14), "problem"), ((3, 11, 0), "ok"), ((3, 13, 1), "ok")])
def test_python_311_is_the_floor(version, state):
    assert check_python(version).state == state


def test_base_packages_are_judged_by_their_declared_range(installed):
    requirements = ["numpy>=2,<2.5", "torch>=99", "scipy>=1.11", "h5py>=99; extra == 'data'"]
    states = {c.name: (c.state, c.found) for c in check_base(requirements)}
    assert states == {
        "numpy": ("ok", "2.4.6"),
        "torch": ("problem", "2.13.0 is outside >=99"),
        "scipy": ("problem", "not installed"),
    }


def test_an_extra_is_absent_where_a_package_is_missing_and_a_problem_where_one_is_out_of_range(installed):
    requirements = [
        'h5py>=3.10; extra == "data"',
        'mujoco<3.11; extra == "robotics"',
        'dm_control>=1; extra == "robotics"',
        'optuna>=4; extra == "sweep"',
    ]
    checks = {c.name: c for c in check_extras(requirements)}
    assert {name: c.state for name, c in checks.items()} == {"data": "ok", "robotics": "problem", "sweep": "absent"}
    assert "dm_control not installed" in checks["robotics"].found
    assert checks["sweep"].fix == "pip install 'maskbench[sweep]'"


@pytest.mark.parametrize(
    ("package", "good", "bad"),
    [
        ("mujoco", "3.11.0", "3.12.0"),
        ("mujoco", "3.10.0", "4.0.0"),
        ("dm_control", "1.0.44", "1.0.45"),
        ("pandas", "2.3.1", "3.0.0"),
    ],
)
def test_versions_that_break_something_are_named(package, good, bad):
    assert list(check_traps({package: good})) == []
    (check,) = check_traps({package: bad})
    assert (check.name, check.state) == (package, "problem")
    assert bad in check.found


def test_torch_that_does_not_import_breaks_the_base_install(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "torch":
            raise OSError("libgomp.so.1: cannot open shared object file")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (check,) = check_torch()
    assert (check.area, check.state) == ("base", "problem")
    assert "libgomp" in check.found


@pytest.mark.parametrize(
    ("environ", "state"),
    [
        ({}, "warning"),
        ({"OMP_NUM_THREADS": "4"}, "warning"),
        ({"OMP_NUM_THREADS": "1"}, "ok"),
        ({"OMP_WAIT_POLICY": "passive"}, "ok"),
        ({"GOMP_SPINCOUNT": "0"}, "ok"),
    ],
)
def test_spinning_threads_are_warned_of(environ, state):
    assert check_threads(environ).state == state


def test_a_missing_gl_library_is_a_problem_only_where_it_was_asked_for(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(module.ctypes.util, "find_library", lambda name: "libEGL.so.1" if name == "EGL" else None)
    assert [c.state for c in check_rendering({})] == ["ok", "absent"]
    assert [c.state for c in check_rendering({"MUJOCO_GL": "osmesa"})] == ["ok", "problem"]


@pytest.mark.parametrize(("value", "word"), [("1", "off"), ("0", "allowed"), ("False", "allowed"), (None, "allowed")])
def test_the_offline_flag_is_reported(value, word):
    environ = {} if value is None else {"MASKBENCH_OFFLINE": value}
    assert check_offline(environ).found.startswith(word)


def test_folders_are_judged_without_being_made(tmp_path):
    folder = tmp_path / "train_runs" / "deep"
    assert check_folder("train_runs", folder).state in {"ok", "warning"}
    assert not folder.parent.exists()


def test_a_file_in_the_place_of_a_folder_is_a_problem(tmp_path):
    (tmp_path / "train_runs").write_text("")
    check = check_folder("train_runs", tmp_path / "train_runs" / "train_kitchen")
    assert check.state == "problem"


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: module.shutil._ntuple_diskusage(10, 9, 1))
    assert check_folder("data", tmp_path).state == "warning"


@pytest.mark.parametrize(("words", "answer"), [("flags : fma avx512_bf16", True), ("flags : fma avx2", False)])
def test_native_bf16_is_read_from_the_processor_flags(tmp_path, words, answer):
    (tmp_path / "cpuinfo").write_text(words)
    assert module._cpu_has_bf16(tmp_path / "cpuinfo") is answer


def test_bf16_is_unknown_where_the_system_does_not_say(tmp_path):
    assert module._cpu_has_bf16(tmp_path / "none") is None


def test_this_machine_can_be_examined_from_any_folder(tmp_path):
    code = "from maskbench.app.doctor import examine; print(*{c.area for c in examine()})"
    environ = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    assert {"base", "device", "threads", "folder"} <= set(done.stdout.split())
    assert list(tmp_path.iterdir()) == []
