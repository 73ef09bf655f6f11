"""Episodes on disk or in memory: one array a factor, concatenated over time.

<store>/state.npy            (N, *shape)   one file per factor
        final.state.npy      (E, *shape)   the state after each episode's last action, where every episode has it
        ends.npy             (E,) int64    row after each episode's last one
        terminated.npy       (E,) bool
        meta.jsonl                         one JSON object per episode
        card.json                          specification, statistics, provenance, hashes
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from maskbench.data.card import Card, Origin, package_versions
from maskbench.data.checks import check_values, checked_chunks
from maskbench.data.growing import Keep, StoreFiles, kept, meta_line
from maskbench.data.npyfile import hash_array, hash_file, load_array
from maskbench.data.shards import SHARD_SECONDS, Shards, alone, replace_folder
from maskbench.data.statistics import factor_statistics, return_statistics
from maskbench.errors import DataError, did_you_mean
from maskbench.trajectory import Episode, Factor, TrajectorySpec

Place = Literal["auto", "ram", "mmap"]

#: Stores up to this size are read into memory by ``place="auto"``; larger ones are memory-mapped.
AUTO_RAM_BYTES = 4 << 30


@dataclass(frozen=True, eq=False)
class EpisodeStore:
    """``E`` episodes of ``N`` steps in total.

    arrays:     per factor ``(N, *shape)`` of the factor's storage type.
    finals:     per state factor ``(E, *shape)``, where every episode recorded the state after its last action.
    ends:       ``(E,)`` int64 cumulative episode ends.
    terminated: ``(E,)`` bool.
    metas:      one mapping per episode.
    card:       describes the recorded data; factors added with ``with_factor`` do not change it.
    place:      ``ram`` or ``mmap``.
    """

    spec: TrajectorySpec
    arrays: Mapping[str, np.ndarray]
    finals: Mapping[str, np.ndarray]
    ends: np.ndarray
    terminated: np.ndarray
    metas: Sequence[Mapping[str, Any]]
    card: Card
    path: Path | None = None
    place: Place = "ram"

    @classmethod
    def from_episodes(cls, spec: TrajectorySpec, episodes: Iterable[Episode], name: str = "memory") -> EpisodeStore:
        """A store in memory. Raises ``DataError`` for the same mistakes as ``write_store``."""
        pieces = list(checked_chunks(spec, episodes))
        arrays = {n: np.concatenate([p.values[n] for p in pieces]) for n in spec.names}
        finals = _stack_finals(spec, [f for p in pieces for f in p.finals])
        ends = np.cumsum(np.concatenate([p.lengths for p in pieces]))
        terminated = np.concatenate([p.terminated for p in pieces])
        metas = [dict(m) for p in pieces for m in p.metas]
        files = arrays | {f"final.{n}": a for n, a in finals.items()} | {"ends": ends, "terminated": terminated}
        hashes = {f"{n}.npy": hash_array(a) for n, a in files.items()}
        hashes["meta.jsonl"] = hashlib.sha256("".join(map(meta_line, metas)).encode()).hexdigest()
        card = _card(spec, arrays, ends, hashes, name=name, env="", origin="imported", command="", licence="", provenance="")
        return cls(spec, arrays, finals, ends, terminated, metas, card)

    @classmethod
    def open(cls, path: str | Path, place: Place = "auto") -> EpisodeStore:
        """Reads a store, checking every file's type and shape against the card.

        place: ``ram`` reads it whole, ``mmap`` maps it, ``auto`` maps what is larger than ``AUTO_RAM_BYTES``.
        Raises ``DataError`` naming the file, what was found, what was expected and the fix.
        """
        path = Path(path)
        card = _read_card(path / "card.json")
        episodes, spec = card.episodes, card.spec
        if place == "auto":
            place = "ram" if sum(f.stat().st_size for f in path.glob("*.npy")) <= AUTO_RAM_BYTES else "mmap"

        def read(name: str, factor: Factor, rows: int) -> np.ndarray:
            return load_array(path / f"{name}.npy", factor.dtype, (rows, *factor.shape), mmap=place == "mmap")

        ends = load_array(path / "ends.npy", np.dtype(np.int64), (episodes,))
        if np.diff(ends, prepend=0).min() < 1 or ends[-1] != card.steps:
            raise DataError(f"{path / 'ends.npy'} must increase and end at {card.steps}; it ends at {ends[-1]}. Make it again.")
        arrays = {f.name: read(f.name, f, card.steps) for f in spec}
        finals = {f.name: read(f"final.{f.name}", f, episodes) for f in spec if f"final.{f.name}.npy" in card.hashes}
        terminated = load_array(path / "terminated.npy", np.dtype(np.bool_), (episodes,))
        metas = _read_metas(path / "meta.jsonl", episodes)
        return cls(spec, arrays, finals, ends, terminated, metas, card, path, place)

    @property
    def num_episodes(self) -> int:
        return len(self.ends)

    @property
    def num_steps(self) -> int:
        return int(self.ends[-1])

    @property
    def lengths(self) -> np.ndarray:
        """``(E,)`` int64 actions per episode."""
        return np.diff(self.ends, prepend=0)

    def rows(self, episodes: Sequence[int] | np.ndarray) -> np.ndarray:
        """``(n,)`` int64 row indices of these episodes, one after the other."""
        chosen = np.asarray(episodes, np.int64)
        if ((chosen < 0) | (chosen >= self.num_episodes)).any():
            raise DataError(f"'{self.card.name}' has episodes 0..{self.num_episodes - 1}; found {chosen.min()}..{chosen.max()}")
        lengths = self.lengths[chosen]
        ends = np.cumsum(lengths)
        shift: np.ndarray = np.repeat(self.ends[chosen] - ends, lengths)
        return shift + np.arange(len(shift))

    def array(self, name: str) -> np.ndarray:
        """``(N, *shape)`` of one factor."""
        return self.arrays[self.spec[name].name]

    def final(self, name: str) -> np.ndarray:
        """``(E, *shape)`` state after the last action. Raises ``DataError`` where the episodes did not record it."""
        if self.spec[name].name not in self.finals:
            raise DataError(f"'{self.card.name}' has no final values of '{name}'; it has them for {list(self.finals)}")
        return self.finals[name]

    def meta(self, index: int) -> Mapping[str, Any]:
        return self.metas[index]

    def episode(self, index: int) -> Episode:
        """One episode; its arrays are views of the store's."""
        if not 0 <= index < self.num_episodes:
            raise DataError(f"'{self.card.name}' has episodes 0..{self.num_episodes - 1}; found {index}")
        rows = slice(int(self.ends[index - 1]) if index else 0, int(self.ends[index]))
        return Episode(
            values={n: a[rows] for n, a in self.arrays.items()},
            final={n: a[index] for n, a in self.finals.items()},
            terminated=bool(self.terminated[index]),
            meta=self.metas[index],
        )

    def with_factor(self, factor: Factor, array: np.ndarray) -> EpisodeStore:
        """The same episodes with one more factor, held in memory; ``array`` is ``(N, *factor.shape)``."""
        expected = (self.num_steps, *factor.shape)
        if array.shape != expected or array.dtype != factor.dtype:
            raise DataError(f"factor '{factor.name}' needs {factor.dtype} {expected}; found {array.dtype} {array.shape}")
        check_values(factor, array, self.ends)
        spec = TrajectorySpec((*self.spec.factors, factor))
        return replace(self, spec=spec, arrays={**self.arrays, factor.name: array})

    def verify(self) -> None:
        """Hashes every file again and scans all values. Raises ``DataError`` naming the changed file, or the factor, episode
        and row of a NaN, an infinity or a class out of range."""
        if self.path is not None:
            for name, expected in self.card.hashes.items():
                if (found := hash_file(self.path / name)) != expected:
                    raise DataError(
                        f"{self.path / name} was changed after it was written: its sha256 is {found}, the card says {expected}."
                        " Delete the store and make it again."
                    )
        for name, array in self.arrays.items():
            check_values(self.spec[name], array, self.ends)
        for name, array in self.finals.items():
            check_values(self.spec[name], array, np.arange(1, self.num_episodes + 1))


def write_store(
    path: str | Path,
    spec: TrajectorySpec,
    episodes: Iterable[Episode],
    *,
    name: str,
    env: str,
    origin: Origin,
    command: str = "",
    licence: str = "",
    provenance: str = "",
    versions: Mapping[str, str] | None = None,
    keep_existing: bool = False,
    keep: Keep | None = None,
    place: Place = "auto",
) -> EpisodeStore:
    """Streams episodes into a new store at ``path`` and opens it.

    Everything is written beside ``path`` and renamed when complete: an interruption leaves nothing at ``path``. Memory holds
    some 30 MB of episodes at a time. The remaining arguments go to the card.

    keep_existing: where another process has finished the same store meanwhile, open that one and discard ours.
    keep:          what else is kept of the episodes.
    Raises ``DataError`` where ``path`` exists, or naming episode, factor and row of what may not enter a store.
    """
    path = Path(path)
    if path.exists() and not keep_existing:
        raise DataError(f"{path} already exists. Delete it or choose another path.")
    _check_names(spec)
    about = {"name": name, "env": env, "origin": origin, "command": command, "licence": licence, "provenance": provenance}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}.unfinished-", dir=path.parent))
    try:
        files = _fill(unfinished, spec, episodes, keep)
        _publish(files, path, keep, keep_existing, versions=versions or package_versions(), **about)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return EpisodeStore.open(path, place)


def grow_store(
    path: str | Path,
    spec: TrajectorySpec,
    episodes: int,
    make: Callable[[int], Iterable[Episode]],
    *,
    versions: Mapping[str, str],
    keep: Keep | None = None,
    place: Place = "auto",
    console: Console | None = None,
    seconds: float = SHARD_SECONDS,
    **about: Any,
) -> EpisodeStore:
    """A store of so many episodes, made shard by shard (``data.shards``), opened where it is there already.

    make:    the episodes from a number on; they do not depend on where it begins.
    seconds: in which a shard comes together: what an interruption costs at most.
    about:   ``name, env, origin, command, licence, provenance`` of the card.

    A later call goes on where an interrupted one stopped, also if that was killed, and ends in the same bytes. Of several
    processes one makes the store, the others wait for it. Raises ``DataError`` as ``write_store`` does.
    """
    path, console = Path(path), console or Console(stderr=True)
    _check_names(spec)
    with alone(path, console) as unfinished:
        if unfinished is not None:
            if keep is not None and keep.beside(path).exists() and not keep.inside(unfinished).exists():
                keep.beside(path).rename(keep.inside(unfinished))  # interrupted between the two last renames
            shards = Shards(unfinished, versions)
            first = shards.recover(console)
            if first:
                console.print(f"going on with {path.name}: {first} of {episodes} episodes are there", soft_wrap=True)
            missing = make(first) if first < episodes or not first else None
            files = _fill(unfinished, spec, missing, keep, shards, first, seconds)
            _publish(files, path, keep, False, versions=versions, **about)
    return EpisodeStore.open(path, place)


def _check_names(spec: TrajectorySpec) -> None:
    if reserved := {"ends", "terminated"} & set(spec.names):
        raise DataError(f"a store keeps its own {sorted(reserved)}; rename these factors")


def _fill(
    folder: Path,
    spec: TrajectorySpec,
    episodes: Iterable[Episode] | None,
    keep: Keep | None,
    shards: Shards | None = None,
    first: int = 0,
    seconds: float = math.inf,
) -> StoreFiles:
    """Writes everything but the card, from episode ``first`` on, and closes it; None where nothing is left to write."""
    with ExitStack() as stack:
        files = stack.enter_context(closing(StoreFiles(folder, spec)))
        keeping = None if keep is None else stack.enter_context(closing(keep.begin(keep.inside(folder))))
        if episodes is None:
            return files
        passing = episodes if keeping is None else kept(episodes, keeping, first)
        for chunk in checked_chunks(spec, passing, first=first, seconds=seconds):
            files.append(chunk)
            if shards is not None:
                files.flush()
                if keeping is not None:
                    keeping.flush()
                shards.note(files.episodes)
    return files


def _publish(files: StoreFiles, path: Path, keep: Keep | None, keep_existing: bool, **about: Any) -> None:
    """Describes a complete folder and renames it; what else is kept moves first, so that a store that is there has it."""
    hashes = {f.name: hash_file(f) for f in files.paths()}
    arrays, ends = files.mapped()
    card = _card(files.spec, arrays, ends, hashes, **about)
    if keep_existing and path.exists():
        return
    if keep is not None:
        replace_folder(keep.inside(files.folder), keep.beside(path))
    (files.folder / "card.json").write_text(json.dumps(card.to_json(), indent=1) + "\n")
    files.folder.chmod(0o755)
    if _rename(files.folder, path, keep_existing):
        for left in set(path.iterdir()) - {path / name for name in (*hashes, "card.json")}:
            left.unlink()


def _rename(source: Path, target: Path, keep_existing: bool) -> bool:
    """Whether it was this folder that became ``target``."""
    try:
        source.rename(target)
        return True
    except OSError as error:
        if not target.exists():
            raise
        if not keep_existing:
            raise DataError(f"{target} was made by another process meanwhile. Delete it or choose another path.") from error
        return False


def _stack_finals(spec: TrajectorySpec, finals: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {n: np.stack([f[n] for f in finals]) for n in spec.names if all(n in f for f in finals)}


def _card(
    spec: TrajectorySpec, arrays: Mapping[str, np.ndarray], ends: np.ndarray, hashes: Mapping[str, str], **about: Any
) -> Card:
    rewards = spec.with_role("reward")
    return Card(
        spec=spec,
        episodes=len(ends),
        steps=int(ends[-1]),
        statistics={f.name: factor_statistics(f, arrays[f.name]) for f in spec},
        returns=return_statistics(rewards[0], arrays[rewards[0].name], ends) if rewards else None,
        hashes=hashes,
        **about,
    )


def _read_card(path: Path) -> Card:
    if not path.is_file():
        parent = path.parent
        near = (
            did_you_mean(parent.name, [p.name for p in parent.parent.iterdir() if p.is_dir()]) if parent.parent.is_dir() else ""
        )
        raise DataError(f"{parent} is no store: it has no card.json. {near}".rstrip())
    try:
        return Card.from_json(json.loads(path.read_text()))
    except (json.JSONDecodeError, DataError) as error:
        raise DataError(f"{path} is unreadable: {error}. Delete the store and make it again.") from error


def _read_metas(path: Path, episodes: int) -> list[Mapping[str, Any]]:
    if not path.is_file():
        raise DataError(f"{path} is missing; expected {episodes} lines. Delete the store and make it again.")
    try:
        metas = [json.loads(line) for line in path.read_text().splitlines()]
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is no JSON lines file: {error}. Delete the store and make it again.") from error
    if len(metas) != episodes:
        raise DataError(f"{path} has {len(metas)} lines; expected {episodes}. Delete the store and make it again.")
    return metas
