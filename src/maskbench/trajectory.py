"""The words every room shares: factors, trajectories, windows and rollout records.

A trajectory is a grid of cells, factor x timestep. Row ``t`` of an episode holds the state ``s_t``, the action ``a_t``
taken in it, the reward ``r_t`` that this action earned and the return-to-go ``sum_{k >= t} r_k``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from maskbench.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["continuous", "discrete", "image", "text", "objects"]
Role = Literal["state", "action", "return", "goal", "prompt", "reward", "simulator"]

#: Roles that a model may see. ``reward`` and ``simulator`` (saved simulator state) are kept in stores but never modelled.
MODEL_ROLES: tuple[Role, ...] = ("return", "goal", "prompt", "state", "action")


@dataclass(frozen=True)
class Factor:
    """One variable of a trajectory.

    name:    unique in its specification; a part of a split factor is called ``<factor>.<part>``.
    kind:    ``continuous`` values are float32 ``(..., *shape)``; ``discrete`` ones are int64 class indices ``(...)``.
    role:    what it means to policies and environments; masking rules address factors by name or by role.
    shape:   shape of one cell; ``()`` for discrete factors.
    classes: number of classes of a discrete factor.
    offset:  class index = value + offset, for discrete factors that stand for integers (return-to-go).
    parts:   ``(name, start, stop)`` slices of a 1-d continuous factor that may be masked apart (see ``split``).
    """

    name: str
    kind: Kind
    role: Role
    shape: tuple[int, ...] = ()
    classes: int | None = None
    offset: int = 0
    parts: tuple[tuple[str, int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "discrete" and (self.classes is None or self.classes < 2 or self.shape != ()):
            raise DataError(
                f"discrete factor '{self.name}' needs classes >= 2 and shape (); found {self.classes}, {self.shape}"
            )
        if self.kind == "continuous" and (len(self.shape) == 0 or self.classes is not None):
            raise DataError(f"continuous factor '{self.name}' needs a shape and no classes; found {self.shape}, {self.classes}")
        edges = [0, *(stop for _, _, stop in self.parts)]
        if self.parts and (edges[:-1] != [start for _, start, _ in self.parts] or edges[-1] != self.width):
            raise DataError(f"the parts of factor '{self.name}' must tile 0..{self.width}; found {self.parts}")

    @property
    def width(self) -> int:
        """Columns that this factor takes in a dense token: its size, or its number of classes (one-hot)."""
        return int(self.classes) if self.classes is not None else math.prod(self.shape)

    @property
    def parent(self) -> str:
        """Name of the factor that this one was split from, or its own name."""
        return self.name.split(".", 1)[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Storage type: int64 for discrete factors, objects (``str``) for text, bytes for pictures and objects, float64 for
        simulator states, float32 otherwise."""
        if self.kind == "discrete":
            return np.dtype(np.int64)
        if self.kind == "text":
            return np.dtype(object)
        if self.kind in ("image", "objects"):
            return np.dtype(np.uint8)
        return np.dtype(np.float64) if self.role == "simulator" else np.dtype(np.float32)

    def split(self, per_dimension: bool = False, pieces: int | None = None) -> tuple[Factor, ...]:
        """One factor per declared part; per dimension where none is declared or where asked; or ``pieces`` factors of equal
        width, the last one narrower where they do not divide it, called by their columns (``state.0-3``)."""
        if self.kind != "continuous" or len(self.shape) != 1:
            return (self,)
        if pieces is not None:
            width = -(-self.shape[0] // pieces)
            edges = [(a, min(a + width, self.shape[0])) for a in range(0, self.shape[0], width)]
            return tuple(replace(self, name=f"{self.name}.{a}-{b}", shape=(b - a,), parts=()) for a, b in edges)
        dimensions = tuple((str(i), i, i + 1) for i in range(self.shape[0]))
        parts = dimensions if per_dimension or not self.parts else self.parts
        return tuple(replace(self, name=f"{self.name}.{n}", shape=(b - a,), parts=()) for n, a, b in parts)


def part_slice(whole: Factor, part: str) -> slice:
    """Where the part called ``<whole>.<part>`` lies in the last axis of ``whole``; everything for ``whole`` itself."""
    if part == whole.name:
        return slice(None)
    for pieces in (whole.split(), whole.split(per_dimension=True)):
        start = 0
        for piece in pieces:
            if piece.name == part:
                return slice(start, start + piece.width)
            start += piece.width
    columns = re.fullmatch(rf"{re.escape(whole.name)}\.(\d+)-(\d+)", part)
    if columns and int(columns[1]) < int(columns[2]) <= whole.width:
        return slice(int(columns[1]), int(columns[2]))
    raise DataError(f"'{part}' is no part of factor '{whole.name}'. {did_you_mean(part, [p.name for p in whole.split()])}")


@dataclass(frozen=True)
class TrajectorySpec:
    """Ordered factors of a data set, an environment or a checkpoint. Every model width derives from it."""

    factors: tuple[Factor, ...]

    def __post_init__(self) -> None:
        names = self.names
        if len(set(names)) != len(names):
            raise DataError(f"factor names must be unique; found {names}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.factors)

    def __iter__(self) -> Iterator[Factor]:
        return iter(self.factors)

    def __len__(self) -> int:
        return len(self.factors)

    def __getitem__(self, name: str) -> Factor:
        for f in self.factors:
            if f.name == name:
                return f
        raise DataError(f"no factor is called '{name}'. {did_you_mean(name, self.names)}")

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def with_role(self, *roles: Role) -> tuple[Factor, ...]:
        """Factors that play one of ``roles``, in order."""
        return tuple(f for f in self.factors if f.role in roles)

    def select(self, names: Sequence[str]) -> TrajectorySpec:
        """The named factors, in the order of ``names``."""
        return TrajectorySpec(tuple(self[n] for n in names))

    def split(self, names: Sequence[str], per_dimension: bool = False) -> TrajectorySpec:
        """Replaces each named factor by its parts, in place."""
        for n in names:
            self[n]
        pieces = (f.split(per_dimension) if f.name in names else (f,) for f in self.factors)
        return TrajectorySpec(tuple(p for piece in pieces for p in piece))

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(f) for f in self.factors]

    @classmethod
    def from_json(cls, rows: Sequence[Mapping[str, Any]]) -> TrajectorySpec:
        def factor(row: Mapping[str, Any]) -> Factor:
            parts = tuple((str(n), int(a), int(b)) for n, a, b in row.get("parts", ()))
            return Factor(**{**row, "shape": tuple(row["shape"]), "parts": parts})

        return cls(tuple(factor(r) for r in rows))


@dataclass(frozen=True)
class Episode:
    """A whole recording of ``N`` actions, as environments generate it and stores keep it.

    values: one array per factor of the store's specification, each ``(N, *shape)``.
    final:  the state factors after the last action, each ``(*shape)``; empty where unknown.
    """

    values: Mapping[str, np.ndarray]
    final: Mapping[str, np.ndarray] = field(default_factory=dict)
    terminated: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))


@dataclass(frozen=True)
class Window:
    """``B`` slices of ``T`` timesteps.

    values: per factor ``(B, T, *shape)`` float32 or ``(B, T)`` int64.
    valid:  ``(B, T)`` bool, True = recorded, or None where everything is.
    start:  ``(B,)`` int64 timestep of the first row inside its episode, or None.
    known:  ``(B, T, F)`` bool, True = the episode recorded this cell, factors in the order of the model; or None where every
            episode has every factor. A cell that is not known is zero, and is neither shown nor asked.
    prompt: what each episode asks for, a segment of tokens in front of the grid (``tokens.prompt.PromptTokens``), or None.
    """

    values: Mapping[str, Tensor]
    valid: Tensor | None = None
    start: Tensor | None = None
    known: Tensor | None = None
    prompt: Any = None

    @property
    def batch(self) -> int:
        return next(iter(self.values.values())).shape[0]

    @property
    def length(self) -> int:
        return next(iter(self.values.values())).shape[1]

    def rows(self, index: Any) -> Window:
        """The same window for some rows of the batch."""

        def pick(x: Any) -> Any:
            return None if x is None else x[index]

        values = {k: v[index] for k, v in self.values.items()}
        prompt = None if self.prompt is None else self.prompt.rows(index)
        return Window(values, pick(self.valid), pick(self.start), pick(self.known), prompt)


@dataclass(frozen=True)
class EpisodeRecord:
    """The result of one rollout: a pure function of its row of the plan.

    metrics: environment-defined numbers (``goal_distance``, ``normalised_score`` ...).
    events:  ``(timestep, name)`` in order, as the environment reported them.
    trajectory: per factor ``(length, *shape)`` plus ``reward`` ``(length,)``; None unless asked for.
    """

    row: int
    env: str
    env_seed: int
    policy_seed: int
    query: str
    episode_return: float
    length: int
    success: bool | None
    terminated: bool
    metrics: Mapping[str, float] = field(default_factory=dict)
    events: tuple[tuple[int, str], ...] = ()
    trajectory: Mapping[str, np.ndarray] | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything but the trajectory, as plain types."""
        row = asdict(replace(self, trajectory=None))
        del row["trajectory"]
        return row
