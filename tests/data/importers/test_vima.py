"""Released VIMA trajectories: the genuine ones as published, written ones come back, malicious ones are refused."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from maskbench.data.importers import find_importer
from maskbench.data.importers.vima import (
    VimaTrajectory,
    picture_spec,
    read_trajectory,
    trajectories,
    write_trajectories,
)
from maskbench.data.store import EpisodeStore
from maskbench.errors import DataError
from maskbench.objects import observation_cells, prompt_cells, unpacked
from maskbench.prompt import Prompt, PromptImage, PromptObject

GENUINE = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "vima"
genuine = pytest.mark.skipif(not GENUINE.is_dir(), reason="the genuine trajectories are not here")
VIEWS = ("front", "top")


def made(steps: int = 2, seed: int = 3) -> VimaTrajectory:
    random = np.random.default_rng(seed)
    smooth = np.repeat(np.repeat(random.integers(0, 256, (steps + 1, 3, 8, 16), dtype=np.uint8), 16, 2), 16, 3)
    ids = random.integers(0, 8, (steps + 1, 128, 256)).astype(np.uint8)
    image = PromptImage(
        "scene",
        {v: smooth[0] for v in VIEWS},
        {v: ids[0] for v in VIEWS},
        (PromptObject(2, "block", "red"), PromptObject(3, "pan", "tiger")),
    )
    actions = random.uniform(0.25, 0.5, (steps, 12)).astype(np.float32)
    objects = (PromptObject(5, "bowl", "blue"), PromptObject(6, "heart", "red"))
    meta = {"task": "rotate", "seed": 7, "success": True, "failure": False, "difficulty": "easy"}
    return VimaTrajectory(
        Prompt("Look at {scene}.", {"scene": image}),
        {v: smooth for v in VIEWS},
        {v: ids for v in VIEWS},
        np.zeros(steps + 1, np.int64),
        actions,
        objects,
        meta,
    )


def test_what_is_written_comes_back(tmp_path):
    item = made()
    assert write_trajectories(tmp_path, [item, made(3, 4)]) == 2
    back = read_trajectory(tmp_path / "rotate" / "000000")
    np.testing.assert_allclose(back.actions, item.actions, atol=1e-6)
    assert back.prompt.text == item.prompt.text
    assert back.objects == item.objects
    assert back.prompt.images["scene"].objects == item.prompt.images["scene"].objects
    for view in VIEWS:
        assert np.array_equal(back.segm[view], item.segm[view])
        assert np.array_equal(back.prompt.images["scene"].rgb[view], item.prompt.images["scene"].rgb[view])
        assert np.abs(back.rgb[view].astype(int) - item.rgb[view].astype(int)).mean() < 12  # JPEG
    assert pickle.loads((tmp_path / "rotate" / "metadata.pkl").read_bytes()) == {
        "n_steps_min": 2, "n_steps_max": 3, "n_steps_mean": 2.5, "seed_min": 7, "seed_max": 7,
    }  # fmt: skip


def test_written_positions_are_metres_as_in_the_benchmark(tmp_path):
    write_trajectories(tmp_path, [made()])
    written = pickle.loads((tmp_path / "rotate" / "000000" / "action.pkl").read_bytes())
    assert written["pose0_position"].shape == (2, 2)
    assert ((written["pose0_position"] >= [0.25, -0.5]) & (written["pose0_position"] <= [0.75, 0.5])).all()


def test_a_store_can_be_made_of_them(tmp_path):
    write_trajectories(tmp_path, [made(), made(3, 4)])
    found = find_importer(tmp_path)
    assert found.format == "vima"
    imported = found.read(tmp_path)
    store = EpisodeStore.from_episodes(imported.spec, imported.episodes())
    assert store.lengths.tolist() == [2, 3]
    assert store.array("rgb_top").dtype == np.uint8
    assert imported.spec == picture_spec()


def test_existing_folders_and_unknown_tasks_are_refused(tmp_path):
    write_trajectories(tmp_path, [made()])
    with pytest.raises(DataError, match="already exists"):
        write_trajectories(tmp_path, [made()])
    with pytest.raises(DataError, match="rotate"):
        list(trajectories(tmp_path, ["rotat"]))
    with pytest.raises(DataError, match="expected a folder"):
        list(trajectories(tmp_path / "nothing"))


class Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("file", ["trajectory.pkl", "obs.pkl", "action.pkl"])
def test_a_malicious_pickle_is_refused_before_anything_runs(tmp_path, file):
    write_trajectories(tmp_path, [made()])
    mark = tmp_path / "ran"
    path = tmp_path / "rotate" / "000000" / file
    path.write_bytes(pickle.dumps({"prompt": Payload(f"touch {mark}")}))
    with pytest.raises(DataError, match="refuses to build"):
        read_trajectory(path.parent)
    assert not mark.exists()


def test_faulty_files_are_named(tmp_path):
    write_trajectories(tmp_path, [made()])
    folder = tmp_path / "rotate" / "000000"
    (folder / "rgb_top" / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"rgb_top/1\.jpg"):
        read_trajectory(folder)
    (folder / "obs.pkl").write_bytes(pickle.dumps({"segm": {}, "ee": np.zeros(3, np.int64)}))
    with pytest.raises(DataError, match="segm front"):
        read_trajectory(folder)


@genuine
def test_the_genuine_trajectories_load_as_published():
    found = {t.meta["task"]: t for t in trajectories(GENUINE)}
    names = "follow_order novel_adj pick_in_order_then_restore rotate scene_understanding twist visual_manipulation"
    assert sorted(found) == names.split()
    assert {n: len(t.actions) for n, t in found.items() if len(t.actions) > 1} == {
        "follow_order": 2, "pick_in_order_then_restore": 3, "twist": 2,
    }  # fmt: skip
    first = found["visual_manipulation"]
    assert first.prompt.text == "Put the {dragged_obj_1} into the {base_obj}."
    boxes = {n: unpacked(prompt_cells(i))[1][0, 0].tolist() for n, i in first.prompt.images.items()}
    assert boxes == {"dragged_obj_1": [128, 76, 22, 22], "base_obj": [128, 79, 34, 38]}
    legacy = {n: unpacked(prompt_cells(i, legacy_ids=True))[1][0].tolist() for n, i in first.prompt.images.items()}
    assert set(map(str, legacy.values())) == {"[[127, 63, 127, 255]]"}
    assert [(o.id, o.name, o.texture) for o in first.objects] == [
        (5, "container", "purple swirl"), (6, "letter M", "yellow and blue polka dot"), (7, "cross", "granite"),
    ]  # fmt: skip
    for item in found.values():
        assert item.meta["success"] is True
        assert ((item.actions[:, [0, 6]] >= 0.25) & (item.actions[:, [0, 6]] <= 0.75)).all()
        assert np.allclose(np.linalg.norm(item.actions[:, 2:6], axis=1), 1, atol=1e-5)
        cells = observation_cells(item.rgb, item.segm, item.effector, len(item.objects))
        assert unpacked(cells)[2][0].any(0).all()  # every object of the scene is seen in some view at the start


@genuine
def test_every_genuine_pick_lies_on_an_object():
    for item in trajectories(GENUINE):
        x, y = item.actions[:, 0], item.actions[:, 1]
        rows, columns = (64 + (x - 0.5) / 0.51 * 128).astype(int), (128 + y / 1.02 * 256).astype(int)
        for t, (row, column) in enumerate(zip(rows, columns, strict=True)):
            assert item.segm["top"][t, row - 1 : row + 2, column - 1 : column + 2].max() >= 5


@genuine
def test_genuine_trajectories_survive_being_written(tmp_path):
    items = list(trajectories(GENUINE, ["twist"]))
    write_trajectories(tmp_path, items)
    back = next(iter(trajectories(tmp_path)))
    np.testing.assert_allclose(back.actions, items[0].actions, atol=1e-6)
    assert back.prompt.text == items[0].prompt.text
    assert back.meta["seed"] == items[0].meta["seed"]
    cells = [unpacked(observation_cells(t.rgb, t.segm, t.effector, 3))[1] for t in (items[0], back)]
    assert np.array_equal(*cells)


@genuine
def test_heights_are_kept_where_they_are_wanted():
    item = next(iter(trajectories(GENUINE, ["rotate"], z=True)))
    assert item.actions.shape == (1, 14)
