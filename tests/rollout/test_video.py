from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from maskbench.errors import ConfigError
from maskbench.rollout.video import grid, write_video


def film(length: int, grey: int, size: tuple[int, int] = (21, 33)) -> list[np.ndarray]:
    return [np.full((*size, 3), grey + t, np.uint8) for t in range(length)]


def test_mp4_has_every_frame_and_even_sides(tmp_path: Path) -> None:
    path = write_video(film(7, 100), tmp_path / "films" / "a.mp4", fps=10)
    frames = imageio.imread(path, plugin="FFMPEG")
    assert frames.shape == (7, 22, 34, 3)
    assert abs(float(frames[3].mean()) - 103) < 4


def test_gif_loops_through_every_frame(tmp_path: Path) -> None:
    path = write_video(film(5, 10), tmp_path / "a.gif", fps=20)
    frames = imageio.imread(path)
    assert frames.shape[:3] == (5, 21, 33)
    assert b"NETSCAPE2.0" in path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]


def test_grid_freezes_the_last_frame_of_films_that_ended() -> None:
    frames = grid([film(2, 10), film(4, 50), film(3, 90)], gap=4)
    assert len(frames) == 4
    assert frames[0].shape == (2 * 21 + 3 * 4, 2 * 33 + 3 * 4, 3)
    assert [int(f[10, 10, 0]) for f in frames] == [10, 11, 11, 11]
    assert [int(f[10, 50, 0]) for f in frames] == [50, 51, 52, 53]
    assert int(frames[0][40, 50, 0]) == 255  # no fourth film


def test_grid_centres_smaller_films() -> None:
    (frame,) = grid([film(1, 0, (4, 4)), film(1, 0, (8, 8))], columns=2, gap=0)
    assert frame[:, :8, 0].tolist() == np.pad(np.zeros((4, 4)), 2, constant_values=255).tolist()


def test_mistakes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mp4 or"):
        write_video(film(1, 0), tmp_path / "a.avi")
    with pytest.raises(ConfigError, match="no frames"):
        write_video([], tmp_path / "a.gif")
    with pytest.raises(ConfigError, match="share one shape"):
        write_video([*film(1, 0), *film(1, 0, (2, 2))], tmp_path / "a.gif")
