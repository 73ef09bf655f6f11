"""Objects of a picture as cells: a crop, a box and whether it is seen (VIMA; spec 2.1), all bytes.

An observation of ``n`` object slots in ``V`` views is one cell ``(V, n, OBJECT_BYTES)`` uint8:

    | crop, 3 x 32 x 32 | xc yc h w | seen |

so that stores keep it as one memory-mapped array and masks treat it as one cell. Slots stay the same objects in all views
and at all timesteps; one that is not seen is zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from maskbench.errors import DataError
from maskbench.prompt import PromptImage

#: Side of a crop in pixels.
CROP = 32
CROP_BYTES = 3 * CROP * CROP
OBJECT_BYTES = CROP_BYTES + 4 + 1
#: Cameras, in the order in which their tokens follow each other.
VIEWS = ("front", "top")
#: Objects with fewer pixels than this count as unseen.
LEAST_PIXELS = 2
#: Body id of the first object under suction; one less under the spatula, whose arm has one body fewer (spec 1.1).
FIRST_OBJECT = 5

#: How slots are arranged: ``spawn`` as the benchmark numbers them (which leaks the answer, spec 7.1), ``shuffle`` at random,
#: ``spatial`` from left to right as the first view sees them.
Order = Literal["shuffle", "spawn", "spatial"]


def find_boxes(segm: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges ``(N, n, 4)`` int64 ``ymin, ymax, xmin, xmax`` (inclusive) and ``seen`` ``(N, n)`` of objects in pictures.

    segm: ``(N, H, W)`` object ids. ids: ``(n,)`` or ``(N, n)``; negative ones are never seen.
    """
    n, h, w = segm.shape
    ids = np.broadcast_to(np.asarray(ids, np.int64), (n, np.shape(ids)[-1]))
    found = segm[:, None] == ids[:, :, None, None]  # (N, n, H, W)
    rows, columns = found.any(3), found.any(2)
    seen = (found.sum((2, 3), dtype=np.int32) >= LEAST_PIXELS) & (ids >= 0)
    edges = [rows.argmax(-1), h - 1 - rows[..., ::-1].argmax(-1), columns.argmax(-1), w - 1 - columns[..., ::-1].argmax(-1)]
    return np.stack(edges, -1) * seen[..., None], seen


def crop(rgb: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Crops ``(K, 3, 32, 32)`` uint8 of pictures ``rgb`` ``(K, 3, H, W)``: padded with zeros to a square, the odd row or
    column behind, then averaged by area. ``edges`` ``(K, 4)`` as ``find_boxes`` gives them.

    Weights are the exact overlaps of pixels, what OpenCV's ``INTER_AREA`` computes for shrinking and for enlarging.
    """
    if not len(rgb):
        return np.zeros((0, 3, CROP, CROP), np.uint8)
    top, bottom, left, right = edges.T
    height, width = bottom - top + 1, right - left + 1
    side = np.maximum(height, width)
    reach = np.arange(side.max())
    rows, columns = reach - ((side - height) // 2)[:, None], reach - ((side - width) // 2)[:, None]  # inside the box
    inside_y = (rows >= 0) & (rows < height[:, None])
    inside_x = (columns >= 0) & (columns < width[:, None])
    y, x = np.where(inside_y, rows + top[:, None], 0), np.where(inside_x, columns + left[:, None], 0)
    square = rgb[np.arange(len(rgb))[:, None, None], :, y[:, :, None], x[:, None, :]].astype(np.float32)  # (K, S, S, 3)
    weights = _overlaps(side)
    tall = (weights * inside_y[:, None]) @ square.reshape(len(rgb), len(reach), -1)  # (K, 32, S * 3)
    tall = tall.reshape(len(rgb), CROP, len(reach), 3).swapaxes(1, 2).reshape(len(rgb), len(reach), -1)
    small = (weights * inside_x[:, None]) @ tall  # (K, 32 columns, 32 rows * 3)
    return np.rint(small.reshape(-1, CROP, CROP, 3).transpose(0, 3, 2, 1)).clip(0, 255).astype(np.uint8)


def _overlaps(side: np.ndarray) -> np.ndarray:
    """``(K, 32, S)`` float32: the share of each pixel of a square of ``side`` ``(K,)`` in each pixel of its crop."""
    scale = (side / CROP)[:, None, None]
    low = np.arange(CROP)[:, None] * scale
    pixel = np.arange(side.max())[None, None]
    shared = np.minimum(low + scale, pixel + 1) - np.maximum(low, pixel)
    return (np.clip(shared, 0, None) / scale).astype(np.float32)


def object_cells(rgb: np.ndarray, segm: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """``(N, n, OBJECT_BYTES)`` uint8 of one view: rgb ``(N, 3, H, W)``, segm ``(N, H, W)``, ids as in ``find_boxes``."""
    if rgb.dtype != np.uint8 or rgb.ndim != 4 or rgb.shape[1] != 3 or segm.shape != (len(rgb), *rgb.shape[2:]):
        raise DataError(f"expected rgb (N, 3, H, W) uint8 and segm (N, H, W); found {rgb.dtype} {rgb.shape} and {segm.shape}")
    edges, seen = find_boxes(segm, ids)
    cells = np.zeros((*seen.shape, OBJECT_BYTES), np.uint8)
    frame, slot = np.nonzero(seen)
    corners = edges[frame, slot]
    cells[frame, slot, :CROP_BYTES] = crop(rgb[frame], corners).reshape(len(frame), CROP_BYTES)
    cells[frame, slot, CROP_BYTES:-1] = _boxes(corners)
    cells[frame, slot, -1] = 1
    return cells


def _boxes(edges: np.ndarray) -> np.ndarray:
    """``(K, 4)`` centre, height and width as VIMA counts them: floored, without the last pixel."""
    top, bottom, left, right = edges.T
    return np.stack([(left + right) // 2, (top + bottom) // 2, bottom - top, right - left], -1)


def observation_cells(
    rgb: Mapping[str, np.ndarray], segm: Mapping[str, np.ndarray], effector: np.ndarray, slots: int
) -> np.ndarray:
    """``(N, V, slots, OBJECT_BYTES)`` of workspace pictures, slots in spawn order; the gripper ``effector`` ``(N,)`` says from
    which body id on the bodies are objects."""
    ids = FIRST_OBJECT - np.asarray(effector, np.int64)[:, None] + np.arange(slots)
    return np.stack([object_cells(rgb[v], segm[v], ids) for v in VIEWS], 1)


def prompt_cells(image: PromptImage, legacy_ids: bool = False) -> np.ndarray:
    """``(V, n, OBJECT_BYTES)`` of the objects behind a placeholder.

    legacy_ids: CoGeLoT's rule, all ids but 0 and 1. The single object of an ``object`` picture has id 0, so its whole
                background becomes the crop (spec 7.2).
    """
    ids = [o.id for o in image.objects]
    if legacy_ids:
        present = np.unique(np.concatenate([np.unique(image.segm[v]) for v in VIEWS]))
        ids = [int(i) for i in present if i not in (0, 1)]
    return np.stack([object_cells(image.rgb[v][None], image.segm[v][None], np.array(ids, np.int64))[0] for v in VIEWS])


def compacted(cells: np.ndarray) -> np.ndarray:
    """Seen slots first, view by view, as VIMA stores them: slot ``k`` may then be another object in each view (spec 7.1)."""
    order = np.argsort(cells[..., -1] == 0, axis=-1, kind="stable")
    return np.take_along_axis(cells, order[..., None], -2)


def slot_order(first: np.ndarray, order: Order, random: np.random.Generator) -> np.ndarray:
    """``(n,)`` permutation of the slots of an episode, from the cell ``(V, n, OBJECT_BYTES)`` that it begins with; slots that
    no view shows go to the end, except in spawn order."""
    slots = first.shape[1]
    if order == "spawn":
        return np.arange(slots)
    seen = first[..., -1].any(0)
    if order == "shuffle":
        key = random.random(slots)
    else:
        boxes = first[:, :, CROP_BYTES:-1].astype(np.float64)
        view = first[..., -1].argmax(0)  # the first view that shows it
        key = boxes[view, np.arange(slots), 0]
    arranged: np.ndarray = np.lexsort((np.asarray(key), np.asarray(~seen)))
    return arranged


def unpacked(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops ``(..., 3, 32, 32)``, boxes ``(..., 4)`` and seen ``(...)`` bool of cells ``(..., OBJECT_BYTES)``."""
    crops = cells[..., :CROP_BYTES].reshape(*cells.shape[:-1], 3, CROP, CROP)
    return crops, cells[..., CROP_BYTES:-1], cells[..., -1] > 0


def small_pictures(rgb: Mapping[str, np.ndarray]) -> np.ndarray:
    """``(N, V, 3, 64, 128)`` uint8: pictures at half their size, averaged over 2 x 2 pixels, for models that read patches."""
    return np.stack([_halved(rgb[v]) for v in VIEWS], 1)


def _halved(rgb: np.ndarray) -> np.ndarray:
    n, c, h, w = rgb.shape
    return np.rint(rgb.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))).astype(np.uint8)


def permuted(cells: np.ndarray, order: Sequence[int] | np.ndarray) -> np.ndarray:
    """Slots of cells ``(..., V, n, OBJECT_BYTES)`` in another order, jointly for all views."""
    return cells[..., np.asarray(order), :]
