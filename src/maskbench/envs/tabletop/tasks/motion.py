"""Tasks 10 and 11: repeat what three frames show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskbench.envs.tabletop.layout import Layout
from maskbench.envs.tabletop.objects import find_object
from maskbench.envs.tabletop.picture import object_image, scene_image
from maskbench.envs.tabletop.scene import Pose, Scene
from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.trial import Goal, PlacingTrial
from maskbench.prompt import Prompt, PromptImage

_MOVES = 2
_RADIUS = 0.19
_EPS = 0.1


@dataclass(frozen=True)
class FollowMotion(Task):
    """Follow this motion for {dragged_obj}: {frame_0} {frame_1} {frame_2}."""

    number, name, group = 10, "follow_motion", "one-shot imitation"
    oracle_max_steps = 2
    points: int = 5
    distractors: int = 1
    scene_distractors: int = 1

    @property
    def most_objects(self) -> int:
        return 1 + self.distractors

    def build(self, layout: Layout) -> PlacingTrial:
        angles = 2 * np.pi * np.arange(self.points) / self.points
        circle = np.stack((0.5 + _RADIUS * np.cos(angles), _RADIUS * np.sin(angles)), 1)
        at = int(layout.rng.integers(self.points))
        path = [at]
        for _ in range(_MOVES):
            path.append((path[-1] + int(layout.rng.choice((-1, 1)))) % self.points)
        yaw = layout.yaw()
        poses = [Pose(float(circle[p][0]), float(circle[p][1]), yaw) for p in path]

        spec, texture = layout.dragged(), layout.pick(layout.pools.dragged_textures)
        dragged = layout.add(spec, texture, pose=poses[0])
        size, kinds = layout.scene[dragged].size, [spec.name]
        others = [self._bystander(layout, kinds, path, circle, k) for k in range(self.distractors)]
        shown = Layout(layout.rng, layout.pools, "suction")
        shown.reserve(layout.scene[dragged], poses[0])
        bystanders = [self._bystander(shown, [spec.name], path, circle, k) for k in range(self.scene_distractors)]
        images: dict[str, PromptImage] = {"dragged_obj": object_image(spec, texture, size)}
        for k, pose in enumerate(poses):
            frame = Scene()
            frame.add(spec, texture, size, pose)
            for body in (shown.scene[i] for i in bystanders):
                frame.add(body.spec, body.texture, body.size, body.pose)
            images[f"frame_{k}"] = scene_image(frame)
        text = "Follow this motion for {dragged_obj}: {frame_0} {frame_1} {frame_2}."
        stages = [[Goal(dragged, (pose,), _EPS)] for pose in poses[1:]]
        return PlacingTrial(layout.scene, Prompt(text, images), stages, tuple(others), strict=True)

    @staticmethod
    def _bystander(layout: Layout, kinds: list[str], path: list[int], circle: np.ndarray, k: int) -> int:
        """The first stands at the circle's centre, others outside of the circle."""
        spec = layout.dragged(but=kinds)
        texture = layout.pick(layout.pools.dragged_textures)
        if k == 0:
            return layout.add(spec, texture, pose=Pose(0.5, 0.0, layout.yaw()))
        size = layout.size(spec)
        away = [(circle[p], 0.17) for p in set(path)]
        return layout.add(spec, texture, size=size, pose=layout.free_pose(spec, size, away=away))


@dataclass(frozen=True)
class FollowOrder(Task):
    """Stack objects in this order {frame_0} {frame_1} {frame_2}."""

    number, name, group = 11, "follow_order", "one-shot imitation"
    oracle_max_steps = 4
    open_textures = "light"
    stacked: int = 3
    distractors: int = 1

    @property
    def most_objects(self) -> int:
        return self.stacked + self.distractors

    def build(self, layout: Layout) -> PlacingTrial:
        columns = (-0.25, 0.0, 0.25) if self.stacked == 3 else np.linspace(-0.4, 0.4, self.stacked)
        spec = layout.dragged()
        textures = layout.pick_several(layout.pools.dragged_textures, self.stacked)
        yaw = np.pi / 2
        places = [Pose(0.5, float(y), yaw) for y in columns]
        ids = [layout.add(spec, texture, pose=place) for texture, place in zip(textures, places, strict=True)]
        others = []
        for _ in range(self.distractors):
            kind = find_object(layout.pick(layout.pools.dragged, [spec.name]))
            size = layout.size(kind)
            away = [(np.array(p[:2]), 0.15) for p in places]
            pose = layout.free_pose(kind, size, away=away)
            others.append(layout.add(kind, layout.pick(layout.pools.dragged_textures), size=size, pose=pose))

        stacks = [[i] for i in ids]
        shown = Scene()
        for i in ids:
            body = layout.scene[i]
            shown.add(spec, body.texture, body.size, body.pose)
        numbered = dict(zip(ids, list(shown.bodies), strict=True))
        images = {"frame_0": scene_image(shown)}
        stages: list[list[Goal]] = []
        for k in range(_MOVES):
            source = layout.pick([i for i, s in enumerate(stacks) if s])
            target = layout.pick([i for i in range(len(stacks)) if i != source])
            id = stacks[source].pop()
            stacks[target].append(id)
            stages.append([Goal(id, (places[target],), _EPS)])
            shown.move(numbered[id], places[target])
            images[f"frame_{k + 1}"] = scene_image(shown)
        text = "Stack objects in this order {frame_0} {frame_1} {frame_2}."
        return PlacingTrial(layout.scene, Prompt(text, images), stages, tuple(others), strict=True)
