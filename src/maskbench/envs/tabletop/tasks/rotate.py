"""Tasks 3 and 9: turn objects on the spot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskbench.envs.tabletop.layout import Layout
from maskbench.envs.tabletop.objects import ObjectSpec, find_object
from maskbench.envs.tabletop.picture import object_image, scene_image
from maskbench.envs.tabletop.scene import HIGH, LOW, Pose, Scene
from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.trial import Goal, PlacingTrial
from maskbench.prompt import Prompt, PromptImage


def asymmetric(names: tuple[str, ...]) -> list[str]:
    """Objects whose yaw shows."""
    return [n for n in names if find_object(n).asymmetric]


def turned(pose: Pose, degrees: float) -> Pose:
    """Clockwise, as seen from above."""
    return Pose(pose.x, pose.y, pose.yaw - float(np.deg2rad(degrees)))


@dataclass(frozen=True)
class Rotate(Task):
    """Rotate the {dragged_obj} <angle> degrees."""

    number, name, group = 3, "rotate", "instruction following"
    open_textures = "light"
    distractors: int = 1
    angles: tuple[int, ...] = (30, 60, 90, 120, 150)

    @property
    def most_objects(self) -> int:
        return 1 + self.distractors

    def build(self, layout: Layout) -> PlacingTrial:
        spec = layout.dragged(among=asymmetric(layout.pools.dragged))
        texture, angle = layout.pick(layout.pools.dragged_textures), layout.pick(self.angles)
        dragged = layout.add(spec, texture)
        others = [
            layout.add(layout.dragged(), layout.pick(layout.pools.dragged_textures, [texture])) for _ in range(self.distractors)
        ]
        body = layout.scene[dragged]
        prompt = Prompt(f"Rotate the {{dragged_obj}} {angle} degrees.", {"dragged_obj": object_image(spec, texture, body.size)})
        goal = Goal(dragged, (turned(body.pose, angle),), 0.1, yaw=True)
        return PlacingTrial(layout.scene, prompt, [[goal]], tuple(others))


@dataclass(frozen=True)
class Twist(Task):
    """Twist, which is defined by three pairs of pictures; twist all objects of one texture."""

    number, name, group = 9, "twist", "concept grounding"
    oracle_max_steps = 5
    open_textures = "light"
    objects: int = 3
    angles: tuple[int, ...] = (30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 330)

    @property
    def most_objects(self) -> int:
        return self.objects

    def build(self, layout: Layout) -> PlacingTrial:
        pools = layout.pools
        names = asymmetric(pools.dragged)
        texture, angle = layout.pick(pools.dragged_textures), layout.pick(self.angles)
        specs = [layout.dragged(among=names) for _ in range(1 + int(layout.rng.integers(2)))]
        targets = [layout.add(s, texture) for s in specs]
        for _ in range(self.objects - len(targets)):
            layout.add(layout.dragged(among=names), layout.pick(pools.dragged_textures, [texture]))
        images: dict[str, PromptImage] = {}
        for k in (1, 2, 3):
            images |= self._demonstration(layout, k, layout.pick(specs), layout.pick(pools.dragged_textures, [texture]), angle)
        pairs = " ".join(f"From {{before_twist_{k}}} to {{after_twist_{k}}}." for k in (1, 2, 3))
        text = f'"Twist" is defined as rotating object a specific angle. For examples: {pairs} Now twist all {texture} objects.'
        goals = [Goal(i, (turned(layout.scene[i].pose, angle),), 0.05, yaw=True) for i in targets]
        return PlacingTrial(layout.scene, Prompt(text, images), [goals])

    @staticmethod
    def _demonstration(layout: Layout, k: int, spec: ObjectSpec, texture: str, angle: int) -> dict[str, PromptImage]:
        """One object before and after, near the middle of the table: a quarter of its depth, three of its width."""
        x, y = (LOW + HIGH) / 2 + layout.rng.uniform(-0.5, 0.5, 2) * (0.25, 0.75) * (HIGH - LOW)
        pose, size = Pose(float(x), float(y), layout.yaw()), layout.size(spec)
        images = {}
        for name, at in (("before", pose), ("after", turned(pose, angle))):
            scene = Scene()
            scene.add(spec, texture, size, at)
            images[f"{name}_twist_{k}"] = scene_image(scene)
        return images
