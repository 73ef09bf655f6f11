"""Generating that survives its interruption.

Episodes are appended to the files of an unfinished store. Each time a shard of them is complete, a line of a journal says how
long every file then is and which bytes the shard added. Whoever comes after an interruption checks the shards, cuts the files
to the last whole one and goes on: at most the shard in progress is played again.

<store's parent>/.<store>.unfinished/shards.jsonl   {"versions": ...}, then a shard a line: {"episodes": 400, "files": ...}
                                     lock           held by the process at work
                                     ...            the growing files
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from maskbench.data.npyfile import data_begin

#: A shard is what comes together in so many seconds, 32 MB at most.
SHARD_SECONDS = 10.0
_JOURNAL, _LOCK = "shards.jsonl", "lock"
_BLOCK = 1 << 20


def unfinished_folder(store: Path) -> Path:
    """Where a store grows."""
    return store.with_name(f".{store.name}.unfinished")


@contextmanager
def alone(store: Path, console: Console) -> Iterator[Path | None]:
    """The folder in which ``store`` grows, held against other processes; None once another one has completed the store.

    Waits for a process that is at work on it, and takes over where that one dies.
    """
    import fcntl

    folder = unfinished_folder(store)
    while not store.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                console.print(f"another process is making {store.name}; waiting for it", soft_wrap=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _still(lock.fileno(), folder / _LOCK):
                yield folder
                return
    yield None


class Shards:
    """The journal of an unfinished store.

    versions: packages that shape the episodes; shards that others made are not gone on with.
    """

    def __init__(self, folder: Path, versions: Mapping[str, str]) -> None:
        self.folder, self.versions = folder, dict(versions)
        self._sizes: dict[str, int] = {}

    def recover(self, console: Console) -> int:
        """Episodes in the whole shards; files are cut to what these hold, and all others are removed."""
        lines = _lines(self.folder / _JOURNAL)
        whole: list[dict[str, Any]] = []
        if lines and lines[0] == {"versions": self.versions}:
            for line in lines[1:]:
                if not self._intact(line["files"]):
                    console.print(
                        f"shard {len(whole)} of {self.folder} is damaged; it and what follows is made again", soft_wrap=True
                    )
                    break
                whole.append(line)
        self._tidy()
        journal = [{"versions": self.versions}, *whole]
        (self.folder / _JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in journal))
        return int(whole[-1]["episodes"]) if whole else 0

    def note(self, episodes: int) -> None:
        """A shard is complete: the files, which have been flushed, hold so many episodes."""
        files = {}
        for path in self._files():
            name, size = str(path.relative_to(self.folder)), path.stat().st_size
            files[name] = [size, _digest(path, self._sizes.get(name, 0), size)]
            self._sizes[name] = size
            durable(path)
        with (self.folder / _JOURNAL).open("a") as journal:
            journal.write(json.dumps({"episodes": episodes, "files": files}) + "\n")
        durable(self.folder / _JOURNAL)

    def _intact(self, files: Mapping[str, list[Any]]) -> bool:
        """Whether files hold the bytes that a shard added; if so they count as its."""
        for name, (size, digest) in files.items():
            path, begin = self.folder / name, self._sizes.get(name, 0)
            if not path.is_file() or path.stat().st_size < size or _digest(path, begin, size) != digest:
                return False
        self._sizes = {name: size for name, (size, _) in files.items()}
        return True

    def _tidy(self) -> None:
        for path in self._files():
            name = str(path.relative_to(self.folder))
            if name in self._sizes:
                os.truncate(path, self._sizes[name])
            else:
                path.unlink()

    def _files(self) -> list[Path]:
        return [p for p in sorted(self.folder.rglob("*")) if p.is_file() and p.name not in (_JOURNAL, _LOCK)]


def durable(path: Path) -> None:
    """Returns once what was written to a file or a folder has reached the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def replace_folder(source: Path, target: Path) -> None:
    """Moves a folder to where another one may be."""
    shutil.rmtree(target, ignore_errors=True)
    source.rename(target)


def _still(number: int, path: Path) -> bool:
    """Whether an open file is still the one at ``path``."""
    return path.exists() and os.path.samestat(os.fstat(number), path.stat())


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal up to the first that is not whole: the last one may have been interrupted."""
    found: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return found


def _digest(path: Path, begin: int, end: int) -> str:
    """sha256 of some bytes of a file; the header of an array, which changes, is left out."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        at = file.seek(max(begin, data_begin(path)))
        while at < end:
            block = file.read(min(_BLOCK, end - at))
            digest.update(block)
            at += len(block)
    return digest.hexdigest()
