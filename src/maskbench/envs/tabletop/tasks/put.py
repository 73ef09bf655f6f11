"""Tasks 1 and 2: put one object into another."""

from __future__ import annotations

from dataclasses import dataclass

from maskbench.envs.tabletop.layout import Layout
from maskbench.envs.tabletop.objects import find_object
from maskbench.envs.tabletop.picture import object_image, scene_image
from maskbench.envs.tabletop.scene import Pose, Scene
from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.trial import Goal, PlacingTrial
from maskbench.prompt import Prompt

IN_BASE = 0.1


def add_distractors(layout: Layout, count: int, but: list[tuple[str, str]], avoid_objects: tuple[str, ...] = ()) -> list[int]:
    """Objects of either role in textures of either role, none of them a pair of ``but`` nor of a kind to be avoided."""
    ids = []
    for _ in range(count):
        name = layout.pick((*layout.pools.dragged, *layout.pools.base), avoid_objects)
        texture = layout.pick(layout.pools.textures, [t for n, t in but if n == name])
        ids.append(layout.add(find_object(name), texture))
    return ids


@dataclass(frozen=True)
class VisualManipulation(Task):
    """Put the {dragged_obj_1} into the {base_obj}."""

    number, name, group = 1, "visual_manipulation", "instruction following"
    distractors: int = 1
    base_from_dragged: bool = False

    @property
    def most_objects(self) -> int:
        return 2 + self.distractors

    def build(self, layout: Layout) -> PlacingTrial:
        base_spec = layout.base(self.base_from_dragged)
        base_texture, texture = layout.pick(layout.pools.base_textures), layout.pick(layout.pools.dragged_textures)
        spec = layout.dragged(but=[base_spec.name])
        base, dragged = layout.add(base_spec, base_texture), layout.add(spec, texture)
        others = add_distractors(layout, self.distractors, [(base_spec.name, base_texture), (spec.name, texture)])
        scene = layout.scene
        images = {
            "base_obj": object_image(base_spec, base_texture, scene[base].size),
            "dragged_obj_1": object_image(spec, texture, scene[dragged].size),
        }
        return PlacingTrial(
            scene,
            Prompt("Put the {dragged_obj_1} into the {base_obj}.", images),
            [[Goal(dragged, (scene[base].pose,), IN_BASE)]],
            tuple(others),
        )


@dataclass(frozen=True)
class SceneUnderstanding(Task):
    """Put the <texture> object in {scene} into the <texture> object."""

    number, name, group = 2, "scene_understanding", "instruction following"
    distractors: int = 1
    scene_distractors: int = 1
    base_from_dragged: bool = False

    @property
    def most_objects(self) -> int:
        return 2 + self.distractors

    def build(self, layout: Layout) -> PlacingTrial:
        pools = layout.pools
        base_spec = layout.base(self.base_from_dragged)
        spec = layout.dragged(but=[base_spec.name])
        texture = layout.pick(pools.dragged_textures)
        base_texture = layout.pick(pools.base_textures, [texture])
        base, dragged = layout.add(base_spec, base_texture), layout.add(spec, texture)
        others = [self._distractor(layout, spec.name, texture, base_spec.name, base_texture) for _ in range(self.distractors)]

        shown = Layout(layout.rng, pools, "suction")
        shown.add(spec, texture, size=layout.scene[dragged].size)
        used = [texture]
        for _ in range(self.scene_distractors):
            used.append(shown.pick(pools.dragged_textures, used))
            shown.add(shown.dragged(), used[-1])
        prompt = Prompt(
            f"Put the {texture} object in {{scene}} into the {base_texture} object.", {"scene": scene_image(shown.scene)}
        )
        return PlacingTrial(layout.scene, prompt, [[Goal(dragged, self._bases(layout.scene, base), IN_BASE)]], tuple(others))

    @staticmethod
    def _distractor(layout: Layout, name: str, texture: str, base_name: str, base_texture: str) -> int:
        if layout.rng.random() < 0.5:
            return layout.add(layout.dragged(but=[name, base_name]), texture)
        return layout.add(find_object(base_name), layout.pick(layout.pools.textures, [texture, base_texture]))

    @staticmethod
    def _bases(scene: Scene, base: int) -> tuple[Pose, ...]:
        wanted = scene[base]
        return tuple(b.pose for b in scene if b.texture == wanted.texture and b.spec.name == wanted.spec.name)
