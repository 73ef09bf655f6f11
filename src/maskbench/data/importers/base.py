"""What every importer offers: recognise a path, and read it as episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from maskbench.trajectory import Episode, TrajectorySpec


@dataclass(frozen=True)
class Imported:
    """A foreign data set, opened but not yet read.

    spec:       its factors.
    episodes:   starts a new pass over the episodes; may be called any number of times, always the same order.
    count:      number of episodes, or None where only a pass can tell.
    licence:    as published; ``"unknown"`` where the files do not say.
    provenance: where the episodes came from: format, path, options.
    """

    spec: TrajectorySpec
    episodes: Callable[[], Iterator[Episode]]
    count: int | None
    name: str
    licence: str
    provenance: str
    origin: Literal["imported", "published", "generated"] = "imported"


class Importer(Protocol):
    """Reads one on-disk format.

    format:  its name in configurations.
    expects: one line on the files it looks for.
    """

    format: ClassVar[str]
    expects: ClassVar[str]

    def recognises(self, path: Path) -> bool:
        """Whether ``path`` looks like this format, judged by names alone."""

    @property
    def read(self) -> Callable[..., Imported]:
        """``read(path, **options)`` opens ``path``. Wrong options and layout faults raise ``DataError`` at once, faulty
        values when their episode is reached."""


#: What joint positions and velocities leave open in a saved state: where D4RL's Adroit tasks (pen, door, hammer, relocate)
#: put their objects.
_PLACEMENTS = (("desired_orien",), ("door_body_pos",), ("board_pos",), ("obj_pos", "target_pos"))


def saved_state(stored: Callable[[str], bool]) -> tuple[str, ...]:
    """The entries of ``infos`` that make up a saved simulator state, in the order in which ``physics`` joins them; empty
    where there is none. ``stored`` tells which entries the data hold."""
    if not (stored("qpos") and stored("qvel")):
        return ()
    return "qpos", "qvel", *next((p for p in _PLACEMENTS if all(map(stored, p))), ())


def provenance(format_name: str, path: Path, **options: object) -> str:
    """``format:path (option=value, ...)`` without the options that were left alone."""
    given = ", ".join(f"{k}={v}" for k, v in options.items() if v not in (None, (), []))
    return f"{format_name}:{path}" + (f" ({given})" if given else "")
