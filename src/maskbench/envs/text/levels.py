"""The cooking levels of GATA, in both flavours (TTM spec 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from maskbench.errors import ConfigError

#: ``gata``: ingredients are to be found, doors and containers are closed. ``ttm``: the player holds them, all is open.
Flavour = Literal["gata", "ttm"]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

#: Seed of the first game of each split; game ``i`` has that of the first one plus ``i``.
FIRST_SEED: dict[Split, int] = {"train": 1000, "valid": 5000, "test": 9000}


@dataclass(frozen=True)
class Level:
    """What a cooking game asks for.

    recipe: ingredients. rooms: 1, 6, 9 or 12. take: ingredients that the player does not hold at the beginning.
    cut, cook: whether they are to be cut and cooked. closed: whether doors and containers begin closed.
    """

    recipe: int
    rooms: int
    take: int
    cut: bool
    cook: bool
    closed: bool

    @property
    def max_score(self) -> int:
        """A point for each ingredient taken, cooked and cut, for preparing the meal and for eating it."""
        return self.take + self.recipe * (self.cut + self.cook) + 2


#: level -> (recipe, rooms, cut, cook)
_LEVELS = {1: (1, 1, True, False), 2: (1, 1, True, True), 3: (1, 9, False, False), 4: (3, 6, True, True)}


def level_of(level: int, flavour: Flavour) -> Level:
    """One of the four levels. Raises ConfigError for another number or flavour."""
    if level not in _LEVELS or flavour not in ("gata", "ttm"):
        raise ConfigError(f"cooking games have levels {sorted(_LEVELS)} of flavour gata or ttm; found {level}, '{flavour}'")
    recipe, rooms, cut, cook = _LEVELS[level]
    gata = flavour == "gata"
    return Level(recipe, rooms, recipe if gata else 0, cut, cook, closed=gata)
