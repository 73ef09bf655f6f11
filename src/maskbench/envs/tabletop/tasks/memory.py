"""Tasks 16 and 17: remember where things were."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from maskbench.envs.tabletop.layout import Layout
from maskbench.envs.tabletop.picture import object_image
from maskbench.envs.tabletop.scene import Pose
from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.tasks.put import IN_BASE
from maskbench.envs.tabletop.trial import Goal, PlacingTrial
from maskbench.prompt import Prompt

#: Rows and columns of the grid by which a neighbour lies apart; x grows towards the front camera.
_DIRECTIONS = {"north": (-1, 0), "south": (1, 0), "west": (0, -1), "east": (0, 1)}
_ALIGNED = np.pi / 2


@dataclass(frozen=True)
class ManipulateOldNeighbour(Task):
    """First put {dragged_obj} into {base_obj} then put the object that was previously at its <direction> into the same one.

    rows, columns: of the grid that objects stand on; empty: cells of it that are left free.
    """

    number, name, group = 16, "manipulate_old_neighbor", "memory"
    oracle_max_steps = 4
    rows: int = 3
    columns: int = 2
    empty: int = 1
    base_from_dragged: bool = False

    @property
    def most_objects(self) -> int:
        return 1 + self.rows * self.columns - self.empty

    def build(self, layout: Layout) -> PlacingTrial:
        x, y = self._grid()
        pitch = min(x[1] - x[0], y[1] - y[0])
        base_spec, base_texture = layout.base(self.base_from_dragged), layout.pick(layout.pools.base_textures)
        base = layout.add(base_spec, base_texture, pose=Pose(0.5, 0.25 if self.columns == 2 else 0.38, _ALIGNED))
        cells = list(product(range(self.rows), range(self.columns)))
        skipped = layout.pick_several(cells, self.empty)
        taken: dict[tuple[int, int], int] = {}
        used: list[tuple[str, str]] = []
        for cell in (c for c in cells if c not in skipped):
            spec = layout.dragged()
            texture = layout.pick(layout.pools.dragged_textures, [t for n, t in used if n == spec.name])
            used.append((spec.name, texture))
            scale = min(1.0, 0.96 * pitch / max(spec.largest[:2]))
            pose = Pose(float(x[cell[0]]), float(y[cell[1]]), _ALIGNED)
            taken[cell] = layout.add(spec, texture, size=layout.size(spec, scale), pose=pose)
        pairs = [
            (cell, direction)
            for cell, (direction, (dr, dc)) in product(taken, _DIRECTIONS.items())
            if (cell[0] + dr, cell[1] + dc) in taken
        ]
        cell, direction = layout.pick(pairs)
        dr, dc = _DIRECTIONS[direction]
        first, second = layout.scene[taken[cell]], taken[cell[0] + dr, cell[1] + dc]
        images = {
            "dragged_obj": object_image(first.spec, first.texture, first.size),
            "base_obj": object_image(base_spec, base_texture, layout.scene[base].size),
        }
        text = (
            "First put {dragged_obj} into {base_obj} then put the object that was previously at its "
            f"{direction} into the same {{base_obj}}."
        )
        target = layout.scene[base].pose
        stages = [[Goal(first.id, (target,), IN_BASE)], [Goal(second, (target,), IN_BASE)]]
        others = tuple(i for i in taken.values() if i not in (first.id, second))
        return PlacingTrial(layout.scene, Prompt(text, images), stages, others, early="moved")

    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        if (self.rows, self.columns) == (3, 2):
            return np.array((0.375, 0.5, 0.625)), np.array((-0.25, 0.0))
        return np.linspace(0.32, 0.68, self.rows), np.linspace(-0.38, 0.1, self.columns)


@dataclass(frozen=True)
class PickInOrderThenRestore(Task):
    """Put {dragged_obj} into {base_obj_1} then {base_obj_2}. Finally restore it into its original container.

    distractors: objects inside other bases; the three that are not part of the way have room for three.
    mixed_bases: bases are of different kinds, and scaled by 0.5 to 0.8 where they are not part of the way.
    """

    number, name, group = 17, "pick_in_order_then_restore", "memory"
    oracle_max_steps = 4
    distractors: int = 0
    mixed_bases: bool = False

    @property
    def most_objects(self) -> int:
        return 7 + min(self.distractors, 3)

    def build(self, layout: Layout) -> PlacingTrial:
        poses = [Pose(x, y, 0.0) for x, y in product((0.375, 0.625), (-0.25, 0.0, 0.25))]
        way = layout.pick_several(range(6), 3)  # where it begins, then the two that it is put into
        textures = layout.pick_several(layout.pools.base_textures, 6)
        common = layout.base()
        bases = []
        for i, pose in enumerate(poses):
            spec = layout.base() if self.mixed_bases else common
            scale = float(layout.rng.uniform(0.5, 0.8)) if self.mixed_bases and i not in way else 1.0
            bases.append(layout.add(spec, textures[i], size=layout.size(spec, scale), pose=pose))
        start = poses[way[0]]
        spec, texture = layout.dragged(), layout.pick(layout.pools.dragged_textures)
        dragged = layout.add(spec, texture, pose=Pose(start.x, start.y, layout.yaw()))
        others = []
        for i in [i for i in range(6) if i not in way][: self.distractors]:
            kind = layout.dragged(but=[spec.name])
            pose = Pose(poses[i].x, poses[i].y, layout.yaw())
            others.append(layout.add(kind, layout.pick(layout.pools.dragged_textures), pose=pose))
        images = {"dragged_obj": object_image(spec, texture, layout.scene[dragged].size)}
        for k in (1, 2):
            body = layout.scene[bases[way[k]]]
            images[f"base_obj_{k}"] = object_image(body.spec, body.texture, body.size)
        text = "Put {dragged_obj} into {base_obj_1} then {base_obj_2}. Finally restore it into its original container."
        stages = [[Goal(dragged, (poses[i],), 0.05)] for i in (way[1], way[2], way[0])]
        return PlacingTrial(layout.scene, Prompt(text, images), stages, tuple(others), early="arrived")
