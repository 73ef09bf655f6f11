"""Every route of installation/ brings the same Python and the same versions."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [Requirement(r) for r in group] for name, group in PROJECT["optional-dependencies"].items()}
DECLARED = [Requirement(r) for r in PROJECT["dependencies"]] + [r for group in EXTRAS.values() for r in group]
CONDA_FILES = ("environment.yml", "installation/osx-arm64/environment.yml")
TESTED = {"robotics", "data", "tracking", "sweep", "dev"}


def constraints() -> dict[str, str]:
    lines = (ROOT / "installation/constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def load(path: str) -> dict:
    return OmegaConf.to_container(OmegaConf.load(ROOT / path), resolve=False)


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_every_declared_requirement_is_pinned_inside_its_range(requirement):
    pinned = constraints()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned), f"{pinned} is outside {requirement.specifier}"


def test_constraints_name_each_package_once_and_torch_first():
    lines = [x for x in (ROOT / "installation/constraints.txt").read_text().splitlines() if x and not x.startswith("#")]
    names = [canonicalize_name(line.split("==")[0]) for line in lines]
    assert len(names) == len(set(names))
    assert lines[0] == "torch==2.13.0"
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)


def test_constraints_hold_the_closure_of_what_the_tests_install():
    pins, seen = constraints(), set()

    def visit(requirement: Requirement) -> None:
        name = canonicalize_name(requirement.name)
        wanted = {(name, extra) for extra in {"", *requirement.extras}} - seen
        if not wanted:
            return
        seen.update(wanted)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed, so its requirements cannot be read")
        for need in map(Requirement, needs):
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for _, extra in wanted):
                visit(need)

    for requirement in [Requirement(r) for r in PROJECT["dependencies"]] + [r for extra in TESTED for r in EXTRAS[extra]]:
        visit(requirement)
    bundled_with_gpu_torch = ("nvidia-", "cuda-", "triton")
    assert {name for name, _ in seen if not name.startswith(bundled_with_gpu_torch)} <= set(pins)


@pytest.mark.parametrize("path", CONDA_FILES)
def test_conda_files_bring_the_tested_python_and_the_pins(path):
    env = load(path)
    assert env["name"] == "maskbench"
    assert env["channels"] == ["conda-forge"]
    python, pip, routes = env["dependencies"]
    assert pip == "pip"
    version = python.removeprefix("python=")
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    constraint, package = (line.split(" ", 1) for line in routes["pip"])
    here = (ROOT / path).parent
    assert constraint[0] == "-c"
    assert (here / constraint[1]).resolve() == ROOT / "installation/constraints.txt"
    folder, extras = re.fullmatch(r"(.*)\[(.*)\]", package[1]).groups()
    assert package[0] == "-e"
    assert (here / folder).resolve() == ROOT
    assert set(extras.split(",")) == TESTED


def test_dockerfile_brings_the_tested_python_and_extras_and_ends_as_the_hosts_user():
    text = (ROOT / "installation/amd64/Dockerfile").read_text()
    assert "FROM python:3.11-slim" in text
    assert set(re.search(r"ARG EXTRAS=(\S+)", text)[1].split(",")) == TESTED
    assert "-c installation/constraints.txt" in text
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["${USER_NAME}"]


def test_compose_services_share_mounts_and_only_cuda_reserves_gpus():
    services = load("installation/amd64/compose.yaml")["services"]
    assert set(services) == {"cpu", "cuda"}
    for service in services.values():
        assert {v.split(":")[1] for v in service["volumes"]} == {f"/workspace/{d}" for d in ("data", "train_runs", "eval_runs")}
        assert (ROOT / "installation/amd64" / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert service["shm_size"] == "8gb"
        assert {"USER_ID", "GROUP_ID"} <= set(service["build"]["args"])
    assert "deploy" not in services["cpu"]
    (gpu,) = services["cuda"]["deploy"]["resources"]["reservations"]["devices"]
    assert gpu == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_compose_build_arguments_are_declared_by_the_dockerfile():
    declared = set(re.findall(r"^ARG (\w+)", (ROOT / "installation/amd64/Dockerfile").read_text(), re.MULTILINE))
    for service in load("installation/amd64/compose.yaml")["services"].values():
        assert set(service["build"]["args"]) <= declared


def test_make_test_installs_the_extras_that_the_other_routes_install():
    text = (ROOT / "Makefile").read_text().replace("$(comma)", ",")
    assert set(re.search(r"call install,\[(robotics.*?)\]", text)[1].split(",")) == TESTED


def test_make_names_what_is_missing_where_no_python_is_new_enough(tmp_path):
    done = subprocess.run(
        ["make", "demo", "PYTHON=/bin/false", f"VENV={tmp_path}/venv"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_wheel_carries_the_configs_and_the_licence(tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tree)
    for name in ("train.yaml", "env/toy.yaml", "paper/bet/kitchen.yaml"):
        path = tree / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("name: x\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        tmp_path,
    ]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    configs = {n.removeprefix("maskbench/configs/") for n in names if n.startswith("maskbench/configs/")}
    assert configs == {"train.yaml", "env/toy.yaml", "paper/bet/kitchen.yaml"}
    assert "maskbench/py.typed" in names
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in names)
    assert not any(n.startswith("tests") for n in names)
