"""Tasks 12 and 13: sweep blocks into a border without crossing, or touching, a line."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice, permutations
from typing import ClassVar

import numpy as np

from maskbench.envs.tabletop.kinematics import BLADE_THICKNESS, KINEMATIC, PUSH_SHORT, Action
from maskbench.envs.tabletop.layout import Layout
from maskbench.envs.tabletop.objects import ObjectSpec, find_object
from maskbench.envs.tabletop.picture import object_image
from maskbench.envs.tabletop.scene import HIGH, LOW, Body, Pose, Scene
from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.trial import Pick, Primitives, Trial
from maskbench.prompt import Prompt

#: Blocks and the points that they are pushed to, in order.
Plan = list[tuple[int, np.ndarray]]

#: What the oracle thinks through before it gives up: orders of the blocks, and how deep in the zone they are to lie.
_ORDERS = 12
_DEPTHS = (0.5, 0.65, 0.35)
_DETERMINERS = {1: "one", 2: "two", 3: "three"}
#: Where blocks lie in a row at the near side: corners (x, y), from which they spread over this much of y.
_SPAWNS = ((0.57, -0.22), (0.58, 0.03))
_SPREAD = 0.18
_LINE = (0.04, 0.25, 0.001)
_BLOCK = 0.03


@dataclass(frozen=True)
class Zone:
    """A rectangle of the table: corners (x, y)."""

    low: np.ndarray
    high: np.ndarray

    def depth(self, part: float) -> float:
        """x at this part of the way from the far to the near side."""
        return float((1 - part) * self.low[0] + part * self.high[0])

    def holds(self, points: np.ndarray) -> bool:
        """Whether all of ``(n, 2)`` points lie inside."""
        return bool(((points > self.low) & (points < self.high)).all())


@dataclass(eq=False)
class SweepingTrial(Trial):
    """Exactly ``wanted`` of ``swept`` belong in ``zone``; none may touch the line, and no other block may get in.

    pushes: that one block takes.
    plans: the oracle's ideas, best first: blocks in order, and the points to which each one's centre is pushed. It tries them
           in its mind and keeps the first that works out.
    """

    swept: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    line: int = 0
    zone: Zone = field(default_factory=lambda: Zone(LOW, LOW))
    wanted: int = 1
    pushes: int = 1
    plans: Iterable[Plan] = ()
    _pushes: list[tuple[int, np.ndarray]] | None = field(default=None, init=False)

    def act(self, action: Action, primitives: Primitives) -> set[int]:
        moved = primitives.push(self.scene, action, self._watch)
        if self.success:
            return moved
        inside = self._inside(self.swept)
        gone = any(((b.position < LOW) | (b.position > HIGH)).any() for b in (self.scene[i] for i in self.swept))
        self.failed |= inside > self.wanted or self._inside(self.others) > 0 or gone
        self.success = inside == self.wanted and not self.failed
        return moved

    @property
    def minimum(self) -> int:
        return self.pushes * self.wanted

    def sound(self) -> bool:
        self._watch(self.scene)
        return not self.failed and self._inside((*self.swept, *self.others)) == 0

    def expert(self, rng: np.random.Generator, pick: Pick) -> Action | None:
        if self._pushes is None:
            self._pushes = next((p for p in self.plans if self._works(p)), [])
        if not self._pushes:
            return None
        return self._push(*self._pushes.pop(0))

    def _push(self, id: int, target: np.ndarray) -> Action:
        """Pushes a block's centre to ``target``."""
        start = self.scene[id].position
        gap = target - start
        reach = PUSH_SHORT - BLADE_THICKNESS / 2 - min(self.scene[id].size[:2]) / 2
        end = target + reach * gap / max(float(np.hypot(*gap)), 1e-9)
        return Action(Pose(*start.tolist()), Pose(*end.tolist()))

    def _works(self, plan: Plan) -> bool:
        trial = replace(self, scene=self.scene.copy())
        for push in plan:
            trial.act(trial._push(*push), KINEMATIC)
            if trial.success or trial.failed:
                break
        return trial.success

    def _inside(self, ids: tuple[int, ...]) -> int:
        return sum(self.zone.holds(self.scene[i].footprint) for i in ids)

    def _watch(self, scene: Scene) -> None:
        """Touching is for good, also between two looks of the cameras."""
        if self.success:
            return
        line = scene[self.line]
        for id in self.swept:
            body = scene[id]
            near = np.abs(body.position - line.position) < np.array(line.size[:2]) / 2 + body.radius
            if near.all() and (line.heights(body.footprint) >= 0).any():
                self.failed = True


@dataclass(frozen=True)
class _Sweep(Task):
    """A row of blocks at the near side, a border that opens towards it, and a line.

    counts, chances: how many blocks there are to sweep, and as many of another texture.
    kit_shapes:      blocks are shrunken letters and shapes.
    line_scale:      length of the line in parts of 0.25 m.
    """

    border: ClassVar[tuple[float, float, float, float]]
    determined: ClassVar[str]
    pushes: ClassVar[int] = 1
    number, group, ee = 0, "constraint", "spatula"
    counts: tuple[int, ...] = (1, 2, 3)
    chances: tuple[float, ...] = (0.5, 0.25, 0.25)
    kit_shapes: bool = False
    line_scale: float = 1.0

    @property
    def most_objects(self) -> int:
        return 2 + 2 * max(self.counts)

    def build(self, layout: Layout) -> SweepingTrial:
        rng = layout.rng
        x, y, depth, width = self.border
        border_texture = layout.pick(layout.pools.base_textures)
        line_texture = layout.pick(layout.pools.base_textures, [border_texture])
        border_spec, line_spec = find_object("three-sided rectangle"), find_object("line")
        border = layout.scene.add(border_spec, border_texture, (depth, width, 0.001), Pose(x, y))
        line_pose, zone = self._line(rng)
        line = layout.scene.add(line_spec, line_texture, (_LINE[0], _LINE[1] * self.line_scale, _LINE[2]), line_pose)

        count = int(rng.choice(self.counts, p=self.chances))
        spec = self._block(layout)
        texture, other_texture = layout.pick_several(layout.pools.dragged_textures, 2)
        side = int(rng.integers(2))
        swept = self._row(layout, spec, texture, _SPAWNS[side], count)
        others = self._row(layout, spec, other_texture, _SPAWNS[1 - side], count)
        determiner, wanted = layout.pick([("any", 1), *((w, n) for n, w in _DETERMINERS.items() if n <= count), ("all", count)])
        scene = layout.scene
        images = {
            name: object_image(scene[i].spec, scene[i].texture, scene[i].size)
            for name, i in (("swept_obj", swept[0]), ("bounds", border), ("constraint", line))
        }
        prompt = Prompt(f"Sweep {determiner} {{swept_obj}} into {{bounds}} without {self.determined} {{constraint}}.", images)
        trial = SweepingTrial(scene, prompt, tuple(swept), tuple(others), line, zone, wanted, self.pushes)
        nearest = sorted(swept, key=lambda i: self._detour(scene[i], -1 if side == 0 else 1))
        trial.plans = [
            self._plan(trial, order, -1 if side == 0 else 1, depth)
            for order in islice(permutations(nearest, wanted), _ORDERS)
            for depth in _DEPTHS
        ]
        return trial

    @abstractmethod
    def _line(self, rng: np.random.Generator) -> tuple[Pose, Zone]:
        """Where the constraint lies, and the zone that it closes."""

    @abstractmethod
    def _detour(self, block: Body, side: int) -> float:
        """By which the oracle takes the nearest blocks first."""

    @abstractmethod
    def _plan(self, trial: SweepingTrial, order: tuple[int, ...], side: int, depth: float) -> Plan:
        """The oracle's pushes, block after block."""

    def _block(self, layout: Layout) -> ObjectSpec:
        return layout.dragged() if self.kit_shapes else find_object("small block")

    def _row(self, layout: Layout, spec: ObjectSpec, texture: str, corner: tuple[float, float], count: int) -> list[int]:
        """Blocks side by side, wider apart than the blade where there is room."""
        scale = _BLOCK / max(spec.largest[:2])
        spare = _SPREAD - _gap(count) * (count - 1)
        offsets = np.sort(layout.rng.uniform(0, spare, count)) + _gap(count) * np.arange(count)
        aligned = 0.0 if spec.name == "small block" else layout.yaw()
        x, y, z = layout.size(spec, scale)
        return [
            layout.scene.add(spec, texture, (x, y, max(z, 0.012)), Pose(corner[0], corner[1] + float(o), aligned))
            for o in offsets
        ]


def _gap(count: int) -> float:
    return 0.056 if count <= 3 else 0.04


@dataclass(frozen=True)
class SweepWithoutExceeding(_Sweep):
    """Sweep <number> {swept_obj} into {bounds} without exceeding {constraint}."""

    number, name = 12, "sweep_without_exceeding"
    oracle_max_steps = 8
    border = (0.41, 0.0, 0.27, 0.27)
    determined = "exceeding"
    line_scale: float = 1.35

    def _line(self, rng: np.random.Generator) -> tuple[Pose, Zone]:
        """Across the border, somewhere from a quarter to three fifths of its depth; the zone is what lies before it."""
        x, y, depth, width = self.border
        at = x - depth / 2 + depth * float(rng.uniform(0.25, 0.6))
        return Pose(at, y), Zone(np.array((at + _LINE[0] / 2, y - width / 2)), np.array((x + depth / 2, y + width / 2)))

    def _detour(self, block: Body, side: int) -> float:
        return abs(block.pose.y)

    def _plan(self, trial: SweepingTrial, order: tuple[int, ...], side: int, depth: float) -> Plan:
        """Each block straight into the zone, as near to its own column as its neighbours leave room."""
        x = trial.zone.depth(depth)
        outwards = sorted(order, key=lambda i: trial.scene[i].pose.y * side)
        most = {id: trial.zone.high[1] - 0.03 - 0.04 * (len(order) - 1 - n) for n, id in enumerate(outwards)}
        columns = {id: side * min(side * trial.scene[id].pose.y, most[id]) for id in order}
        return [(id, np.array((x, columns[id]))) for id in order]


@dataclass(frozen=True)
class SweepWithoutTouching(_Sweep):
    """Sweep <number> {swept_obj} into {bounds} without touching {constraint}."""

    number, name = 13, "sweep_without_touching"
    oracle_max_steps = 14
    border = (0.39, 0.0, 0.172, 0.3)
    determined = "touching"
    pushes = 3
    line_scale: float = 0.75

    def _line(self, rng: np.random.Generator) -> tuple[Pose, Zone]:
        """Across the opening; the zone is the border's inside."""
        x, y, depth, width = self.border
        opening = x + depth / 2
        return Pose(opening + _LINE[0] / 2, y), Zone(
            np.array((x - depth / 2, y - width / 2)), np.array((opening, y + width / 2))
        )

    def _detour(self, block: Body, side: int) -> float:
        return abs(block.pose.y - side * self._lane)

    @property
    def _lane(self) -> float:
        """Where blocks pass the end of the line."""
        return _LINE[1] * self.line_scale / 2 + 0.022

    def _plan(self, trial: SweepingTrial, order: tuple[int, ...], side: int, depth: float) -> Plan:
        """Sideways past the end of the line, forward beside or into the border, then inwards to make room for the next one."""
        x = trial.zone.depth(depth)
        plan: Plan = []
        for n, id in enumerate(order):
            lane = side * self._lane
            inward = side * (-0.08 + 0.045 * n)
            plan += [(id, np.array((trial.scene[id].pose.x, lane))), (id, np.array((x, lane))), (id, np.array((x, inward)))]
        return plan
