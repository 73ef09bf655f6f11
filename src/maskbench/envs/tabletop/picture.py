"""Pictures of the table without OpenGL: objects are height fields, cameras are orthographic (VIMA specification 1.1, 4.4).

``top`` looks straight down; ``front`` from the near side at 45 degrees. A pixel of ``front`` sees the points for which
``x - z`` is one number, the highest first. So its picture of a body is a search for the first of many levels, from its top
down, at which that line has entered the body; what was entered between two levels is a wall or a surface, by the body's
height there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from maskbench.envs.tabletop.objects import ObjectSpec
from maskbench.envs.tabletop.outlines import TEXELS
from maskbench.envs.tabletop.scene import Body, Pose
from maskbench.envs.tabletop.textures import texture_tiles
from maskbench.prompt import PromptImage

#: Cameras, in alphabetical order.
VIEWS = ("front", "top")
HEIGHT, WIDTH = 128, 256

#: Metres of x (or of x - z) and of y per pixel.
_ROW = {"top": 0.51 / HEIGHT, "front": 0.509 / (0.7071 * HEIGHT)}
_COLUMN = 1.02 / WIDTH
#: x (or x - z) of the middle row.
_MIDDLE = {"top": 0.5, "front": 0.41}
_LEVEL = 0.003
_GROUND, _MAT, _WHITE = 239, 47, 255
_MAT_ROWS = {"top": slice(1, 126), "front": slice(35, 124)}
_MAT_COLUMNS = slice(3, 254)
#: Value of pixels without an object in the picture of one object alone.
ALONE_BACKGROUND = 255
#: Where an object is shown alone.
ALONE = Pose(0.5, 0.0, np.pi / 2)


@dataclass(frozen=True)
class Frame:
    """What the cameras see: per view ``(3, 128, 256)`` uint8 colours and ``(128, 256)`` uint8 body ids."""

    rgb: Mapping[str, np.ndarray]
    segm: Mapping[str, np.ndarray]


def photograph(bodies: Iterable[Body]) -> Frame:
    """Both views of the table."""
    bodies = list(bodies)
    rgb, segm = {}, {}
    for view in VIEWS:
        colours, ids = (a.copy() for a in _table(view))
        _paint(view, bodies, colours, ids)
        rgb[view], segm[view] = np.ascontiguousarray(colours.transpose(2, 0, 1)), ids
    return Frame(rgb, segm)


def scene_image(bodies: Iterable[Body]) -> PromptImage:
    """The picture behind a scene placeholder: objects are numbered from 2 in spawn order."""
    numbered = [_numbered(b, i) for i, b in enumerate(bodies, 2)]
    frame = photograph(numbered)
    return PromptImage("scene", frame.rgb, frame.segm, tuple(b.described for b in numbered))


def object_image(spec: ObjectSpec, texture: str, size: tuple[float, float, float]) -> PromptImage:
    """The picture behind an object placeholder: the object alone on white, id 0 on 255."""
    body = Body(0, spec, texture, size, ALONE)
    rgb, segm = {}, {}
    for view in VIEWS:
        colours = np.full((HEIGHT, WIDTH, 3), _WHITE, np.uint8)
        ids = np.full((HEIGHT, WIDTH), ALONE_BACKGROUND, np.uint8)
        _paint(view, [body], colours, ids)
        rgb[view], segm[view] = np.ascontiguousarray(colours.transpose(2, 0, 1)), ids
    return PromptImage("object", rgb, segm, (body.described,))


def _numbered(body: Body, id: int) -> Body:
    return Body(id, body.spec, body.texture, body.size, body.pose, body.z)


@cache
def _table(view: str) -> tuple[np.ndarray, np.ndarray]:
    """The empty table."""
    colours = np.full((HEIGHT, WIDTH, 3), _GROUND, np.uint8)
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    colours[_MAT_ROWS[view], _MAT_COLUMNS] = _MAT
    ids[_MAT_ROWS[view], _MAT_COLUMNS] = 1
    return colours, ids


@dataclass(frozen=True)
class _Layer:
    """What one body covers in a view: ``(K,)`` int32 pixels of the flat picture, ``(K,)`` heights, ``(K, 3)`` colours."""

    pixels: np.ndarray
    z: np.ndarray
    colours: np.ndarray


def _paint(view: str, bodies: Iterable[Body], colours: np.ndarray, ids: np.ndarray) -> None:
    """Draws bodies onto ``colours`` (H, W, 3) and ``ids`` (H, W), nearest to the camera in front."""
    depth, colours, ids = np.full(HEIGHT * WIDTH, -1.0, np.float32), colours.reshape(-1, 3), ids.reshape(-1)
    for body in bodies:
        layer = _layer(view, body)
        nearer = layer.z > depth[layer.pixels]
        pixels = layer.pixels[nearer]
        depth[pixels], ids[pixels], colours[pixels] = layer.z[nearer], body.id, layer.colours[nearer]


def _layer(view: str, body: Body) -> _Layer:
    """A body's layer, kept with it: what does not move is drawn once an episode."""
    if view not in body.layers:
        window = _window(view, body)
        none = np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros((0, 3), np.uint8)
        draw = _front if view == "front" else _top
        body.layers[view] = _Layer(*none) if window is None else draw(body, *window)
    return body.layers[view]


@cache
def _bordered(spec: ObjectSpec) -> np.ndarray:
    """Relief with a border of nothing, flat, float32."""
    return np.pad(spec.relief, 1).ravel()


@cache
def _bordered_tiles(texture: str) -> tuple[np.ndarray, np.ndarray]:
    top, side = (np.pad(t, ((1, 1), (1, 1), (0, 0)), mode="edge").reshape(-1, 3) for t in texture_tiles(texture))
    return top, side


def _window(view: str, body: Body) -> tuple[slice, slice, np.ndarray, np.ndarray] | None:
    """Rows and columns that may show the body, and x (or x - z) and y at their centres; None outside of the picture."""
    cos, sin = abs(np.cos(body.pose.yaw)), abs(np.sin(body.pose.yaw))
    half_x = (cos * body.size[0] + sin * body.size[1]) / 2
    half_y = (sin * body.size[0] + cos * body.size[1]) / 2
    low, high = body.pose.x - half_x, body.pose.x + half_x
    if view == "front":
        low, high = low - body.top, high - body.z
    pitch, middle = _ROW[view], _MIDDLE[view]
    r0, r1 = max(int(HEIGHT / 2 + (low - middle) / pitch), 0), min(int(HEIGHT / 2 + (high - middle) / pitch) + 1, HEIGHT)
    c0 = max(int(WIDTH / 2 + (body.pose.y - half_y) / _COLUMN), 0)
    c1 = min(int(WIDTH / 2 + (body.pose.y + half_y) / _COLUMN) + 1, WIDTH)
    if r0 >= r1 or c0 >= c1:
        return None
    rows = (np.arange(r0, r1, dtype=np.float32) + np.float32(0.5 - HEIGHT / 2)) * np.float32(pitch) + np.float32(middle)
    columns = (np.arange(c0, c1, dtype=np.float32) + np.float32(0.5 - WIDTH / 2)) * np.float32(_COLUMN)
    return slice(r0, r1), slice(c0, c1), rows, columns


def _texel(body: Body, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texel coordinates of the bordered tiles, floats, of points that lie ``x``, ``y`` from the table's origin."""
    cos, sin = np.float32(np.cos(body.pose.yaw)), np.float32(np.sin(body.pose.yaw))
    x, y = x - np.float32(body.pose.x), y - np.float32(body.pose.y)
    scale_u, scale_v = np.float32(TEXELS / body.size[0]), np.float32(TEXELS / body.size[1])
    half = np.float32(TEXELS / 2 + 1)
    return (cos * x + sin * y) * scale_u + half, (cos * y - sin * x) * scale_v + half


def _index(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Flat index into bordered tiles; points outside fall on the border."""
    i, j = (np.minimum(np.maximum(w, 0), TEXELS + 1).astype(np.int32) for w in (u, v))
    i *= TEXELS + 2
    i += j
    return i


def _top(body: Body, rows: slice, columns: slice, x: np.ndarray, y: np.ndarray) -> _Layer:
    index = _index(*_texel(body, x[:, None], y[None]))
    relief = _bordered(body.spec)[index]
    r, c = np.nonzero(relief > 0)
    z = np.float32(body.z) + relief[r, c] * np.float32(body.size[2])
    return _Layer(_pixels(rows, columns, r, c), z, _bordered_tiles(body.texture)[0][index[r, c]])


def _pixels(rows: slice, columns: slice, r: np.ndarray, c: np.ndarray) -> np.ndarray:
    """``(K,)`` int32 places in the flat picture of places in a window."""
    return ((r + rows.start) * WIDTH + c + columns.start).astype(np.int32)


def _along(levels: np.ndarray, slope: float) -> np.ndarray:
    """Texels ``(levels, 1, 1)`` by which a line of sight moves, of which ``slope`` is the share of z per unit of the tile."""
    return (levels * np.float32(slope * TEXELS))[:, None, None]


def _front(body: Body, rows: slice, columns: slice, x_minus_z: np.ndarray, y: np.ndarray) -> _Layer:
    levels = np.linspace(body.top, body.z, max(2, int(np.ceil(body.size[2] / _LEVEL)) + 1), dtype=np.float32)
    u, v = _texel(body, x_minus_z[:, None], y[None])
    cos, sin = np.cos(body.pose.yaw) / body.size[0], np.sin(body.pose.yaw) / body.size[1]
    index = _index(u + _along(levels, cos), v - _along(levels, sin))  # (levels, rows, columns)
    surface = np.float32(body.z) + _bordered(body.spec)[index] * np.float32(body.size[2])
    entered = (surface >= levels[:, None, None] - np.float32(1e-6)) & (surface > np.float32(body.z))
    first = entered.argmax(0)
    r, c = np.nonzero(entered.any(0))
    at = first[r, c]
    z = levels[at]
    texel, step = index[at, r, c], levels[0] - levels[1]
    above = surface[at, r, c] < z + step - np.float32(1e-6)
    top, side = _bordered_tiles(body.texture)
    walls = (texel + at * (2 * (TEXELS + 3))) % len(side)  # a pattern runs down a wall as it runs along the top
    return _Layer(_pixels(rows, columns, r, c), z, np.where(above[:, None], top[texel], side[walls]))
