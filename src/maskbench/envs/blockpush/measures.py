"""What publications report of rollouts in block push (BeT study 4.2, 4.5), from the events of their records.

Versions differ in what counts as reaching a block and as pushing it into a zone:

``paper``   reached: the block's distance to the origin of the world has changed by 1 mm. Pushed: it has entered the zone, even
            if it left again.
``strict``  reached: the effector has come within 5 cm of the block. Pushed: it lies in the zone when the episode ends.
``repstudy_legacy``  as ``paper``, but as the reproducibility study recorded it. Its environments reset themselves, so the state
            after the action that ends an episode, the one with both blocks in their zones, is not in the recording; the first
            state of the next episode stands in its place, and recording goes on to the step limit whoever is on the table. A
            policy that always succeeds has P2 near 0.45 that way, a good one that succeeds in three of four episodes near 0.12:
            the P2 = .18 of the study's table. Here the following record of the plan plays the part of the next episode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from maskbench.envs.base import Measure, MetricsVersion
from maskbench.envs.blockpush.rules import COLOURS
from maskbench.trajectory import EpisodeRecord

#: Events with a rate in results.
EVENTS = (
    *("success", "R1", "R2", "P1", "P2"),
    *(f"{kind}:{block}" for kind in ("moved", "first", "reached") for block in COLOURS),
    *(f"entered:{block}:{zone}" for block in COLOURS for zone in COLOURS),
)


@dataclass(frozen=True)
class Seen:
    """reached: blocks in the order in which they were reached. pushed: pairs of block and zone, likewise."""

    reached: tuple[str, ...]
    pushed: tuple[tuple[str, str], ...]

    @property
    def both(self) -> bool:
        """Whether both blocks were pushed, each into another zone."""
        return any(a != c and b != d for a, b in self.pushed for c, d in self.pushed)


def measures(records: Sequence[EpisodeRecord], version: MetricsVersion, horizon: int) -> Iterator[Measure]:
    """R1, R2, P1, P2, which block came first, and which block went where. ``horizon``: steps that the study would record."""
    if version == "repstudy_legacy":
        seen = [_as_recorded(records, i, horizon) for i in range(len(records))]
    else:
        seen = [_stayed(r) if version == "strict" else _entered(r) for r in records]
    reach = "was within 5 cm of the effector" if version == "strict" else "moved"
    push = "lies in a zone at the end" if version == "strict" else "entered a zone"
    for n in (1, 2):
        yield Measure(f"R{n}", f"fraction of episodes in which {n} block {reach}", "rate", [len(s.reached) >= n for s in seen])
    yield Measure("P1", f"fraction of episodes in which a block {push}", "rate", [bool(s.pushed) for s in seen])
    yield Measure("P2", f"fraction of episodes in which each block {push}, another one each", "rate", [s.both for s in seen])
    for block in COLOURS:
        found = [s.reached[:1] == (block,) for s in seen]
        yield Measure(f"first_reached:{block}", f"fraction of episodes in which {block} {reach} first", "rate", found)
    for block in COLOURS:
        found = [bool(s.pushed) and s.pushed[0][0] == block for s in seen]
        yield Measure(f"first_pushed:{block}", f"fraction of episodes in which {block} {push} first", "rate", found)
    for block in COLOURS:
        for zone in COLOURS:
            found = [(block, zone) in s.pushed for s in seen]
            yield Measure(f"pushed:{block}:{zone}", f"fraction of episodes in which {block} {push}: {zone}", "rate", found)


def _entered(record: EpisodeRecord) -> Seen:
    return _seen([name for _, name in record.events])


def _seen(names: Sequence[str]) -> Seen:
    parts = [name.split(":") for name in names]
    reached = (p[1] for p in parts if p[0] == "moved")
    pushed = ((p[1], p[2]) for p in parts if p[0] == "entered")
    return Seen(tuple(dict.fromkeys(reached)), tuple(dict.fromkeys(pushed)))


def _stayed(record: EpisodeRecord) -> Seen:
    parts = [name.split(":") for _, name in record.events]
    reached = dict.fromkeys(p[1] for p in parts if p[0] == "reached")
    lying: dict[tuple[str, str], None] = {}
    for kind, *rest in parts:
        if kind == "in":
            lying[rest[0], rest[1]] = None
        elif kind == "out":
            lying.pop((rest[0], rest[1]), None)
    return Seen(tuple(reached), tuple(lying))


def _as_recorded(records: Sequence[EpisodeRecord], row: int, horizon: int) -> Seen:
    """What the study's recording of ``records[row]`` shows: ``horizon + 1`` states, number ``t + 1`` after action ``t``."""
    names: list[str] = []
    began = 0
    while began <= horizon:
        record = records[row % len(records)]
        last = record.length - 1 if record.terminated else record.length  # the state that ends an episode is lost
        names += [name for t, name in record.events if t + 1 <= last and began + t + 1 <= horizon]
        if not record.terminated:
            break
        began += record.length
        row += 1
        if began <= horizon:
            names += [f"moved:{block}" for block in COLOURS]  # other positions than this episode began with
    return _seen(names)
