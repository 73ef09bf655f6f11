"""Tasks 12 and 13: sweep blocks into a border without crossing, or touching, a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from maskbench.envs.tabletop.kinematics import BLADE_THICKNESS, PUSH_SHORT, Action
from maskbench.envs.tabletop.layout import Layout
from maskbench.envs.tabletop.objects import ObjectSpec, find_object
from maskbench.envs.tabletop.picture import object_image
from maskbench.envs.tabletop.scene import HIGH, LOW, Pose, Scene
from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.trial import Pick, Primitives, Trial
from maskbench.prompt import Prompt

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

    def holds(self, points: np.ndarray) -> bool:
        """Whether all of ``(n, 2)`` points lie inside."""
        return bool(((points > self.low) & (points < self.high)).all())


@dataclass(eq=False)
class SweepingTrial(Trial):
    """Exactly ``wanted`` of ``swept`` belong in ``zone``; none may touch the line, and no other block may get in.

    plan: block id -> points to which its centre is pushed one after the other; the oracle's, in order.
    """

    swept: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    line: int = 0
    zone: Zone = field(default_factory=lambda: Zone(LOW, LOW))
    wanted: int = 1
    plan: list[tuple[int, list[np.ndarray]]] = field(default_factory=list)

    def act(self, action: Action, primitives: Primitives) -> set[int]:
        moved = primitives.push(self.scene, action, self._watch)
        inside = self._inside(self.swept)
        gone = any(((b.position < LOW) | (b.position > HIGH)).any() for b in (self.scene[i] for i in self.swept))
        self.failed |= inside > self.wanted or self._inside(self.others) > 0 or gone
        self.success = inside == self.wanted and not self.failed
        return moved

    def sound(self) -> bool:
        self._watch(self.scene)
        return not self.failed and self._inside((*self.swept, *self.others)) == 0

    def expert(self, rng: np.random.Generator, pick: Pick) -> Action | None:
        while self.plan and not self.plan[0][1]:
            self.plan.pop(0)
        if not self.plan:
            return None
        id, points = self.plan[0]
        start, end = self.scene[id].position, points.pop(0)
        gap = end - start
        reach = PUSH_SHORT - BLADE_THICKNESS / 2 - min(self.scene[id].size[:2]) / 2
        end = end + reach * gap / max(float(np.hypot(*gap)), 1e-9)
        return Action(Pose(float(start[0]), float(start[1])), Pose(float(end[0]), float(end[1])))

    def _inside(self, ids: tuple[int, ...]) -> int:
        return sum(self.zone.holds(self.scene[i].footprint) for i in ids)

    def _watch(self, scene: Scene) -> None:
        """Touching is for good, also between two looks of the cameras."""
        line = scene[self.line]
        for id in self.swept:
            body = scene[id]
            if np.abs(body.position - line.position).max() < max(line.size) and (line.heights(body.footprint) >= 0).any():
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
        trial = SweepingTrial(scene, prompt, tuple(swept), tuple(others), line, zone, wanted)
        trial.plan = self._plan(trial, -1 if side == 0 else 1)
        return trial

    def _line(self, rng: np.random.Generator) -> tuple[Pose, Zone]:
        raise NotImplementedError

    def _plan(self, trial: SweepingTrial, side: int) -> list[tuple[int, list[np.ndarray]]]:
        raise NotImplementedError

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
            layout.scene.add(spec, texture, (x, y, max(z, 0.012)), Pose(corner[0], corner[1] + float(o), aligned)) for o in offsets
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

    def _plan(self, trial: SweepingTrial, side: int) -> list[tuple[int, list[np.ndarray]]]:
        """Each block straight into the zone, as near to its own column as its neighbours leave room."""
        blocks = sorted(trial.swept, key=lambda i: abs(trial.scene[i].pose.y))[: trial.wanted]
        blocks.sort(key=lambda i: trial.scene[i].pose.y * side)
        x = float(trial.zone.low[0] + trial.zone.high[0]) / 2
        room = trial.zone.high[1] - 0.03
        plan, taken = [], []
        for n, id in enumerate(blocks):
            y = trial.scene[id].pose.y
            outer = room - 0.04 * (len(blocks) - 1 - n)
            taken.append(min(abs(y), outer) * side if y * side > 0 else y)
            plan.append((id, [np.array((x, taken[-1]))]))
        return plan


@dataclass(frozen=True)
class SweepWithoutTouching(_Sweep):
    """Sweep <number> {swept_obj} into {bounds} without touching {constraint}."""

    number, name = 13, "sweep_without_touching"
    oracle_max_steps = 14
    border = (0.39, 0.0, 0.172, 0.3)
    determined = "touching"
    line_scale: float = 0.75

    def _line(self, rng: np.random.Generator) -> tuple[Pose, Zone]:
        """Across the opening; the zone is the border's inside."""
        x, y, depth, width = self.border
        opening = x + depth / 2
        return Pose(opening + _LINE[0] / 2, y), Zone(
            np.array((x - depth / 2, y - width / 2)), np.array((opening, y + width / 2))
        )

    def _plan(self, trial: SweepingTrial, side: int) -> list[tuple[int, list[np.ndarray]]]:
        """Sideways past the end of the line, forward into the border, then inwards to make room for the next one."""
        end = trial.scene[trial.line].size[1] / 2
        lane = side * (end + 0.022)
        blocks = sorted(trial.swept, key=lambda i: abs(trial.scene[i].pose.y - lane))[: trial.wanted]
        x = float(trial.zone.low[0] + trial.zone.high[0]) / 2
        plan = []
        for n, id in enumerate(blocks):
            start = trial.scene[id].position
            inward = -side * (end - 0.05 - 0.05 * n)
            plan.append((id, [np.array((start[0], lane)), np.array((x, lane)), np.array((x, inward))]))
        return plan


