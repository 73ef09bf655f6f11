import numpy as np
import pytest

from maskbench.envs.raster import Canvas

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def ink(canvas: Canvas) -> float:
    """Painted share of a white picture."""
    return float(1 - canvas.image().mean() / 255)


@pytest.mark.parametrize("size", [50, 160])
def test_shapes_cover_their_area_at_any_resolution(size: int) -> None:
    disc, box, line, ring = (Canvas(size, (0, 0), 10, WHITE) for _ in range(4))
    disc.disc(5, 5, 3, BLACK)
    box.box(1, 2, 4, 8, BLACK)
    line.line([(2, 5), (8, 5), (8, 8)], 1, BLACK)
    ring.ring(5, 5, 3, 1, BLACK)
    assert ink(disc) == pytest.approx(np.pi * 9 / 100, rel=0.01)
    assert ink(box) == pytest.approx(18 / 100, rel=0.01)
    assert ink(line) == pytest.approx((6 + 3 + np.pi / 4) / 100, rel=0.03)
    assert ink(ring) == pytest.approx(2 * np.pi * 3 / 100, rel=0.01)


def test_y_grows_downwards_unless_flipped() -> None:
    down, up = Canvas(20, (0, 0), 10, WHITE), Canvas(20, (0, 0), 10, WHITE, flip=True)
    for canvas in (down, up):
        canvas.box(0, 0, 10, 2, BLACK)
    assert down.image()[0].max() == 0
    assert down.image()[-1].min() == 255
    np.testing.assert_array_equal(down.image()[::-1], up.image())


def test_opacity_mixes_with_what_lies_below() -> None:
    canvas = Canvas(8, (0, 0), 8, WHITE)
    canvas.box(-1, -1, 9, 9, (55, 155, 255), opacity=0.5)
    assert canvas.image()[4, 4].tolist() == [155, 205, 255]


@pytest.mark.parametrize("angle", [0.0, 0.5, np.pi / 2, -2.0])
def test_squares_keep_their_area_and_turn_with_their_angle(angle: float) -> None:
    canvas = Canvas(160, (0, 0), 10, WHITE)
    canvas.square(5, 5, 4, angle, BLACK)
    assert ink(canvas) == pytest.approx(16 / 100, rel=0.01)
    x, y = 5 + 2.5 * np.cos(angle + np.pi / 4), 5 + 2.5 * np.sin(angle + np.pi / 4)
    assert canvas.image()[int(16 * y), int(16 * x)].max() == 0
    x, y = 5 + 2.5 * np.cos(angle), 5 + 2.5 * np.sin(angle)
    assert canvas.image()[int(16 * y), int(16 * x)].min() == 255
