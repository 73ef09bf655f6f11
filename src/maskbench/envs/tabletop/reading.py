"""The world's own YAML files."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any


@cache
def read_yaml(path: str) -> dict[str, Any]:
    """A file of this folder as plain values. The answer is shared: nobody may change it."""
    from omegaconf import OmegaConf

    text = files("maskbench.envs.tabletop").joinpath(path).read_text("utf-8")
    found: Any = OmegaConf.to_container(OmegaConf.create(text))
    return found
