"""The Python of the README runs, and its command lines compose."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from maskbench.app.config.compose import load

TEXT = (Path(__file__).resolve().parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.S)
COMMANDS = [
    shlex.split(line.split("#")[0])[2:]
    for kind, body in BLOCKS
    if kind == "bash"
    for line in body.splitlines()
    if line.startswith("python train.py")
]


def test_the_first_python_block_runs_as_it_stands() -> None:
    (first, *_) = [body for kind, body in BLOCKS if kind == "python"]
    names: dict[str, object] = {}
    exec(compile(first, "README.md", "exec"), names)
    assert names["masks"].visible.shape == (32, 10, 4)  # type: ignore[attr-defined]


@pytest.mark.parametrize("overrides", COMMANDS, ids=" ".join)
def test_train_commands_compose(overrides: list[str]) -> None:
    elsewhere = ("dataset.path=", "model.load_dir=", "resume=")
    plain = [o for o in overrides if not o.startswith(("-", "sweep", *elsewhere)) and "," not in o]
    assert load("train", plain).env.name
