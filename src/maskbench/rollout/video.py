"""Films of rollouts: MP4 or GIF files, and several episodes side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskbench.errors import ConfigError


def write_video(frames: Sequence[np.ndarray], path: Path | str, fps: float = 25.0) -> Path:
    """Writes pictures ``(H, W, 3)`` uint8 as ``.mp4`` (H.264; odd sides gain one pixel of their edge) or looping ``.gif``.

    Raises ConfigError where there are no frames, they differ in shape, or the suffix is another one.
    """
    path = Path(path)
    if path.suffix not in (".mp4", ".gif"):
        raise ConfigError(f"a video is .mp4 or .gif; found '{path.name}'")
    if len(frames) == 0:
        raise ConfigError(f"no frames to write to {path}")
    shapes = {np.shape(f) for f in frames}
    if len(shapes) > 1 or len(next(iter(shapes))) != 3:
        raise ConfigError(f"frames of a video must share one shape (H, W, 3); found {sorted(shapes)}")
    import imageio.v2 as imageio

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".part.{path.name}")
    if path.suffix == ".gif":
        imageio.mimwrite(temporary, [np.asarray(f) for f in frames], duration=1000 / fps, loop=0)
    else:
        high, wide = np.shape(frames[0])[:2]
        edge = ((0, high % 2), (0, wide % 2), (0, 0))
        imageio.mimwrite(temporary, [np.pad(f, edge, mode="edge") for f in frames], fps=fps, macro_block_size=2)
    os.replace(temporary, path)
    return path


Film = Sequence[np.ndarray]


def grid(films: Sequence[Film], columns: int | None = None, gap: int = 4, background: int = 255) -> list[np.ndarray]:
    """Episodes side by side: as many frames as the longest film has; those that ended stay on their last frame.

    films:   each a sequence of ``(H, W, 3)`` uint8, of one size within a film; smaller films are centred in their cell.
    columns: cells in a row; None makes the grid nearly square.
    gap:     pixels between and around the cells, in grey level ``background``.
    """
    if len(films) == 0 or any(len(film) == 0 for film in films):
        raise ConfigError("a grid needs at least one film, and films need at least one frame")
    columns = columns or math.ceil(math.sqrt(len(films)))
    columns = min(columns, len(films))
    rows = math.ceil(len(films) / columns)
    high, wide = (max(np.shape(film[0])[axis] for film in films) for axis in (0, 1))
    frames = []
    for step in range(max(len(film) for film in films)):
        canvas = np.full((rows * (high + gap) + gap, columns * (wide + gap) + gap, 3), background, np.uint8)
        for i, film in enumerate(films):
            picture = np.asarray(film[min(step, len(film) - 1)])
            top = gap + (i // columns) * (high + gap) + (high - picture.shape[0]) // 2
            left = gap + (i % columns) * (wide + gap) + (wide - picture.shape[1]) // 2
            canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        frames.append(canvas)
    return frames
