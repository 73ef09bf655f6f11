"""Tasks 4 and 5: bring objects to where a picture shows them, and back again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from maskbench.envs.tabletop.layout import Layout
from maskbench.envs.tabletop.picture import scene_image
from maskbench.envs.tabletop.scene import Body, Pose, Scene
from maskbench.envs.tabletop.tasks.base import Group, Task
from maskbench.envs.tabletop.tasks.put import IN_BASE
from maskbench.envs.tabletop.trial import Goal, PlacingTrial
from maskbench.prompt import Prompt

_MOST = 3


@dataclass(frozen=True)
class Rearrange(Task):
    """Rearrange to this {scene}.

    sampler:       ``original`` moves 1, 2 or 3 objects (0.4, 0.4, 0.2), and 1 has a distractor; ``fixed3`` moves 3.
    distractors:   of harder variants, whatever is moved.
    conflict_rate: of distractors that stand where an object belongs. The oracle moves these away first; nobody else has to,
                   but an object that is put upon one spoils the episode.
    """

    number, name = 4, "rearrange"
    group: ClassVar[Group] = "goal reaching"
    oracle_max_steps = 5
    open_textures = "light"
    restores: ClassVar[bool] = False
    sampler: Literal["original", "fixed3"] = "original"
    distractors: int = 0
    conflict_rate: float = 0.5

    @property
    def most_objects(self) -> int:
        return _MOST + self.distractors

    def build(self, layout: Layout) -> PlacingTrial:
        count = _MOST if self.sampler == "fixed3" else int(layout.rng.choice((1, 2, 3), p=(0.4, 0.4, 0.2)))
        extra = self.distractors or int(count == 1 and self.sampler == "original")
        ids: list[int] = []
        pairs: list[tuple[str, str]] = []
        for _ in range(count):
            spec = layout.dragged()
            texture = layout.pick(layout.pools.dragged_textures, [t for n, t in pairs if n == spec.name])
            pairs.append((spec.name, texture))
            ids.append(layout.add(spec, texture))
        starts = [layout.scene[i] for i in ids]
        ends = [self._target(layout, body) for body in starts]
        others, moved_away = self._obstacles(layout, extra, starts, ends)
        goals = [Goal(b.id, (pose,), IN_BASE) for b, pose in zip(starts, ends, strict=True)]
        goals += [Goal(i, (self._elsewhere(layout, layout.scene[i]),), IN_BASE, required=False) for i in moved_away]
        shown = Scene()
        for body, pose in zip(starts, ends, strict=True):
            shown.add(body.spec, body.texture, body.size, pose)
        stages = [goals]
        if self.restores:
            order = layout.rng.permutation(len(starts))
            stages.append([Goal(starts[i].id, (starts[i].pose,), IN_BASE) for i in order])
        prompt = Prompt(self._text, {"scene": scene_image(shown)})
        return PlacingTrial(layout.scene, prompt, stages, tuple(others), guarded=False)

    _text: ClassVar[str] = "Rearrange to this {scene}."

    @staticmethod
    def _target(layout: Layout, body: Body) -> Pose:
        """Where an object belongs: free of all that lies on the table, of other targets, and away from where it is."""
        pose = layout.free_pose(body.spec, body.size, away=[(body.position, 2 * IN_BASE)])
        layout.reserve(body, pose)
        return pose

    def _obstacles(self, layout: Layout, count: int, starts: list[Body], ends: list[Pose]) -> tuple[list[int], list[int]]:
        """Distractors, and those of them that stand on a target."""
        others, in_the_way = [], []
        free = list(range(len(ends)))
        for _ in range(count):
            spec = layout.dragged(but=[b.spec.name for b in starts])
            texture = layout.pick(layout.pools.dragged_textures)
            if free and layout.rng.random() < self.conflict_rate:
                target = ends[free.pop(int(layout.rng.integers(len(free))))]
                others.append(layout.add(spec, texture, pose=Pose(target.x, target.y, layout.yaw())))
                in_the_way.append(others[-1])
            else:
                others.append(layout.add(spec, texture))
        return others, in_the_way

    @staticmethod
    def _elsewhere(layout: Layout, body: Body) -> Pose:
        pose = layout.free_pose(body.spec, body.size)
        layout.reserve(body, pose)
        return pose


@dataclass(frozen=True)
class RearrangeThenRestore(Rearrange):
    """Rearrange objects to this setup {scene} and then restore."""

    number, name = 5, "rearrange_then_restore"
    group: ClassVar[Group] = "memory"
    oracle_max_steps = 8
    restores = True
    _text = "Rearrange objects to this setup {scene} and then restore."
