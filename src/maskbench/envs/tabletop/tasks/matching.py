"""Tasks 14 and 15: put everything of the same texture, or of the same profile, into a base."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from maskbench.envs.tabletop.layout import Layout, NoRoomError
from maskbench.envs.tabletop.objects import ObjectSpec, find_object
from maskbench.envs.tabletop.picture import object_image
from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.trial import Goal, PlacingTrial
from maskbench.prompt import Prompt

_MATCHING = 2
_EPS, _EPS_BOWL = 0.125, 0.0875
#: Both tasks may also drag this one.
_ALSO = ("shorter block",)

Kind = tuple[ObjectSpec, str]


@dataclass(frozen=True)
class _Matching(Task):
    """One base, two objects that match it in ``shared``, and distractors that do not."""

    shared: ClassVar[str]
    oracle_max_steps = 4
    distractors: int = 1
    base_from_dragged: bool = False

    @property
    def most_objects(self) -> int:
        return 1 + _MATCHING + self.distractors

    def build(self, layout: Layout) -> PlacingTrial:
        base_spec, base_texture, matching, others = self._kinds(layout)
        base = layout.add(base_spec, base_texture)
        goals = [layout.add(*kind) for kind in matching]
        distractors = tuple(layout.add(*kind) for kind in others)
        pose, eps = layout.scene[base].pose, _EPS_BOWL if base_spec.name == "bowl" else _EPS
        image = object_image(base_spec, base_texture, layout.scene[base].size)
        text = f"Put all objects with the same {self.shared} as {{base_obj}} into it."
        return PlacingTrial(
            layout.scene, Prompt(text, {"base_obj": image}), [[Goal(i, (pose,), eps) for i in goals]], distractors
        )

    @abstractmethod
    def _kinds(self, layout: Layout) -> tuple[ObjectSpec, str, list[Kind], list[Kind]]:
        """The base, its texture, the objects that match and those that do not."""


@dataclass(frozen=True)
class SameTexture(_Matching):
    """Put all objects with the same texture as {base_obj} into it."""

    number, name, group = 14, "same_texture", "reasoning"
    shared = "texture"

    def _kinds(self, layout: Layout) -> tuple[ObjectSpec, str, list[Kind], list[Kind]]:
        texture = layout.pick(layout.pools.textures)
        base = layout.base(self.base_from_dragged)
        names = (*layout.pools.dragged, *_ALSO)
        matching = [(layout.dragged(among=names), texture) for _ in range(_MATCHING)]
        others = [(layout.dragged(among=names), layout.pick(layout.pools.textures, [texture])) for _ in range(self.distractors)]
        return base, texture, matching, others


@dataclass(frozen=True)
class SameShape(_Matching):
    """Put all objects with the same profile as {base_obj} into it."""

    number, name, group = 15, "same_shape", "reasoning"
    shared = "profile"

    def _kinds(self, layout: Layout) -> tuple[ObjectSpec, str, list[Kind], list[Kind]]:
        names = (*layout.pools.dragged, *_ALSO)
        base = layout.base(self.base_from_dragged)
        if base.profile == "other":
            raise NoRoomError  # nothing says what has the profile of a letter
        fitting = [n for n in names if find_object(n).profile == base.profile]
        odd = [n for n in names if find_object(n).profile != base.profile]
        textures = layout.pick_several(layout.pools.dragged_textures, _MATCHING)
        matching = [(layout.dragged(among=fitting), t) for t in textures]
        others = [(layout.dragged(among=odd), layout.pick(layout.pools.dragged_textures)) for _ in range(self.distractors)]
        return base, layout.pick(layout.pools.base_textures), matching, others
