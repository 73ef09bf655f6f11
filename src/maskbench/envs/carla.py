"""CARLA of Behavior Transformers: named, but not built here (specification of BeT, section 2.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from maskbench.envs.base import Environment
from maskbench.errors import EnvError
from maskbench.trajectory import Episode


class Carla(Environment):
    """Two routes around a block of Town04, driven from a front camera; always raises EnvError that says what it takes."""

    def __init__(self, horizon: int = 700) -> None:
        raise EnvError(
            f"env=carla is not part of maskbench ({horizon} steps of driving in Town04, Behavior Transformers section 4): it "
            "needs a CARLA 0.9.13 server with a GPU, its Python client (Python 3.7 or 3.8) and frozen ResNet-18 features "
            "of 224 x 224 camera images, and runs with the original code, github.com/notmahi/bet. The reproducibility study "
            "left it out too. Worlds of the same publication that run here: env=blockpush, kitchen, pointmass1, pointmass2"
        )

    def make(self) -> NoReturn:
        raise EnvError("there is no CARLA to make")

    def generate(self, episodes: int, seed: int, **options: Any) -> Iterator[Episode]:
        raise EnvError("there is no CARLA to record")
