"""The 82 textures as tiles drawn by formulas, without a file (VIMA specification 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from maskbench.envs.tabletop.outlines import TEXELS
from maskbench.envs.tabletop.reading import read_yaml
from maskbench.errors import ConfigError, did_you_mean

#: Objects that only stand for their shape are shown in this colour; it belongs to no set.
GRAY = "gray"
_GRAY = (186, 176, 172)
_DARKENING = 0.3
_FAMILIES = ("stripe", "polka dot", "swirl", "paisley")
#: A light top and dim sides, as the published pictures have them.
_TOP, _SIDE = 0.937, 0.6


@cache
def light_textures() -> tuple[str, ...]:
    """The 49 names that are not dark, in the benchmark's order."""
    table = _table()
    pairs = [f"{a} and {b}" for a, b in combinations(table["singles"], 2)]
    families = [f"{p} stripe" for p in pairs] + [f"{p} polka dot" for p in pairs]
    families += [f"{c} {family}" for family in ("swirl", "paisley") for c in table["singles"]]
    return (*table["colours"], *table["patterns"], *families)


@cache
def dark_textures() -> tuple[str, ...]:
    """The 33 dark names."""
    dark = _table()["dark"]
    pairs_of = [n for n in light_textures() if n.endswith(tuple(f" {f}" for f in dark["families"]))]
    return tuple(f"dark {n}" for n in (*dark["colours"], *pairs_of))


@cache
def texture_names() -> tuple[str, ...]:
    """All 82 names."""
    return (*light_textures(), *dark_textures())


def texture_set(name: str) -> tuple[str, ...]:
    """``set1`` (19 names), ``set2`` (20)."""
    return tuple(_table()["sets"][name])


@cache
def texture_tiles(name: str) -> tuple[np.ndarray, np.ndarray]:
    """What is seen of a texture from above and from the side: two ``(TEXELS, TEXELS, 3)`` uint8 tiles, shaded."""
    tile = _tile(name)
    top, side = ((tile * shade).round().astype(np.uint8) for shade in (_TOP, _SIDE))
    top.flags.writeable = side.flags.writeable = False
    return top, side


def _table() -> dict[str, Any]:
    return read_yaml("textures.yaml")


def _tile(name: str) -> np.ndarray:
    """``(TEXELS, TEXELS, 3)`` float64 RGB in 0..255."""
    if name.startswith("dark "):
        light = _tile(name.removeprefix("dark "))
        value = light.max(2, keepdims=True) / 255.0
        return light * np.maximum(value - _DARKENING, 0.0) / np.maximum(value, 1e-6)
    colours: dict[str, list[int]] = {**_table()["colours"], GRAY: list(_GRAY)}
    if name in colours:
        return np.broadcast_to(np.array(colours[name], np.float64), (TEXELS, TEXELS, 3))
    u, v = np.meshgrid(*[(np.arange(TEXELS) + 0.5) / TEXELS] * 2, indexing="ij")
    if name in _PATTERNS:
        return _PATTERNS[name](u, v)
    family = next((f for f in _FAMILIES if name.endswith(f" {f}")), None)
    named = name.removesuffix(f" {family}").split(" and ")
    if family is None or any(c not in colours for c in named):
        raise ConfigError(f"no texture is called '{name}'. {did_you_mean(name, texture_names())}")
    first, second = (np.array(colours[c], np.float64) for c in (named[0], named[-1]))
    white = np.full(3, 245.0)
    match family:
        case "stripe":
            return _mix(np.floor(v * 5) % 2 == 1, second, first)
        case "polka dot":
            return _mix(_dots(u, v), second, first)
        case "swirl":
            return _mix(np.sin(2 * np.pi * (2.5 * v + 0.45 * np.sin(2 * np.pi * u) * np.sin(np.pi * v))) > 0, white, first)
        case _:
            return _mix(_smooth(u, v, 11, 6) + 0.6 * np.sin(34 * u) * np.sin(34 * v) > 0.15, white, first)


def _mix(mask: np.ndarray, where: Any, other: Any) -> np.ndarray:
    return np.where(mask[..., None], np.asarray(where, np.float64), np.asarray(other, np.float64))


def _dots(u: np.ndarray, v: np.ndarray, across: int = 3) -> np.ndarray:
    """Discs in rows, every other row shifted by half."""
    row = np.floor(u * across)
    return np.hypot(u * across % 1 - 0.5, (v * across + 0.5 * (row % 2)) % 1 - 0.5) < 0.3


def _smooth(u: np.ndarray, v: np.ndarray, seed: int, waves: int) -> np.ndarray:
    """Random waves of about ``waves`` periods, zero mean and unit size."""
    rng = np.random.default_rng(seed)
    total = np.zeros_like(u)
    for _ in range(12):
        a, b = rng.uniform(-waves, waves, 2)
        total += np.sin(2 * np.pi * (a * u + b * v + rng.random()))
    return total / np.sqrt(6.0)


def _noise(seed: int, cell: int) -> np.ndarray:
    """``(TEXELS, TEXELS)`` uniform numbers, equal within cells of ``cell`` texels."""
    coarse = np.random.default_rng(seed).random((-(-TEXELS // cell),) * 2)
    return np.kron(coarse, np.ones((cell, cell)))[:TEXELS, :TEXELS]


def _ramp(value: np.ndarray, *stops: tuple[int, int, int]) -> np.ndarray:
    """Colours along ``value`` in 0..1, linear between ``stops``."""
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(value, at, channel) for channel in np.array(stops, np.float64).T], 2)


def _bricks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    row = np.floor(u * 6)
    mortar = (u * 6 % 1 < 0.16) | ((v * 3 + 0.5 * (row % 2)) % 1 < 0.08)
    return _mix(mortar, (205, 195, 185), _ramp(_noise(1, 8), (150, 62, 45), (186, 86, 60)))


def _tiles(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _mix((u * 4 % 1 < 0.1) | (v * 4 % 1 < 0.1), (120, 120, 125), _ramp(_noise(2, 24), (190, 205, 215), (225, 235, 240)))


def _wood(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _ramp(0.5 + 0.5 * np.sin(40 * u + 2 * _smooth(u, v, 3, 2)), (120, 78, 42), (176, 124, 74))


def _granite(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _ramp(_noise(4, 2) * 0.6 + _noise(5, 3) * 0.4, (70, 80, 85), (190, 200, 195), (225, 232, 228))


def _plastic(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _ramp(np.clip(0.5 + 0.3 * _smooth(u, v, 6, 2), 0, 1), (60, 62, 70), (120, 124, 135))


def _tiger(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _mix(np.sin(30 * u + 2.2 * _smooth(u, v, 7, 3)) > 0.25, (25, 18, 12), (236, 140, 30))


def _magma(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    glow = np.clip(1.0 - 1.4 * np.abs(_smooth(u, v, 8, 3)), 0, 1)
    return _ramp(glow, (35, 20, 20), (120, 25, 10), (255, 170, 40))


def _rainbow(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _ramp(v, (220, 20, 30), (250, 200, 20), (40, 190, 60), (30, 190, 220), (30, 40, 220))


_PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "brick": _bricks,
    "tiles": _tiles,
    "wooden": _wood,
    "granite": _granite,
    "plastic": _plastic,
    "polka dot": lambda u, v: _mix(_dots(u, v, 4), (30, 30, 34), (240, 240, 236)),
    "checkerboard": lambda u, v: _mix((np.floor(u * 4) + np.floor(v * 4)) % 2 == 1, (30, 30, 34), (240, 240, 236)),
    "tiger": _tiger,
    "magma": _magma,
    "rainbow": _rainbow,
}
