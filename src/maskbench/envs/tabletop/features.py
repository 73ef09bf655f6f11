"""What any scheme of the workbench can read of a table: numbers per object slot, cells of objects, or small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np

from maskbench.envs.tabletop.objects import catalogue
from maskbench.envs.tabletop.picture import HEIGHT, WIDTH, Frame
from maskbench.envs.tabletop.textures import GRAY, texture_names
from maskbench.objects import OBJECT_BYTES, VIEWS, find_boxes, object_cells, small_pictures
from maskbench.prompt import PromptObject
from maskbench.trajectory import Factor

#: ``features``: one vector a step, for models of numbers. ``objects``: crops and boxes as VIMA reads them. ``pictures``: both
#: views at half size.
Observe = Literal["features", "objects", "pictures"]

_CODE = 8
#: Columns of one slot: per view centre, height and width of the box (parts of the picture) and whether it is seen; then the
#: codes of its shape and of its texture.
SLOT_WIDTH = len(VIEWS) * 5 + 2 * _CODE


def state_factors(observe: Observe, slots: int) -> tuple[Factor, ...]:
    """Factors of an observation. The end effector is the last column of ``features``, and a factor of its own otherwise."""
    if observe == "features":
        parts = tuple((f"slot{i}", i * SLOT_WIDTH, (i + 1) * SLOT_WIDTH) for i in range(slots))
        width = slots * SLOT_WIDTH
        return (Factor("state", "continuous", "state", (width + 1,), parts=(*parts, ("effector", width, width + 1))),)
    effector = Factor("ee", "discrete", "state", classes=2)
    if observe == "objects":
        return Factor("objects", "objects", "state", (len(VIEWS), slots, OBJECT_BYTES)), effector
    return Factor("pictures", "image", "state", (len(VIEWS), 3, HEIGHT // 2, WIDTH // 2)), effector


def observe_factors(
    observe: Observe, frame: Frame, objects: Sequence[PromptObject], ee: int, slots: int
) -> dict[str, np.ndarray]:
    """Values of ``state_factors``; slots beyond the objects are zero."""
    if observe == "features":
        return {"state": np.append(_features(frame, objects, slots), np.float32(ee))}
    ids = np.full(slots, -1)
    ids[: len(objects)] = [o.id for o in objects]
    if observe == "objects":
        cells = np.stack([object_cells(frame.rgb[v][None], frame.segm[v][None], ids)[0] for v in VIEWS])
        return {"objects": cells, "ee": np.array(ee)}
    return {"pictures": small_pictures({v: frame.rgb[v][None] for v in VIEWS})[0], "ee": np.array(ee)}


def _features(frame: Frame, objects: Sequence[PromptObject], slots: int) -> np.ndarray:
    """``(slots * SLOT_WIDTH,)`` float32."""
    rows = np.zeros((slots, SLOT_WIDTH), np.float32)
    ids = np.array([o.id for o in objects])
    edges, seen = find_boxes(np.stack([frame.segm[v] for v in VIEWS]), ids)  # (views, objects, 4), (views, objects)
    top, bottom, left, right = np.moveaxis(edges, -1, 0).astype(np.float32)
    boxes = np.stack(
        [(left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT, (bottom - top) / HEIGHT, (right - left) / WIDTH, seen], -1
    )
    rows[: len(objects), : len(VIEWS) * 5] = boxes.swapaxes(0, 1).reshape(len(objects), -1)
    shapes, textures = _codes()
    rows[: len(objects), len(VIEWS) * 5 :] = [np.append(shapes[o.name], textures[o.texture]) for o in objects]
    return rows.ravel()


@cache
def _codes() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A fixed code of random signs per shape and per texture: names as numbers, in few columns."""
    rng = np.random.default_rng(0)
    tables = []
    for names in (tuple(catalogue()), (*texture_names(), GRAY)):
        codes = rng.permutation(2**_CODE)[: len(names), None] >> np.arange(_CODE) & 1
        tables.append(dict(zip(names, (2 * codes - 1).astype(np.float32), strict=True)))
    return tables[0], tables[1]
