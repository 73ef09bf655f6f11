"""The files of a store that is being written, and what else is kept of its episodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from maskbench.data.checks import Chunk
from maskbench.data.npyfile import GrowingArray, load_array
from maskbench.errors import DataError
from maskbench.trajectory import Episode, TrajectorySpec


class Keeping(Protocol):
    """Files that grow with a store's."""

    def add(self, number: int, episode: Episode) -> None:
        """Keeps what it wants of the next episode."""

    def flush(self) -> None:
        """Hands what was added to the system."""

    def close(self) -> None:
        """Completes the files."""


@dataclass(frozen=True)
class Keep:
    """What else is kept of episodes: in a folder ``<store>.<suffix>``, by what ``begin`` makes of that folder. ``begin`` goes
    on with the files that it finds there."""

    suffix: str
    begin: Callable[[Path], Keeping]

    def beside(self, store: Path) -> Path:
        """Where it lies once the store is complete."""
        return store.with_name(f"{store.name}.{self.suffix}")

    def inside(self, unfinished: Path) -> Path:
        """Where it grows."""
        return unfinished / self.suffix


class StoreFiles:
    """Everything of a store but its card, in ``folder``. Files that are there are gone on with."""

    def __init__(self, folder: Path, spec: TrajectorySpec) -> None:
        self.folder, self.spec = folder, spec
        self._factors = {f.name: GrowingArray(folder / f"{f.name}.npy", f.dtype, f.shape) for f in spec}
        self._ends = GrowingArray(folder / "ends.npy", np.dtype(np.int64))
        self._terminated = GrowingArray(folder / "terminated.npy", np.dtype(np.bool_))
        self._finals = {f.name: self._final(f.name) for f in spec if self._final_path(f.name).exists()}
        self._metas = (folder / "meta.jsonl").open("a", encoding="utf-8")

    @property
    def episodes(self) -> int:
        return self._ends.rows

    @property
    def steps(self) -> int:
        return next(iter(self._factors.values())).rows

    def append(self, chunk: Chunk) -> None:
        """Adds checked episodes. Final values are kept as long as every episode has them."""
        for name in self.spec.names:
            rows = [f[name] for f in chunk.finals if name in f]
            if not self.episodes and rows:
                self._finals[name] = self._final(name)
            if len(rows) == len(chunk.finals) and name in self._finals and self._finals[name].rows == self.episodes:
                self._finals[name].append(np.stack(rows))
        ends = self.steps + np.cumsum(chunk.lengths)
        for name, file in self._factors.items():
            file.append(chunk.values[name])
        self._ends.append(ends)
        self._terminated.append(chunk.terminated)
        self._metas.writelines(map(meta_line, chunk.metas))

    def flush(self) -> None:
        for file in self._arrays():
            file.flush()
        self._metas.flush()

    def close(self) -> None:
        for file in self._arrays():
            file.close()
        self._metas.close()

    def mapped(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The factors, mapped, and the episode ends. The files must be closed."""
        shapes = {f.name: (f.dtype, (self.steps, *f.shape)) for f in self.spec}
        arrays = {n: load_array(self.folder / f"{n}.npy", *s, mmap=True) for n, s in shapes.items()}
        return arrays, load_array(self.folder / "ends.npy", np.dtype(np.int64), (self.episodes,))

    def paths(self) -> list[Path]:
        """The files of the finished store; final values that some episodes lack are no part of it."""
        finals = [n for n, file in self._finals.items() if file.rows == self.episodes]
        names = (*self._factors, *(f"final.{n}" for n in finals), "ends", "terminated")
        return sorted(self.folder / n for n in (*(f"{n}.npy" for n in names), "meta.jsonl"))

    def _arrays(self) -> Iterator[GrowingArray]:
        yield from (*self._factors.values(), *self._finals.values(), self._ends, self._terminated)

    def _final_path(self, name: str) -> Path:
        return self.folder / f"final.{name}.npy"

    def _final(self, name: str) -> GrowingArray:
        factor = self.spec[name]
        return GrowingArray(self._final_path(name), factor.dtype, factor.shape)


def kept(episodes: Iterable[Episode], keeping: Keeping, first: int = 0) -> Iterator[Episode]:
    """The same episodes, of which the first has the number ``first``, kept on the way."""
    for number, episode in enumerate(episodes, first):
        keeping.add(number, episode)
        yield episode


def meta_line(meta: Mapping[str, Any]) -> str:
    """An episode's line of ``meta.jsonl``. Raises DataError for what is no plain value."""
    return json.dumps(dict(meta), sort_keys=True, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    """Numpy values inside an episode's meta data, as JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise DataError(f"episode meta data must be plain values; found {type(value).__name__} {value!r}")
