"""The tabletop: bodies, their poses, and which rests on which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from maskbench.envs.tabletop.objects import ObjectSpec
from maskbench.envs.tabletop.outlines import TEXELS
from maskbench.prompt import PromptObject

EndEffector = Literal["suction", "spatula"]

#: Metres; x grows towards the front camera (rows of pictures), y to the right (columns), yaw counterclockwise from above.
LOW, HIGH = np.array((0.25, -0.5)), np.array((0.75, 0.5))
#: Body id of the first object: 0 is the ground, 1 the mat, then the parts of the robot.
FIRST_ID: dict[EndEffector, int] = {"suction": 5, "spatula": 4}


class Pose(NamedTuple):
    """Position on the table (m) and yaw (rad)."""

    x: float
    y: float
    yaw: float = 0.0


@dataclass(frozen=True, eq=False)
class Body:
    """An object on the table. ``z`` is the height of its underside."""

    id: int
    spec: ObjectSpec
    texture: str
    size: tuple[float, float, float]
    pose: Pose
    z: float = 0.0

    @property
    def fixed(self) -> bool:
        return self.spec.fixed

    @property
    def top(self) -> float:
        return self.z + self.size[2]

    @property
    def described(self) -> PromptObject:
        return PromptObject(self.id, self.spec.name, self.texture)

    @cached_property
    def layers(self) -> dict[str, Any]:
        """What cameras have drawn of it, by view (``picture``)."""
        return {}

    @cached_property
    def position(self) -> np.ndarray:
        """``(2,)``."""
        return np.array(self.pose[:2])

    @cached_property
    def radius(self) -> float:
        """Of the smallest circle around its centre that holds it."""
        return float(np.hypot(*(self.spec.cover * self.size[:2]).T).max())

    @cached_property
    def footprint(self) -> np.ndarray:
        """``(n, 2)`` points of the table under it, holes filled."""
        return self.to_world(self.spec.cover * self.size[:2])

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Metres from its centre, in its own axes, to the table's ``(n, 2)``."""
        cos, sin = np.cos(self.pose.yaw), np.sin(self.pose.yaw)
        x, y = points[..., 0], points[..., 1]
        return np.stack((cos * x - sin * y + self.pose.x, sin * x + cos * y + self.pose.y), -1)

    def heights(self, points: np.ndarray, dilate: float = 0.0) -> np.ndarray:
        """Height of its upper side above the table at ``(n, 2)`` points; -1 beside it.

        dilate: points this far (m) outside its bounding box count as on its border.
        """
        cos, sin = np.cos(self.pose.yaw), np.sin(self.pose.yaw)
        x, y = points[..., 0] - self.pose.x, points[..., 1] - self.pose.y
        u, v = (cos * x + sin * y) / self.size[0] + 0.5, (cos * y - sin * x) / self.size[1] + 0.5
        margin = dilate / self.size[0], dilate / self.size[1]
        inside = (u >= -margin[0]) & (u < 1 + margin[0]) & (v >= -margin[1]) & (v < 1 + margin[1])
        i, j = (np.clip((w * TEXELS).astype(np.int64), 0, TEXELS - 1) for w in (u, v))
        relief = self.spec.relief[i, j]
        return np.where(inside & (relief > 0), self.z + relief * self.size[2], -1.0)

    def holds(self, point: np.ndarray) -> bool:
        """Whether a point of the table lies within its outline, holes filled: near one of the footprint's points, whose grid
        is a twelfth of the size wide."""
        return bool(np.hypot(*(self.footprint - point).T).min() < 0.05 * max(self.size[:2]) + 0.004)

    def shifted(self, by: np.ndarray) -> Body:
        """The same object ``by`` (m) further on, with what is known of its outline."""
        moved = replace(self, pose=Pose(self.pose.x + float(by[0]), self.pose.y + float(by[1]), self.pose.yaw))
        vars(moved).update(radius=self.radius, footprint=self.footprint + by)
        return moved

    def at(self, pose: Pose, z: float | None = None) -> Body:
        """The same object elsewhere."""
        return replace(self, pose=pose, z=self.z if z is None else z)


@dataclass
class Scene:
    """Bodies by id, in spawn order."""

    ee: EndEffector = "suction"
    bodies: dict[int, Body] = field(default_factory=dict)

    def copy(self) -> Scene:
        """A scene that changes on its own."""
        return Scene(self.ee, dict(self.bodies))

    def __iter__(self) -> Iterator[Body]:
        return iter(self.bodies.values())

    def __getitem__(self, id: int) -> Body:
        return self.bodies[id]

    def __len__(self) -> int:
        return len(self.bodies)

    def add(self, spec: ObjectSpec, texture: str, size: tuple[float, float, float], pose: Pose) -> int:
        """Sets a new object down; its id."""
        id = FIRST_ID[self.ee] + len(self.bodies)
        body = Body(id, spec, texture, size, pose)
        self.bodies[id] = body if body.fixed else replace(body, z=support(body, self))
        return id

    def move(self, id: int, pose: Pose) -> None:
        """Sets an object down elsewhere, on whatever lies there; what lay on it comes down."""
        self.bodies[id] = self.bodies[id].at(pose, z=np.inf)
        self.bodies[id] = self.bodies[id].at(pose, z=support(self.bodies[id], self))
        self.settle()

    def settle(self) -> None:
        """Lets every object that nothing holds come down, lowest first."""
        settled: list[Body] = [b for b in self if b.fixed]
        for body in sorted((b for b in self if not b.fixed), key=lambda b: b.z):
            z = support(body, settled)
            if z < body.z:
                body = body.at(body.pose, z)
                self.bodies[body.id] = body
            settled.append(body)

    def at_point(self, point: np.ndarray, dilate: float = 0.004) -> Body | None:
        """What is uppermost at a point of the table, or None. ``dilate`` (m) is one pixel."""
        best, height = None, -1.0
        for body in self:
            if np.hypot(*(body.position - point)) <= body.radius + 2 * dilate:
                around = point + dilate * _AROUND
                h = float(body.heights(around, dilate).max())
                if h > height:
                    best, height = body, h
        return best

    def visible(self, id: int) -> np.ndarray:
        """``(n, 2)`` points of the table at which this object is what is seen from above."""
        body = self.bodies[id]
        solid = (np.argwhere(body.spec.relief > 0) + 0.5) / TEXELS - 0.5
        points = body.to_world(solid * body.size[:2])
        heights = body.heights(points)
        seen = heights >= 0
        for other in self:
            if other.id != id and _near(other, body):
                seen &= other.heights(points) < heights
        inside = ((points >= LOW) & (points <= HIGH)).all(1)
        found: np.ndarray = points[seen & inside]
        return found


_AROUND = np.array([(0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)])


def support(body: Body, others: Iterable[Body]) -> float:
    """Height at which ``body`` rests: the highest surface under it that is not above it.

    In a base it lies on the floor as soon as its centre is inside, as walls of 5 cm would not hold it upright either.
    """
    highest = 0.0
    for other in others:
        above = other.z > 0 and other.z >= body.z + body.size[2]
        if other.id == body.id or above or not _near(other, body):
            continue
        if other.spec.group == "strip":
            continue
        if other.spec.group == "base" and other.holds(body.position):
            highest = max(highest, float(other.heights(body.position[None]).max()))
            continue
        highest = max(highest, float(other.heights(body.footprint).max()))
    return highest


def _near(a: Body, b: Body) -> bool:
    return bool(np.hypot(a.pose.x - b.pose.x, a.pose.y - b.pose.y) < a.radius + b.radius)
