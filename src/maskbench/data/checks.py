"""Every episode that enters a store passes here: shapes, types, classes and finiteness, checked before anything is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskbench.errors import DataError, did_you_mean
from maskbench.trajectory import Episode, Factor, TrajectorySpec

_CHUNK_BYTES = 1 << 25


@dataclass(frozen=True)
class Chunk:
    """Some consecutive episodes, checked and in storage types.

    values:     per factor ``(sum of lengths, *shape)``.
    lengths:    ``(E,)`` int64.
    finals:     per episode the state factors after its last action; may be empty.
    terminated: ``(E,)`` bool.
    metas:      per episode.
    """

    values: dict[str, np.ndarray]
    lengths: np.ndarray
    finals: list[dict[str, np.ndarray]]
    terminated: np.ndarray
    metas: list[Mapping[str, Any]]


def checked_chunks(
    spec: TrajectorySpec,
    episodes: Iterable[Episode],
    chunk_bytes: int = _CHUNK_BYTES,
    first: int = 0,
    seconds: float = math.inf,
) -> Iterator[Chunk]:
    """Groups episodes, of which the first has the number ``first``, into chunks of about ``chunk_bytes``, or of those that
    arrive within so many ``seconds``, and checks them.

    Values are copied, so a generator may reuse its arrays. Raises ``DataError`` naming episode, factor and row of a missing or
    unknown factor, a wrong shape, a type that does not cast to the factor's, a NaN, an infinity or a class out of range.
    """
    waiting: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray], Episode]] = []
    size, count, begun = 0, first, time.monotonic()
    for index, episode in enumerate(episodes, first):
        values, final = _checked_shapes(spec, index, episode)
        waiting.append((values, final, episode))
        size, count = size + sum(v.nbytes for v in values.values()), index + 1
        if size >= chunk_bytes or time.monotonic() - begun >= seconds:
            yield _chunk(spec, waiting, count - len(waiting))
            waiting, size, begun = [], 0, time.monotonic()
    if waiting:
        yield _chunk(spec, waiting, count - len(waiting))
    if count == 0:
        raise DataError("a store needs at least one episode; found none")


def check_values(factor: Factor, array: np.ndarray, ends: np.ndarray, first_episode: int = 0) -> None:
    """Raises ``DataError`` naming factor, episode and row of the first NaN, infinity or class out of range.

    array: ``(N, *shape)``; ends: cumulative episode ends inside it, the first of which ends episode ``first_episode``.
    """
    if factor.kind == "discrete":
        assert factor.classes is not None
        good = (array >= 0) & (array < factor.classes)
        expected = f"a class in 0..{factor.classes - 1}"
    else:
        good = np.isfinite(array)
        expected = "a finite number"
    if good.all():
        return
    row = int(np.flatnonzero(~good.reshape(len(array), -1).all(1))[0])
    episode = int(np.searchsorted(ends, row, side="right"))
    begin = int(ends[episode - 1]) if episode else 0
    found = array[row][~good[row]].ravel()[0] if factor.shape else array[row]
    raise DataError(
        f"factor '{factor.name}', episode {first_episode + episode}, row {row - begin}: found {found}, expected {expected}. "
        "Drop or repair that episode."
    )


def _checked_shapes(spec: TrajectorySpec, index: int, episode: Episode) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    for name in episode.values:
        if name not in spec:
            raise DataError(
                f"episode {index} has a factor '{name}' that is not in the specification. {did_you_mean(name, spec.names)}"
            )
    missing = [n for n in spec.names if n not in episode.values]
    if missing:
        raise DataError(f"episode {index} lacks the factors {missing}; found {list(episode.values)}")
    length = len(episode)
    if length == 0:
        raise DataError(f"episode {index} is empty; drop it")
    values = {f.name: _cast(f, episode.values[f.name], (length, *f.shape), f"episode {index}") for f in spec}
    final = {n: _cast(spec[n], v, spec[n].shape, f"final state of episode {index}") for n, v in episode.final.items()}
    return values, final


def _cast(factor: Factor, value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    array = np.asarray(value)
    if array.shape != shape:
        raise DataError(f"{where}, factor '{factor.name}': found shape {array.shape}, expected {shape}")
    if not np.can_cast(array.dtype, factor.dtype, "same_kind"):
        raise DataError(f"{where}, factor '{factor.name}': found dtype {array.dtype}, which does not cast to {factor.dtype}")
    with np.errstate(over="ignore"):  # an overflow becomes an infinity, which check_values reports with its row
        return array.astype(factor.dtype)


def _chunk(
    spec: TrajectorySpec, waiting: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray], Episode]], first: int
) -> Chunk:
    lengths = np.array([len(e) for _, _, e in waiting], np.int64)
    ends = np.cumsum(lengths)
    values = {n: np.concatenate([v[n] for v, _, _ in waiting]) for n in spec.names}
    for factor in spec:
        check_values(factor, values[factor.name], ends, first)
    for index, (_, final, _) in enumerate(waiting, first):
        for name, value in final.items():
            check_values(spec[name], value[None], np.array([1]), index)
    return Chunk(
        values=values,
        lengths=lengths,
        finals=[final for _, final, _ in waiting],
        terminated=np.array([e.terminated for _, _, e in waiting], bool),
        metas=[e.meta for _, _, e in waiting],
    )
