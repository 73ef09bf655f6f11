"""``python -m maskbench doctor``: what works on this machine, and how to mend what does not.

Nothing is imported but torch, nothing is written and nothing is fetched: packages are judged by their installed metadata
against the ranges that maskbench itself declares.
"""

from __future__ import annotations

import ctypes.util
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

if TYPE_CHECKING:
    from rich.console import Console

OFFLINE_FLAG = "MASKBENCH_OFFLINE"
LOW_DISK_GB = 5.0

#: package -> (versions without the fault, what the others break); measured, so narrower than what their authors declare.
TRAPS: Mapping[str, tuple[str, str]] = {
    "mujoco": (
        ">=3.10,<3.12",
        "from 3.12 on FrankaKitchen, Fetch and the Shadow hand of gymnasium-robotics fail with an AssertionError",
    ),
    "dm_control": (">=1.0.43,<1.0.45", "other releases need a mujoco outside 3.10-3.11"),
    "pandas": ("<3", "rliable and arch fail at import with pandas 3"),
}

State = Literal["ok", "absent", "warning", "problem"]
_SIGNS: Mapping[State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "absent": ("-", "dim"),
    "warning": ("warning", "yellow"),
    "problem": ("problem", "bold red"),
}


@dataclass(frozen=True)
class Check:
    """One line of the table. ``fix`` says what to run or set, and is empty exactly where the state is ok."""

    area: str
    name: str
    state: State
    found: str
    fix: str = ""

    def __post_init__(self) -> None:
        if (self.state == "ok") != (not self.fix):
            raise ValueError(f"check '{self.name}' is {self.state} but its fix is '{self.fix}'")


def doctor(
    console: Console, data_root: str | Path = "data", run_roots: Sequence[str | Path] = ("train_runs", "eval_runs")
) -> int:
    """Prints the table and the fixes to ``console``; 0 where the base install works, else 1.

    Missing extras, slow settings and full disks are shown and do not change the exit code.
    """
    checks = list(examine(data_root, run_roots))
    _print(console, checks)
    broken = any(check.area == "base" and check.state == "problem" for check in checks)
    console.print("The base install is broken: see the fixes above." if broken else "The base install works.", highlight=False)
    return int(broken)


def examine(data_root: str | Path = "data", run_roots: Sequence[str | Path] = ("train_runs", "eval_runs")) -> Iterator[Check]:
    """Every check of this machine, base install first."""
    yield check_python(sys.version_info[:3])
    try:
        requirements = metadata.requires("maskbench") or []
    except metadata.PackageNotFoundError:
        requirements = []
        yield Check("base", "maskbench", "problem", "not installed, so its requirements are unknown", "pip install -e .")
    else:
        yield Check("base", "maskbench", "ok", metadata.version("maskbench"))
    yield from check_base(requirements)
    yield from check_torch()
    yield check_threads(os.environ)
    yield from check_extras(requirements)
    yield from check_traps()
    yield from check_rendering(os.environ)
    yield check_compiler()
    yield check_offline(os.environ)
    for name, folder in [("data", data_root), *((str(root), root) for root in run_roots)]:
        yield check_folder(name, Path(folder))


def check_python(version: tuple[int, ...]) -> Check:
    """Python 3.11 is the floor of the simulators' own releases."""
    found = ".".join(map(str, version))
    if version >= (3, 11):
        return Check("base", "Python", "ok", f"{found}, {platform.system()} {platform.machine()}")
    return Check("base", "Python", "problem", found, "install Python 3.11 or newer and make the environment again")


def check_base(requirements: Iterable[str]) -> Iterator[Check]:
    """One line for each package that every install needs."""
    for requirement in map(Requirement, requirements):
        if _wanted_by(requirement, ""):
            found, wrong = _judge(requirement)
            fix = f"pip install '{requirement}'" if wrong else ""
            yield Check("base", requirement.name, "problem" if wrong else "ok", wrong or found, fix)


def check_extras(requirements: Iterable[str]) -> Iterator[Check]:
    """One line an extra: ok where all its packages are installed in range, absent where one is missing."""
    parsed = [Requirement(r) for r in requirements]
    extras = sorted({extra for r in parsed if r.marker for extra in _extras_named(str(r.marker))})
    for extra in extras:
        members = [r for r in parsed if _wanted_by(r, extra) and not _wanted_by(r, "")]
        verdicts = [(r, *_judge(r)) for r in members]
        wrong = [f"{r.name} {fault}" for r, _, fault in verdicts if fault]
        missing = [fault for _, _, fault in verdicts if fault == _MISSING]
        if not wrong:
            yield Check("extra", extra, "ok", ", ".join(f"{r.name} {found}" for r, found, _ in verdicts))
            continue
        state: State = "absent" if len(missing) == len(wrong) else "problem"
        yield Check("extra", extra, state, ", ".join(wrong), f"pip install 'maskbench[{extra}]'")


def check_traps(installed: Mapping[str, str] | None = None) -> Iterator[Check]:
    """A line for each installed package whose version is known to break something, whatever it declares.

    installed: package -> version; by default what is installed here.
    """
    for name, (good, breaks) in TRAPS.items():
        version = _installed(name) if installed is None else installed.get(name)
        if version is not None and not SpecifierSet(good).contains(version, prereleases=True):
            yield Check("trap", name, "problem", f"{version}: {breaks}", f"pip install '{name}{good}'")


def check_torch() -> Iterator[Check]:
    """That torch imports, and each device with its bf16 support."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a wheel of another platform or a missing system library ends in OSError
        yield Check(
            "base", "import torch", "problem", str(error), "pip install --force-reinstall -c installation/constraints.txt torch"
        )
        return
    bf16 = _cpu_has_bf16(Path("/proc/cpuinfo"))
    yield Check(
        "device",
        "cpu",
        "ok",
        f"{_cores()} cores, bf16 {'unknown' if bf16 is None else 'native' if bf16 else 'emulated: use fp32'}",
    )
    if torch.cuda.is_available():
        bf16_text = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            yield Check("device", f"cuda:{index}", "ok", f"{device.name}, {device.total_memory / 2**30:.0f} GiB, {bf16_text}")
    elif torch.version.cuda is None and shutil.which("nvidia-smi"):
        yield Check(
            "device", "cuda", "warning", f"torch {torch.__version__} is built without CUDA", "install a CUDA build of torch"
        )
    else:
        yield Check("device", "cuda", "absent", "no device", "needs an NVIDIA GPU, its driver and a CUDA build of torch")
    if torch.backends.mps.is_available():
        yield Check("device", "mps", "ok", "Metal")
    elif sys.platform == "darwin":
        yield Check("device", "mps", "absent", "no device", "needs Apple silicon, macOS 14 or newer and an arm64 Python")


def check_threads(environ: Mapping[str, str]) -> Check:
    """Spinning OpenMP threads cost 2 to 28 times the time where processors are shared."""
    threads, policy = environ.get("OMP_NUM_THREADS"), environ.get("OMP_WAIT_POLICY")
    found = f"OMP_NUM_THREADS={threads or 'unset'}, OMP_WAIT_POLICY={policy or 'unset'}"
    if threads == "1" or (policy or "").upper() == "PASSIVE" or environ.get("GOMP_SPINCOUNT") == "0":
        return Check("threads", "OpenMP", "ok", found)
    return Check(
        "threads", "OpenMP", "warning", f"{found}: threads spin", "export OMP_WAIT_POLICY=PASSIVE (or OMP_NUM_THREADS=1)"
    )


def check_rendering(environ: Mapping[str, str]) -> Iterator[Check]:
    """Which OpenGL libraries MuJoCo could draw with, and that ``MUJOCO_GL`` names one that is here."""
    if sys.platform == "darwin":
        yield Check("rendering", "OpenGL", "ok", "part of macOS")
        return
    here = {name: ctypes.util.find_library(library) for name, library in (("egl", "EGL"), ("osmesa", "OSMesa"))}
    packages = {"egl": "libegl1", "osmesa": "libosmesa6"}
    asked = environ.get("MUJOCO_GL", "").lower()
    for name, library in here.items():
        if library:
            yield Check("rendering", name, "ok", library)
        else:
            state: State = "problem" if asked == name else "absent"
            yield Check(
                "rendering", name, state, f"no library; MUJOCO_GL={asked or 'unset'}", f"apt-get install {packages[name]}"
            )


def check_compiler() -> Check:
    """``torch.compile`` builds C++ on CPU and needs a C compiler for Triton on CUDA."""
    found = shutil.which("g++") or shutil.which("clang++")
    if found:
        return Check("compiler", "C++", "ok", found)
    return Check("compiler", "C++", "absent", "none", "apt-get install g++, or train with trainer.compile=false")


def check_offline(environ: Mapping[str, str]) -> Check:
    """Whether downloads of data are switched off."""
    value = environ.get(OFFLINE_FLAG, "")
    off = value.lower() not in ("", "0", "false", "no")
    return Check("data", "downloads", "ok", f"{'off' if off else 'allowed'} ({OFFLINE_FLAG}={value or 'unset'})")


def check_folder(name: str, folder: Path) -> Check:
    """That ``folder`` can be made and written, and has room left; looks at its nearest existing ancestor and makes nothing."""
    place = folder.absolute()
    nearest = next(p for p in (place, *place.parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return Check("folder", name, "problem", f"{place} cannot be written", f"make {nearest} a folder that you may write to")
    free = shutil.disk_usage(nearest).free / 1e9
    found = f"{place}, {free:.0f} GB free" + ("" if place.exists() else " (made when needed)")
    if free < LOW_DISK_GB:
        return Check("folder", name, "warning", found, f"free some space: under {LOW_DISK_GB:.0f} GB are left")
    return Check("folder", name, "ok", found)


_MISSING = "not installed"


def _judge(requirement: Requirement) -> tuple[str, str]:
    """Installed version and, where it does not serve, what is wrong with it."""
    version = _installed(requirement.name)
    if version is None:
        return "", _MISSING
    if not requirement.specifier.contains(version, prereleases=True):
        return version, f"{version} is outside {requirement.specifier}"
    return version, ""


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _wanted_by(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _extras_named(marker: str) -> Iterator[str]:
    """Names compared with ``extra`` in a marker such as ``extra == "data"``."""
    for clause in marker.replace("'", '"').split('extra == "')[1:]:
        yield clause.split('"')[0]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_has_bf16(cpuinfo: Path) -> bool | None:
    """Whether the processor multiplies bf16 itself; None where the system does not say."""
    if not cpuinfo.exists():
        return None
    words = set(cpuinfo.read_text().split())
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def _print(console: Console, checks: Sequence[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("", "what", "state", "found", title="maskbench doctor", title_justify="left", header_style="bold")
    for i, check in enumerate(checks):
        sign, style = _SIGNS[check.state]
        repeated = i > 0 and checks[i - 1].area == check.area
        # Text, not str: square brackets of extras are not markup.
        table.add_row("" if repeated else check.area, Text(check.name), Text(sign, style), Text(check.found))
    console.print(table)
    for check in checks:
        if check.fix:
            sign, style = _SIGNS[check.state]
            console.print(Text.assemble(f"{check.area} {check.name}: ", (check.fix, style)))
