"""Point mass with several demonstrated routes ("multipath" of Behavior Transformers): the smallest test of multi-modality.

``pointmass1`` passes an obstacle above or below; the three routes of ``pointmass2`` all meet at (4, 4), so only history
tells which leg comes next. Source: Shafiullah et al., NeurIPS 2022, and its reproducibility study
(Moalla et al., ReScience C 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from maskbench.envs.base import BatchEnv, Environment, Observation, Start, StepBatch, numbered
from maskbench.envs.raster import Canvas, Colour
from maskbench.errors import EnvError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

if TYPE_CHECKING:
    import gymnasium

MAX_ACTION = 2.0
START_NOISE = 0.1
TARGET_REACH = 0.5


@dataclass(frozen=True)
class Route:
    """A demonstrated path: its way-points, its share of the data and the box ``(x0, y0, x1, y1)`` that tells it apart."""

    name: str
    points: tuple[tuple[float, float], ...]
    weight: float
    box: tuple[float, float, float, float]
    colour: Colour


@dataclass(frozen=True)
class Arena:
    """Start, target (centre of a box of half-width 0.5), outer square ``(low, high)`` on both axes, and routes."""

    start: tuple[float, float]
    target: tuple[float, float]
    bounds: tuple[float, float]
    routes: tuple[Route, ...]


_BLUE, _ORANGE, _GREEN = (46, 110, 200), (230, 130, 30), (60, 160, 90)

ARENAS = {
    1: Arena(
        start=(1, 2),
        target=(5, 2),
        bounds=(-1, 6),
        routes=(
            Route("up", ((1, 2), (2, 2), (2, 3), (2, 4), (3, 4), (4, 4), (4, 3), (4, 2), (5, 2)), 0.5, (2, 3, 4, 5), _ORANGE),
            Route("down", ((1, 2), (2, 2), (2, 1), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2), (5, 2)), 0.5, (2, -1, 4, 1), _BLUE),
        ),
    ),
    2: Arena(
        start=(0, 0),
        target=(8, 8),
        bounds=(-2, 10),
        routes=(
            Route("right", ((0, 0), (4, 0), (4, 4), (4, 8), (8, 8)), 0.3, (3.5, -0.5, 4.5, 0.5), _BLUE),
            Route("diagonal", ((0, 0), (4, 4), (8, 8)), 0.4, (1.5, 1.5, 2.5, 2.5), _GREEN),
            Route("up", ((0, 0), (0, 4), (4, 4), (8, 4), (8, 8)), 0.3, (-0.5, 3.5, 0.5, 4.5), _ORANGE),
        ),
    ),
}


class PointMass(Environment):
    """Walk from the start to the target; +1 and the end inside the target box, -1 and the end outside the arena.

    version:     1 (``pointmass1``: routes up, down) or 2 (``pointmass2``: routes right, diagonal, up).
    fixed_start: False adds N(0, 0.1) to the start of every episode.
    snap:        rounds the position to the integer grid after every step, as the original does.
    spacing:     of generated data: ``grid`` advances by 1 per axis and step, so that data and snapping environment show the
                 same positions; ``legacy`` spaces points as the original does, off the grid on diagonal and last segments.
    noise_scale: standard deviation of the noise on every generated point (the original: 0.1, or 0 "deterministic").

    Factors: ``state`` (2,) position, ``action`` (2,) displacement within +-2 (the original fails outside; here the action
    is clipped and the step reports ``clipped``), ``reward``. Events: ``route:<name>`` on entering a route's box, ``target``,
    ``outside``, ``clipped``.
    """

    queries: ClassVar[tuple[str, ...]] = ("bc", "return", "goal")
    action_range: ClassVar[tuple[float, float]] = (-2.0, 2.0)
    events = ("target", "outside", "clipped")
    horizon = 50

    def __init__(
        self,
        version: int = 1,
        fixed_start: bool = True,
        snap: bool = True,
        spacing: Literal["grid", "legacy"] = "grid",
        noise_scale: float = 0.0,
    ) -> None:
        if version not in ARENAS:
            raise EnvError(f"pointmass has versions {sorted(ARENAS)}; found version={version}")
        if spacing not in ("grid", "legacy"):
            raise EnvError(f"pointmass spaces its data by 'grid' or 'legacy'; found spacing={spacing!r}")
        if noise_scale < 0:
            raise EnvError(f"pointmass needs noise_scale >= 0; found {noise_scale}")
        self.name = f"pointmass{version}"
        self.version = version
        self.arena = ARENAS[version]
        self.fixed_start = fixed_start
        self.snap = snap
        self.spacing = spacing
        self.noise_scale = noise_scale
        self.spec = TrajectorySpec(
            (
                Factor("state", "continuous", "state", shape=(2,)),
                Factor("action", "continuous", "action", shape=(2,)),
                Factor("reward", "continuous", "reward", shape=(1,)),
            )
        )

    def make(self) -> gymnasium.Env[Any, Any]:
        import gymnasium

        from maskbench.envs.single import SingleEnv

        actions = gymnasium.spaces.Box(-MAX_ACTION, MAX_ACTION, (2,), np.float32)
        return SingleEnv(self.make_batch(1), self.spec, actions, success_event="target")

    def make_batch(self, num_slots: int) -> PointMassBatch:
        return PointMassBatch(self.arena, self.horizon, num_slots, self.fixed_start, self.snap)

    def generate(self, episodes: int | range, seed: int, **options: Any) -> Iterator[Episode]:
        """Demonstrations along routes drawn by weight; ``meta["route"]`` names the route.

        ``meta["env_seed"]`` is present where the environment replays the actions to the same positions: fixed start, no
        noise, and no snapping of off-grid points.
        """
        if options:
            raise EnvError(f"pointmass data takes no options, its settings belong to the environment; found {sorted(options)}")
        routes = self.arena.routes
        shares = np.cumsum([r.weight for r in routes])[:-1]
        paths = [route_points(r.points, self.spacing) for r in routes]
        replays = self.fixed_start and self.noise_scale == 0 and (self.spacing == "grid" or not self.snap)
        for episode in numbered(episodes):
            generator = np.random.Generator(np.random.Philox(key=np.array([seed, episode], np.uint64)))
            chosen = int(np.searchsorted(shares, generator.random(), side="right"))
            points = (paths[chosen] + self.noise_scale * generator.standard_normal(paths[chosen].shape)).astype(np.float32)
            hit = _inside(points[1:], _target_box(self.arena))
            yield Episode(
                values={
                    "state": points[:-1],
                    "action": np.diff(points, axis=0),
                    "reward": hit.astype(np.float32)[:, None],
                },
                final={"state": points[-1]},
                terminated=bool(hit[-1]),
                meta={"route": routes[chosen].name, **({"env_seed": 0} if replays else {})},
            )

    def goal(self, env_seed: int) -> Mapping[str, np.ndarray]:
        """The centre of the target box, whatever the seed."""
        return {"state": np.array(self.arena.target, np.float32)}

    def mode(self, episode: Episode) -> str:
        if "route" in episode.meta:
            return str(episode.meta["route"])
        return self.route_of(np.stack((*episode.values["state"], *episode.final.values()))) or ""

    def route_of(self, positions: np.ndarray) -> str | None:
        """Route whose box ``positions`` ``(N, 2)`` enter first, or None: how published rollouts are coloured."""
        inside = np.stack([_inside(positions, r.box) for r in self.arena.routes])
        entered = inside.any(1)
        if not entered.any():
            return None
        first = np.where(entered, inside.argmax(1), len(positions))
        return self.arena.routes[int(first.argmin())].name

    def followed_route(self, positions: np.ndarray, tolerance: float = 0.5) -> str | None:
        """Route that ``positions`` ``(N, 2)`` keep to from start to target, or None: tells mixed legs from a demonstrated
        route. Every position lies within ``tolerance`` of the route, and every way-point within ``tolerance`` of a position."""
        for route in self.arena.routes:
            path = route_points(route.points, "grid")
            gap = np.linalg.norm(np.asarray(positions)[:, None] - path[None], axis=-1)
            if (gap.min(1) <= tolerance).all() and (gap.min(0) <= tolerance).all():
                return route.name
        return None


class PointMassBatch(BatchEnv):
    """``num_slots`` point masses in lock step, float64 inside. Stepping past the end goes on."""

    def __init__(self, arena: Arena, horizon: int, num_slots: int, fixed_start: bool, snap: bool) -> None:
        self.num_slots = num_slots
        self._arena = arena
        self._horizon = horizon
        self._noise = 0.0 if fixed_start else START_NOISE
        self._snap = snap
        self._position = np.tile(np.array(arena.start, np.float64), (num_slots, 1))
        self._elapsed = np.zeros(num_slots, np.int64)
        self._trail = np.tile(self._position[:, None], (1, horizon + 1, 1))

    def reset(self, slots: Sequence[int], seeds: Sequence[int], starts: Sequence[Start | None] | None = None) -> Observation:
        if starts is not None and any(s is not None for s in starts):
            raise EnvError("pointmass begins where its seed says; it has no saved simulator state to start from")
        where = np.asarray(slots, np.int64)
        for slot, seed in zip(slots, seeds, strict=True):
            noise = np.random.Generator(np.random.Philox(int(seed))).standard_normal(2)
            self._position[slot] = self._arena.start + self._noise * noise
            self._trail[slot, 0] = self._position[slot]
        self._elapsed[where] = 0
        return {"state": self._position[where].astype(np.float32)}

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        where, action = np.asarray(slots, np.int64), np.asarray(actions, np.float64)
        if action.shape != (len(where), 2) or not np.isfinite(action).all():
            raise EnvError(f"pointmass needs finite actions of shape {(len(where), 2)}; found {action.shape} {action.tolist()}")
        before = self._position[where]
        after = before + action.clip(-MAX_ACTION, MAX_ACTION)
        if self._snap:
            after = np.round(after)
        self._position[where] = after
        self._elapsed[where] += 1
        self._trail[where, np.minimum(self._elapsed[where], self._horizon)] = after

        low, high = self._arena.bounds
        hit = _inside(after, _target_box(self._arena))
        outside = ~_inside(after, (low, low, high, high))
        happened = {f"route:{r.name}": _inside(after, r.box) & ~_inside(before, r.box) for r in self._arena.routes}
        happened |= {"target": hit, "outside": outside, "clipped": (np.abs(action) > MAX_ACTION).any(1)}
        table = np.stack(list(happened.values()), 1)
        terminated = hit | outside
        return StepBatch(
            observation={"state": after.astype(np.float32)},
            reward=hit.astype(np.float32) - outside.astype(np.float32),
            terminated=terminated,
            truncated=(self._elapsed[where] >= self._horizon) & ~terminated,
            events=tuple(tuple(name for name, yes in zip(happened, row, strict=True) if yes) for row in table.tolist()),
        )

    def render(self, slot: int) -> np.ndarray:
        """``(160, 160, 3)`` uint8: routes in pale lines, target box in green, this episode's trail in dark."""
        canvas = _backdrop(self._arena)
        trail = self._trail[slot, : min(int(self._elapsed[slot]), self._horizon) + 1]
        if len(trail) > 1:
            canvas.line(trail, 0.014 * canvas.view, (40, 44, 60))
        for x, y in trail[:-1]:
            canvas.disc(x, y, 0.014 * canvas.view, (40, 44, 60))
        canvas.disc(float(trail[-1, 0]), float(trail[-1, 1]), 0.03 * canvas.view, (214, 48, 80))
        return canvas.image()


@cache
def route_points(points: tuple[tuple[float, float], ...], spacing: str) -> np.ndarray:
    """Positions ``(N + 1, 2)`` float64 along the way-points, first and last included.

    ``grid`` advances by 1 per axis and step. ``legacy`` takes int(length) points a segment without its end, and as many
    with the end on the last one (at least 2): 8 actions in pointmass1, and 15, 9, 15 in pointmass2.
    """
    corners = np.asarray(points, np.float64)
    parts = []
    for i, (a, b) in enumerate(pairwise(corners)):
        last = i == len(corners) - 2
        if spacing == "grid":
            count = int(np.abs(b - a).max()) + last
        else:
            count = max(int(np.linalg.norm(b - a)), 2 if last else 1)
        parts.append(np.linspace(a, b, count, endpoint=last))
    return np.concatenate(parts)


def _target_box(arena: Arena) -> tuple[float, float, float, float]:
    x, y = arena.target
    return (x - TARGET_REACH, y - TARGET_REACH, x + TARGET_REACH, y + TARGET_REACH)


def _inside(positions: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Which of ``positions`` ``(N, 2)`` lie in ``box``, borders included."""
    low, high = np.array(box[:2]), np.array(box[2:])
    return np.asarray(((positions >= low) & (positions <= high)).all(-1))


def _backdrop(arena: Arena) -> Canvas:
    low, high = arena.bounds
    margin = 0.06 * (high - low)
    side = high - low + 2 * margin
    canvas = Canvas(160, (low - margin, low - margin), side, (206, 208, 214), flip=True)
    canvas.box(low, low, high, high, (252, 252, 250))
    for k in range(int(low) + 1, int(high)):
        canvas.box(k - 0.02, low, k + 0.02, high, (232, 232, 232))
        canvas.box(low, k - 0.02, high, k + 0.02, (232, 232, 232))
    for route in arena.routes:
        canvas.box(*route.box, route.colour, opacity=0.16)
    for route in arena.routes:
        pale = tuple((3 * 255 + 4 * c) // 7 for c in route.colour)
        canvas.line(np.array(route.points), 0.02 * side, (pale[0], pale[1], pale[2]))
    canvas.box(*_target_box(arena), (88, 178, 108), opacity=0.7)
    canvas.disc(*arena.start, 0.02 * side, (120, 124, 134))
    return canvas
