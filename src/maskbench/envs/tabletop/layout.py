"""Drawing a scene: what lies where, without overlaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from maskbench.envs.tabletop.objects import ObjectSpec, find_object
from maskbench.envs.tabletop.partitions import Pools
from maskbench.envs.tabletop.scene import HIGH, LOW, Body, EndEffector, Pose, Scene

T = TypeVar("T")
Size = tuple[float, float, float]

#: Places tried for one object, some at a time, before the whole scene is drawn again; and the gap (m) kept between neighbours.
_CANDIDATES = (8, 24, 96)
_GAP = 0.006


class NoRoomError(Exception):
    """A scene could not be drawn; another draw may succeed."""


class Layout:
    """A scene that is being drawn. All chance comes from ``rng``."""

    def __init__(self, rng: np.random.Generator, pools: Pools, ee: EndEffector) -> None:
        self.rng, self.pools = rng, pools
        self.scene = Scene(ee)
        self._taken: list[np.ndarray] = []

    def pick(self, among: Iterable[T], but: Sequence[T] = ()) -> T:
        """One of ``among``, uniformly; raises NoRoomError where everything is excluded."""
        left = [x for x in among if x not in but]
        if not left:
            raise NoRoomError
        return left[self.rng.integers(len(left))]

    def pick_several(self, among: Iterable[T], count: int, but: Sequence[T] = ()) -> list[T]:
        """``count`` different ones in random order."""
        left = [x for x in among if x not in but]
        if len(left) < count:
            raise NoRoomError
        return [left[i] for i in self.rng.permutation(len(left))[:count]]

    def dragged(self, but: Sequence[str] = (), among: Iterable[str] | None = None) -> ObjectSpec:
        """A kind of object to drag."""
        return find_object(self.pick(self.pools.dragged if among is None else among, but))

    def base(self, from_dragged: bool = False, but: Sequence[str] = ()) -> ObjectSpec:
        """A kind of object to put others into."""
        return find_object(self.pick(self.pools.dragged if from_dragged else self.pools.base, but))

    def size(self, spec: ObjectSpec, scale: float = 1.0) -> Size:
        """A size of that kind."""
        part = self.rng.random()
        x, y, z = (scale * (a + part * (b - a)) for a, b in zip(spec.smallest, spec.largest, strict=True))
        return x, y, z

    def add(
        self,
        spec: ObjectSpec,
        texture: str,
        *,
        size: Size | None = None,
        pose: Pose | None = None,
        region: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> int:
        """Sets an object at ``pose``, or where nothing lies; its id. Raises NoRoomError where there is no such place."""
        size = size or self.size(spec)
        body = self.scene[self.scene.add(spec, texture, size, pose or self.free_pose(spec, size, region))]
        self._taken.append(body.footprint)
        return body.id

    def reserve(self, body: Body, pose: Pose) -> None:
        """Keeps the place free that ``body`` would cover at ``pose``."""
        self._taken.append(body.at(pose).footprint)

    def free_pose(
        self,
        spec: ObjectSpec,
        size: Size,
        region: tuple[np.ndarray, np.ndarray] | None = None,
        away: Sequence[tuple[np.ndarray, float]] = (),
        yaw: float | None = None,
    ) -> Pose:
        """A random pose whose circle is free of everything drawn so far.

        region: corners of the rectangle that must hold the circle; the workspace by default.
        away:   centres and the distances (m) to keep from them.
        """
        radius = float(np.hypot(*(spec.cover * size[:2]).T).max())
        low, high = (LOW, HIGH) if region is None else region
        if (low + radius > high - radius).any():
            raise NoRoomError
        taken = np.concatenate(self._taken) if self._taken else np.zeros((0, 2))
        for count in _CANDIDATES:
            points = self.rng.uniform(low + radius, high - radius, (count, 2))
            good = (np.square(points[:, None] - taken[None]).sum(2) > (radius + _GAP) ** 2).all(1)
            for centre, distance in away:
                good &= np.hypot(*(points - centre).T) > distance
            if good.any():
                x, y = points[good.argmax()]
                return Pose(float(x), float(y), self.yaw() if yaw is None else yaw)
        raise NoRoomError

    def yaw(self) -> float:
        """Uniform over the circle."""
        return float(self.rng.uniform(-np.pi, np.pi))
