"""What a block push episode has achieved so far: rewards, the end and events, without any simulator.

Events (published metrics are fractions of episodes in which one happens):

``moved:<block>``           its distance to the world's origin has changed by more than 1 mm
``first:<block>``           it moved before the other one did
``entered:<block>:<zone>``  it is within 5 cm of the zone for the first time
``route:<block>-<zone>``    the zone is the first one that this block enters; their sequence is the episode's mode
``R1``, ``R2``              one, both blocks have moved
``P1``                      some block has entered some zone
``P2``                      the other block has entered the other zone too, not necessarily at the same time
``success``                 both blocks lie in different zones; the episode ends
``reached:<block>``         the effector has come within 5 cm of the block, every time
``in:<block>:<zone>``       the block has come within 5 cm of the zone, every time; ``out:...`` when it leaves
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

#: Names of blocks and zones, in the order of their indices.
COLOURS = ("red", "green")
#: A block is in a zone when their centres are closer than this (m).
TOLERANCE = 0.05
#: A block has moved when its distance to the origin of the world has changed by more than this (m).
MOTION = 1e-3
#: Earned by the first entry of each block into each zone; replaced by ``SUCCESS_REWARD`` in the step of success.
ENTRY_REWARD, SUCCESS_REWARD = 0.49, 0.51

Point = Sequence[float]
Points = Sequence[Point]


@dataclass(frozen=True)
class Progress:
    """What has happened in an episode; never changed, only replaced.

    origin:  distance of each block to the origin of the world when the episode began.
    moved:   whether each block has moved since.
    entered: ``entered[block][zone]``, whether the block has been in the zone.
    """

    origin: tuple[float, float]
    moved: tuple[bool, bool] = (False, False)
    entered: tuple[tuple[bool, bool], tuple[bool, bool]] = ((False, False), (False, False))

    #: Numbers in ``row()``.
    SIZE = 8

    def after(self, blocks: Points, zones: Points) -> Progress:
        """Progress once the blocks have come to lie at ``blocks``."""
        red, green = (
            moved or abs(math.hypot(*block) - origin) > MOTION
            for moved, block, origin in zip(self.moved, blocks, self.origin, strict=True)
        )
        of_red, of_green = (
            (was[0] or inside(block, zones[0]), was[1] or inside(block, zones[1]))
            for was, block in zip(self.entered, blocks, strict=True)
        )
        return Progress(self.origin, (red, green), (of_red, of_green))

    @property
    def both_entered(self) -> bool:
        """Whether both blocks have entered, each another zone (P2)."""
        red, green = self.entered
        return (red[0] and green[1]) or (red[1] and green[0])

    def row(self) -> np.ndarray:
        """``(8,)`` float64, from which ``of`` restores it."""
        return np.array([*self.origin, *self.moved, *self.entered[0], *self.entered[1]], np.float64)

    @classmethod
    def of(cls, row: np.ndarray) -> Progress:
        """Inverse of ``row``."""
        a, b, *flags = row.tolist()
        red_moved, green_moved, rr, rg, gr, gg = (bool(f) for f in flags)
        return cls((a, b), (red_moved, green_moved), ((rr, rg), (gr, gg)))


@dataclass(frozen=True)
class Placement:
    """What a state shows without its history.

    near:   whether the effector is within the tolerance of each block.
    within: ``within[block][zone]``.
    """

    near: tuple[bool, bool]
    within: tuple[tuple[bool, bool], tuple[bool, bool]]

    @classmethod
    def of(cls, rod: Point, blocks: Points, zones: Points) -> Placement:
        (red, green), (first, second) = blocks, zones
        of_red, of_green = ((inside(block, first), inside(block, second)) for block in (red, green))
        return cls((inside(rod, red), inside(rod, green)), (of_red, of_green))


def changes(before: Placement, after: Placement) -> Iterator[str]:
    """Names of what came and went in a step, in a fixed order."""
    yield from (f"reached:{b}" for b, was, now in zip(COLOURS, before.near, after.near, strict=True) if now and not was)
    for block, was, now in zip(COLOURS, before.within, after.within, strict=True):
        for zone, old, new in zip(COLOURS, was, now, strict=True):
            if new != old:
                yield f"{'in' if new else 'out'}:{block}:{zone}"


def inside(block: Point, zone: Point) -> bool:
    """Whether the block's centre is within the tolerance of the zone's."""
    return math.dist(block, zone) < TOLERANCE


def solved(blocks: Points, zones: Points) -> bool:
    """Whether both blocks lie in different zones. (Zones are 0.23 m apart at least: none can lie in both.)"""
    red, green = blocks
    return (inside(red, zones[0]) and inside(green, zones[1])) or (inside(red, zones[1]) and inside(green, zones[0]))


def reward(before: Progress, after: Progress, success: bool) -> float:
    """Reward of a step: 1.00 in all for a perfect episode, 0.49 for one block; one block in both zones earns 0.98."""
    if success:
        return SUCCESS_REWARD
    return ENTRY_REWARD * (sum(map(sum, after.entered)) - sum(map(sum, before.entered)))


def events(before: Progress, after: Progress, success: bool) -> Iterator[str]:
    """Names of what happened in a step, in a fixed order."""
    moved = [name for name, was, now in zip(COLOURS, before.moved, after.moved, strict=True) if now and not was]
    yield from (f"moved:{block}" for block in moved)
    if not any(before.moved):
        yield from (f"first:{block}" for block in moved)
        if moved:
            yield "R1"
    if moved and all(after.moved):
        yield "R2"
    for block, was, now in zip(COLOURS, before.entered, after.entered, strict=True):
        for zone, old, new in zip(COLOURS, was, now, strict=True):
            if new and not old:
                yield f"entered:{block}:{zone}"
                if not any(was):
                    yield f"route:{block}-{zone}"
    if after.entered != before.entered:
        if not any(map(any, before.entered)):
            yield "P1"
        if after.both_entered and not before.both_entered:
            yield "P2"
    if success:
        yield "success"
