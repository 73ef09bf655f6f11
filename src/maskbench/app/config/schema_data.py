"""The ``dataset`` and ``tokens`` groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from maskbench.app.config.decode import Bound

Count = Annotated[int, Bound(least=1)]
CountOrNone = Annotated[int, Bound(least=0)]
Fraction = Annotated[float, Bound(above=0, below=1)]
ModelledRole = Literal["state", "action", "return"]


@dataclass(frozen=True)
class Generate:
    """Episodes that the environment's own expert makes when no recorded data is given."""

    episodes: Count
    seed: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Split:
    """Episodes per part: a count, a fraction of all, or (one of them) null for the rest; ``seed=None`` keeps their order."""

    train: Count | Fraction | None
    validation: CountOrNone | Fraction | None
    test: CountOrNone | Fraction | None
    seed: int | None


@dataclass(frozen=True)
class Returns:
    """How the return-to-go factor is made from rewards."""

    mode: Literal["sum", "mean", "none"]
    scale: Annotated[float, Bound(above=0)]
    with_time: bool
    horizon: Count | None = None
    current: bool = True


@dataclass(frozen=True)
class Sampling:
    """Which windows a batch holds."""

    by: Literal["window", "episode", "length"]
    short: Literal["pad", "skip", "error"]
    stride: Count
    legacy_slicing: bool
    # runs of earlier versions do not have these
    goal_frames: CountOrNone = 0
    goal_drop: Annotated[float, Bound(least=0, below=1)] = 0.1
    hindsight: Literal["none", "last", "random", "later", "ahead"] = "none"
    reach: Annotated[int, Bound(least=2)] = 64
    final: bool = False
    beginnings: bool = False
    shuffle_slots: Literal["none", "episode", "observation"] = "none"


@dataclass(frozen=True)
class Unlabelled:
    """Training episodes that lack a factor (``maskbench.data.labels``); ``ratio`` is how batches take turns."""

    factor: str
    fraction: CountOrNone | Annotated[float, Bound(least=0, below=1)]
    seed: Annotated[int, Bound(least=0)]
    keep: bool
    ratio: Count | None


#: Changes to instructions (``maskbench.tokens.perturb``).
Change = Literal[
    "noop",
    "reworded",
    "gobbledygook_word",
    "gobbledygook_tokens",
    "swapped_words",
    "unknown_words",
    "textual",
    "textual_no_noun",
    "textual_no_texture",
    "textual_generic_noun",
    "different_instruction",
]


@dataclass(frozen=True)
class Dataset:
    """The ``dataset`` group: episodes, their split, returns, scaling and windows."""

    path: str | None
    format: str
    generate: Generate
    split: Split
    returns: Returns
    normalise: Mapping[ModelledRole, Literal["none", "standard", "minmax"]]
    window: Count
    sampling: Sampling
    place: Literal["auto", "ram", "mmap"]
    # runs of earlier versions do not have these
    normalise_floor: Annotated[float, Bound(least=0)] = 1e-4
    unlabelled: Unlabelled = Unlabelled("action", 0, 0, True, None)
    tasks: tuple[str, ...] = ()
    qualities: tuple[Literal["expert", "sup", "semi", "unsup"], ...] = ()
    limit: Count | None = None
    perturb: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Tokens:
    """How cells become tokens (``maskbench.tokens.layout``)."""

    by: Literal["timestep", "factor", "role", "dimension"]
    order: Literal["time", "stream"]
    inputs: tuple[Literal["return", "goal", "prompt", "state", "action"], ...]
    factors: tuple[str, ...] | None
    split: tuple[str, ...]
    pieces: Mapping[str, Count] = field(default_factory=dict)
