"""Our pick and place does to objects what the original benchmark's recordings show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskbench.data.unpickle import read_pickle
from maskbench.envs.tabletop.actions import PARTS, decode
from maskbench.envs.tabletop.kinematics import KINEMATIC
from maskbench.envs.tabletop.objects import find_object
from maskbench.envs.tabletop.scene import FIRST_ID, Pose, Scene

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "vima"
#: Metres a pixel of the top camera, whose pixels may be off by half of one: twice that where an object is turned over.
PIXEL = 0.51 / 128


def centre(segm: np.ndarray, id: int) -> np.ndarray:
    row, column = np.argwhere(segm == id).mean(0) + 0.5
    return np.array(((row - 64) * PIXEL + 0.5, (column - 128) * PIXEL))


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the published trajectories in ../shared/data/vima")
def test_objects_go_where_recordings_show_them() -> None:
    compared = 0
    for folder in sorted(DATA.glob("*/000000")):
        options = {"stubs": ("vimasim", "vima_bench", "omegaconf"), "names": ("typing.Any",)}
        actions = read_pickle(folder / "action.pkl", **options)
        top = read_pickle(folder / "obs.pkl", **options)["segm"]["top"]
        for t in range(len(top) - 1):
            action = decode(np.concatenate([actions[n][t][: b - a] for n, a, b in PARTS]))
            row, column = int(64 + (action.pose0.x - 0.5) / PIXEL), int(128 + action.pose0.y / PIXEL)
            id = int(top[t][row, column])
            if id < FIRST_ID["suction"] or np.abs(centre(top[t + 1], id) - centre(top[t], id)).max() < PIXEL:
                continue  # the border of what was picked
            scene = Scene()
            x, y = centre(top[t], id)
            scene.add(find_object("round"), "red", (0.3, 0.3, 0.03), Pose(float(x), float(y)))
            assert KINEMATIC.pick_and_place(scene, action) == {5}
            assert np.abs(scene[5].position - centre(top[t + 1], id)).max() < 1.2 * PIXEL, (folder.parent.name, t)
            compared += 1
    assert compared >= 9
