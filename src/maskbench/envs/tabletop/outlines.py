"""Outlines of objects in the unit square and what they enclose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from maskbench.errors import ConfigError, did_you_mean

#: Texels along a side of an object's tiles: 1.5 mm on the largest letters, against pixels of 4 mm.
TEXELS = 96


def relief(layers: list[Mapping[str, Any]]) -> np.ndarray:
    """Height of an object above its underside, as a part of its full height.

    layers: of ``objects.yaml``, in the order in which they are laid. Returns ``(TEXELS, TEXELS)`` float32; the first axis is
    the object's x, which is upwards for whoever reads it as a letter, the second its y, which is to that reader's left.
    """
    centres = (np.arange(TEXELS) + 0.5) / TEXELS - 0.5
    up, right = np.meshgrid(centres, -centres, indexing="ij")
    height = np.zeros((TEXELS, TEXELS), np.float32)
    for layer in layers:
        height[_inside(layer, right, up)] = layer.get("at", 1.0)
    return height


def _inside(layer: Mapping[str, Any], right: np.ndarray, up: np.ndarray) -> np.ndarray:
    kinds = [k for k in layer if k not in ("at", "at_point")]
    if len(kinds) != 1 or kinds[0] not in _SHAPES:
        raise ConfigError(f"a layer has one outline; found {kinds}. {did_you_mean(str(kinds[:1]), _SHAPES)}")
    x, y = layer.get("at_point", (0.0, 0.0))
    inside: np.ndarray = _SHAPES[kinds[0]](layer[kinds[0]], right - x, up - y)
    return inside


def _polygon(points: Any, right: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Even-odd rule."""
    inside = np.zeros(right.shape, bool)
    ends = np.asarray(points, np.float64)
    for (x0, y0), (x1, y1) in zip(ends, np.roll(ends, -1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > up) != (y1 > up)) & (right < (x1 - x0) * (up - y0) / (y1 - y0) + x0)
    return inside


def _corners(radii: np.ndarray) -> np.ndarray:
    """Points at equal angles from the top, at these radii."""
    angles = np.pi / 2 + 2 * np.pi * np.arange(len(radii)) / len(radii)
    return np.stack((radii * np.cos(angles), radii * np.sin(angles)), 1)


def _ellipse(axes: Any, right: np.ndarray, up: np.ndarray) -> np.ndarray:
    x, y, across, along = axes
    return np.hypot((right - x) / across, (up - y) / along) <= 1.0


_SHAPES: dict[str, Any] = {
    "points": _polygon,
    "box": lambda b, right, up: (right >= b[0]) & (up >= b[1]) & (right <= b[2]) & (up <= b[3]),
    "disc": lambda radius, right, up: np.hypot(right, up) <= radius,
    "ellipse": _ellipse,
    "regular": lambda n, right, up: _polygon(_corners(np.full(n, 0.5)), right, up),
    "star": lambda n, right, up: _polygon(_corners(np.tile((0.5, 0.21), n)), right, up),
    "petals": lambda n, right, up: np.hypot(right, up) <= 0.36 + 0.14 * np.cos(n * np.arctan2(up, right)),
}
