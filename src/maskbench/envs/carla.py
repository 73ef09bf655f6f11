"""CARLA of Behavior Transformers: named, but not built here (specification of BeT, section 2.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from maskbench.envs.base import Environment
from maskbench.errors import EnvError
from maskbench.trajectory import Episode

#: Why there is none, and where there is one.
NEEDS = (
    "CARLA (two routes around a block of Town04, Behavior Transformers section 4) is not part of maskbench: it needs a CARLA "
    "0.9.13 server with a GPU, its Python client (Python 3.7 or 3.8) and frozen ResNet-18 features of 224 x 224 camera images, "
    "and runs with the original code, github.com/notmahi/bet. The reproducibility study left it out too. Worlds of the same "
    "publication that run here: env=blockpush, kitchen, pointmass1, pointmass2"
)


class Carla(Environment):
    """Always raises EnvError that says what it takes. horizon: published steps of a rollout."""

    def __init__(self, horizon: int = 700) -> None:
        raise EnvError(NEEDS)

    def make(self) -> NoReturn:
        raise EnvError(NEEDS)

    def generate(self, episodes: int | range, seed: int, **options: Any) -> Iterator[Episode]:
        raise EnvError(NEEDS)
