"""One episode of a task: its scene, what is wanted of it, and whether that is reached or spoilt (VIMA specification 1.3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from maskbench.envs.tabletop.kinematics import Action, Watch
from maskbench.envs.tabletop.scene import HIGH, LOW, Body, Pose, Scene
from maskbench.prompt import Prompt

#: Which point of an object the expert picks: the visible one nearest to its centre, or any visible one.
Pick = Literal["centroid", "random_pixel"]

#: What stands on something is this much (m) higher; simulators let things sink in and creep up by less.
_CARRIED = 0.003
YAW_TOLERANCE = float(np.deg2rad(15.0))


class Primitives(Protocol):
    """What moves objects: the kinematic world or a simulator."""

    def pick_and_place(self, scene: Scene, action: Action) -> set[int]:
        """Ids of the objects that moved."""

    def push(self, scene: Scene, action: Action, watch: Watch) -> set[int]:
        """Ids of the objects that moved; ``watch`` sees the scene on the way."""


@dataclass(eq=False)
class Trial(ABC):
    """An episode of a task. ``success`` and ``failed`` are final: neither is taken back."""

    scene: Scene
    prompt: Prompt
    success: bool = field(default=False, init=False)
    failed: bool = field(default=False, init=False)

    @abstractmethod
    def act(self, action: Action, primitives: Primitives) -> set[int]:
        """Executes one action and judges what it did; the ids of the objects that it moved."""

    @property
    @abstractmethod
    def minimum(self) -> int:
        """Actions that the episode takes without a mistake, asked before the first one."""

    @abstractmethod
    def sound(self) -> bool:
        """Whether the scene as drawn is neither solved nor spoilt."""

    @abstractmethod
    def expert(self, rng: np.random.Generator, pick: Pick) -> Action | None:
        """What the scripted oracle does next, or None where it gives up."""


@dataclass(frozen=True)
class Goal:
    """An object that belongs at one of some poses.

    eps:      metres of the table within which it counts as there.
    yaw:      whether it must also be turned as the target is, to 15 degrees and its symmetry.
    required: False for what only the oracle does to make room.
    """

    id: int
    targets: tuple[Pose, ...]
    eps: float
    yaw: bool = False
    required: bool = True

    def reached(self, scene: Scene) -> bool:
        body = scene[self.id]
        return any(
            distance(body.pose, t) < self.eps and (not self.yaw or abs(turn(body, t)) < YAW_TOLERANCE) for t in self.targets
        )

    def nearest(self, scene: Scene) -> Pose:
        """The target that is nearest to the object."""
        return min(self.targets, key=lambda t: distance(scene[self.id].pose, t))


def distance(a: Pose, b: Pose) -> float:
    """Metres between two places on the table."""
    return float(np.hypot(a.x - b.x, a.y - b.y))


def turn(body: Body, target: Pose) -> float:
    """Radians that lead from a body's yaw to the target's, the shortest way that its symmetry allows."""
    period = body.spec.symmetry
    if period == 0:
        return 0.0
    return float((target.yaw - body.pose.yaw + period / 2) % period - period / 2)


@dataclass(eq=False)
class PlacingTrial(Trial):
    """Objects to be picked and placed.

    stages:      goals that come one group after the other; those of a group in any order.
    distractors: objects that may not stand where a goal object belongs, nor carry one.
    early:       what spoils the episode before its stage: nothing, an object of a later stage that ``moved``, or one that
                 ``arrived`` where it belongs later.
    strict:      every action must reach the one goal that is next.
    guarded:     whether a distractor in a goal's place spoils the episode; not where it may stand there from the start.
    """

    stages: list[list[Goal]] = field(default_factory=list)
    distractors: tuple[int, ...] = ()
    early: Literal["allowed", "moved", "arrived"] = "allowed"
    strict: bool = False
    guarded: bool = True

    def act(self, action: Action, primitives: Primitives) -> set[int]:
        moved = primitives.pick_and_place(self.scene, action)
        if not self.stages:
            return moved
        stage, later = self.stages[0], [g for s in self.stages[1:] for g in s]
        before = len(stage)
        stage[:] = [g for g in stage if not g.reached(self.scene)]
        current = {g.id for g in stage}
        for goal in later:
            if self.early == "moved" and goal.id in moved and goal.id not in current and len(stage) == before:
                self.failed = True
            if self.early == "arrived" and goal.id in moved and len(stage) == before and goal.reached(self.scene):
                self.failed = True
        if self.strict and len(stage) == before:
            self.failed = True
        self.failed |= self._spoilt([*stage, *later])
        if not any(g.required for g in stage):
            self.stages.pop(0)
            self.success = not self.stages and not self.failed
        return moved

    @property
    def minimum(self) -> int:
        return sum(map(len, self.stages))

    def sound(self) -> bool:
        return bool(self.stages) and not self._spoilt(self.stages[0]) and not any(g.reached(self.scene) for g in self.stages[0])

    def expert(self, rng: np.random.Generator, pick: Pick) -> Action | None:
        if not self.stages:
            return None
        optional = [g for g in self.stages[0] if not g.required and not g.reached(self.scene)]
        open_goals = optional or [g for g in self.stages[0] if g.required]
        goal = max(open_goals, key=lambda g: distance(self.scene[g.id].pose, g.nearest(self.scene)))
        body, target = self.scene[goal.id], goal.nearest(self.scene)
        point = pick_point(self.scene, body, rng, pick)
        if point is None:
            return None
        angle = turn(body, target) if goal.yaw else 0.0
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = point - body.position
        place = Pose(float(target.x + cos * x - sin * y), float(target.y + sin * x + cos * y), angle)
        return Action(Pose(float(point[0]), float(point[1])), place)

    def _spoilt(self, goals: list[Goal]) -> bool:
        """Whether a goal object has left the workspace or stands on a distractor, or a distractor in a goal's place."""
        for goal in goals:
            body = self.scene[goal.id]
            if ((body.position < LOW) | (body.position > HIGH)).any():
                return True
            for id in self.distractors if goal.required else ():
                other = self.scene[id]
                if self.guarded and any(distance(other.pose, t) < goal.eps for t in goal.targets):
                    return True
                carried = body.z > other.z + _CARRIED and other.heights(body.footprint).max() >= 0
                if carried and distance(body.pose, other.pose) < goal.eps:
                    return True
        return False


def pick_point(scene: Scene, body: Body, rng: np.random.Generator, pick: Pick) -> np.ndarray | None:
    """A point ``(2,)`` at which suction takes this object, or None where others cover it."""
    seen = scene.visible(body.id)
    if pick == "centroid":
        order = np.argsort(np.hypot(*(seen - body.position).T), kind="stable")[::7]
    else:
        order = rng.permutation(len(seen))
    for i in order[:40]:
        top = scene.at_point(seen[i])
        if top is not None and top.id == body.id:
            found: np.ndarray = seen[i]
            return found
    return None
