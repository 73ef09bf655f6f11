"""The task templates by name (VIMA specification 1.4)."""

from __future__ import annotations

from typing import Any

from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.tasks.concepts import NovelAdjective, NovelAdjectiveAndNoun, NovelNoun
from maskbench.envs.tabletop.tasks.matching import SameShape, SameTexture
from maskbench.envs.tabletop.tasks.memory import ManipulateOldNeighbour, PickInOrderThenRestore
from maskbench.envs.tabletop.tasks.motion import FollowMotion, FollowOrder
from maskbench.envs.tabletop.tasks.put import SceneUnderstanding, VisualManipulation
from maskbench.envs.tabletop.tasks.rearrange import Rearrange, RearrangeThenRestore
from maskbench.envs.tabletop.tasks.rotate import Rotate, Twist
from maskbench.envs.tabletop.tasks.sweep import SweepWithoutExceeding, SweepWithoutTouching
from maskbench.errors import ConfigError, did_you_mean

_CLASSES: tuple[type[Task], ...] = (
    *(VisualManipulation, SceneUnderstanding, Rotate, Rearrange, RearrangeThenRestore, NovelAdjective, NovelNoun),
    *(NovelAdjectiveAndNoun, Twist, FollowMotion, FollowOrder, SweepWithoutExceeding, SweepWithoutTouching),
    *(SameTexture, SameShape, ManipulateOldNeighbour, PickInOrderThenRestore),
)
TASKS: dict[str, type[Task]] = {c.name: c for c in _CLASSES}
#: Names that tasks had in older data.
FORMER_NAMES = {
    "same_color": "same_texture",
    "same_profile": "same_shape",
    "sweep": "sweep_without_exceeding",
    "simple_manipulation": "visual_manipulation",
}


def find_task(name: str, settings: dict[str, Any] | None = None) -> Task:
    """The task called ``name`` with ``settings``; raises ConfigError naming the nearest one."""
    name = FORMER_NAMES.get(name, name)
    if name not in TASKS:
        raise ConfigError(f"no task is called '{name}'. {did_you_mean(name, TASKS)}")
    return TASKS[name](**(settings or {}))
