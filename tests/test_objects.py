"""Boxes and crops of objects (VIMA spec 2.1)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskbench.errors import DataError
from maskbench.objects import (
    CROP,
    OBJECT_BYTES,
    compacted,
    crop,
    find_boxes,
    object_cells,
    observation_cells,
    permuted,
    prompt_cells,
    slot_order,
    small_pictures,
    unpacked,
)
from maskbench.prompt import PromptImage, PromptObject


def picture(*boxes: tuple[int, int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """rgb ``(1, 3, 128, 256)`` of noise and segm ``(1, 128, 256)`` with filled rectangles ``id, ymin, ymax, xmin, xmax``."""
    rgb = np.random.default_rng(0).integers(0, 256, (1, 3, 128, 256), dtype=np.uint8)
    segm = np.zeros((1, 128, 256), np.uint8)
    for id, top, bottom, left, right in boxes:
        segm[0, top : bottom + 1, left : right + 1] = id
    return rgb, segm


def by_loop(rgb: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """The published steps, one after the other: cut, pad to a square, average areas."""
    cut = rgb[:, top : bottom + 1, left : right + 1].astype(np.float64)
    h, w = cut.shape[1:]
    gap = abs(h - w)
    before, after = gap // 2, gap - gap // 2
    cut = np.pad(cut, ((0, 0), (0, 0), (before, after)) if h > w else ((0, 0), (before, after), (0, 0)))
    side = cut.shape[1]
    out = np.zeros((3, CROP, CROP))
    for i in range(CROP):
        for j in range(CROP):
            a, b, c, d = i * side / CROP, (i + 1) * side / CROP, j * side / CROP, (j + 1) * side / CROP
            for y in range(int(a), min(side, int(np.ceil(b)))):
                for x in range(int(c), min(side, int(np.ceil(d)))):
                    share = (min(b, y + 1) - max(a, y)) * (min(d, x + 1) - max(c, x)) / (side / CROP) ** 2
                    out[:, i, j] += cut[:, y, x] * share
    return out


def test_boxes_are_floored_centres_and_sizes_without_the_last_pixel():
    rgb, segm = picture((5, 10, 20, 30, 47))
    _, boxes, seen = unpacked(object_cells(rgb, segm, np.array([5, 6])))
    assert boxes[0, 0].tolist() == [38, 15, 10, 17]
    assert seen.tolist() == [[True, False]]
    assert not boxes[0, 1].any()


@pytest.mark.parametrize("box", [(10, 20, 30, 47), (0, 127, 0, 255), (5, 5, 9, 10), (40, 103, 60, 75), (0, 6, 250, 255)])
def test_crops_are_those_of_the_published_loop(box):
    rgb, _ = picture()
    found = crop(rgb, np.array([box]))[0].astype(np.float64)
    assert np.abs(found - by_loop(rgb[0], *box)).max() <= 0.5 + 1e-3


def test_crops_do_not_depend_on_those_beside_them():
    rgb, _ = picture()
    boxes = np.array([(10, 20, 30, 47), (0, 127, 0, 255), (3, 9, 2, 4)])
    together = crop(rgb.repeat(3, 0), boxes)
    for i in range(3):
        assert np.abs(together[i].astype(int) - crop(rgb, boxes[i : i + 1])[0].astype(int)).max() <= 1


def test_a_single_pixel_is_not_seen():
    rgb, segm = picture((5, 10, 10, 30, 30), (6, 50, 50, 30, 31))
    assert unpacked(object_cells(rgb, segm, np.array([5, 6, -1])))[2].tolist() == [[False, True, False]]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 100), st.integers(1, 27), st.integers(0, 200), st.integers(1, 55))
def test_boxes_hold_their_pixels(top, height, left, width):
    _, segm = picture((7, top, top + height, left, left + width))
    edges, seen = find_boxes(segm, np.array([7]))
    assert seen.all()
    assert edges[0, 0].tolist() == [top, top + height, left, left + width]


def test_body_ids_of_objects_begin_earlier_under_the_spatula():
    rgb, segm = picture((4, 0, 9, 0, 9), (5, 20, 29, 0, 9))
    views = {"front": rgb, "top": rgb}
    ids = {"front": segm, "top": segm}
    assert unpacked(observation_cells(views, ids, np.array([0]), 2))[1][0, 0, 0].tolist() == [4, 24, 9, 9]
    assert unpacked(observation_cells(views, ids, np.array([1]), 2))[1][0, 0, 0].tolist() == [4, 4, 9, 9]


def prompt_image() -> PromptImage:
    rgb, segm = picture()
    segm[:] = 255
    segm[0, 66:89, 117:140] = 0
    views = ("front", "top")
    return PromptImage("object", {v: rgb[0] for v in views}, {v: segm[0] for v in views}, (PromptObject(0, "block", "red"),))


def test_the_object_of_a_prompt_has_id_zero_unless_the_published_mistake_is_asked_for():
    assert unpacked(prompt_cells(prompt_image()))[1].tolist() == [[[128, 77, 22, 22]]] * 2
    assert unpacked(prompt_cells(prompt_image(), legacy_ids=True))[1].tolist() == [[[127, 63, 127, 255]]] * 2


def test_slots_can_be_arranged_and_come_back():
    rgb, segm = picture((5, 0, 9, 200, 209), (6, 20, 29, 100, 109), (7, 40, 49, 10, 19))
    cells = observation_cells({"front": rgb, "top": rgb}, {"front": segm, "top": segm}, np.array([0]), 4)
    random = np.random.default_rng(0)
    assert slot_order(cells[0], "spawn", random).tolist() == [0, 1, 2, 3]
    assert slot_order(cells[0], "spatial", random).tolist() == [2, 1, 0, 3]
    shuffled = {tuple(slot_order(cells[0], "shuffle", random)) for _ in range(50)}
    assert len(shuffled) == 6  # all orders of the three that are seen
    assert {o[-1] for o in shuffled} == {3}
    order = np.array([2, 0, 3, 1])
    assert np.array_equal(permuted(permuted(cells, order), np.argsort(order)), cells)


def test_compaction_moves_seen_slots_to_the_front_of_each_view():
    cells = np.zeros((1, 2, 3, OBJECT_BYTES), np.uint8)
    cells[0, 0, 1, -1] = cells[0, 0, 2, -1] = cells[0, 1, 2, -1] = 1
    cells[0, :, :, 0] = [[9, 1, 2], [9, 9, 2]]
    assert compacted(cells)[0, :, :, 0].tolist() == [[1, 2, 9], [2, 9, 9]]


def test_small_pictures_average_two_by_two():
    rgb, _ = picture()
    small = small_pictures({"front": rgb, "top": rgb})
    assert small.shape == (1, 2, 3, 64, 128)
    assert abs(int(small[0, 0, 1, 3, 5]) - rgb[0, 1, 6:8, 10:12].mean()) <= 0.5


def test_pictures_of_another_type_are_refused():
    rgb, segm = picture()
    with pytest.raises(DataError, match="uint8"):
        object_cells(rgb.astype(np.float32), segm, np.array([5]))
