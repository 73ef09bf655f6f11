"""BeT release arrays: batch-major and time-major layouts, masks, faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskbench.data.importers import find_importer
from maskbench.data.importers.bet import LAYOUTS, BetImporter
from maskbench.errors import DataError

LENGTHS = (3, 5, 1)


def write(folder: Path, name: str, **changes: np.ndarray | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    layout = LAYOUTS[name]
    mask = (np.arange(5)[None] < np.array(LENGTHS)[:, None]).astype(np.float32)
    draw = np.random.default_rng(0)
    observations, actions = draw.normal(size=(3, 5, 6)), draw.normal(size=(3, 5, 2))
    observations[mask == 0] = np.nan
    arrays = {"observations": observations, "actions": actions, "mask": mask, **changes}
    for key, array in arrays.items():
        if array is not None:
            np.save(folder / getattr(layout, key), array.swapaxes(0, 1) if layout.time_major and array.ndim > 1 else array)
    return folder


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_every_layout_gives_the_valid_steps_of_every_episode(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    imported = find_importer(tmp_path).read(tmp_path)
    assert imported.count == 3
    for _ in range(2):
        episodes = list(imported.episodes())
        assert tuple(len(e) for e in episodes) == LENGTHS
        assert all(e.values["state"].shape[1:] == (6,) and e.values["action"].shape[1:] == (2,) for e in episodes)
    expected = np.random.default_rng(0).normal(size=(3, 5, 6))[1].astype(np.float32)
    np.testing.assert_array_equal(episodes[1].values["state"], expected)


def test_the_release_folder_needs_a_subset(tmp_path: Path) -> None:
    write(tmp_path / "blockpush", "blockpush")
    write(tmp_path / "kitchen", "kitchen")
    assert BetImporter().read(tmp_path, subset="kitchen", limit=2).count == 2
    with pytest.raises(DataError, match="found blockpush, kitchen; say which with subset="):
        BetImporter().read(tmp_path)
    with pytest.raises(DataError, match="Did you mean 'kitchen'"):
        BetImporter().read(tmp_path, subset="kitchens")
    with pytest.raises(DataError, match="expected the arrays of 'pointmass'"):
        BetImporter().read(tmp_path, subset="pointmass")


def gap() -> np.ndarray:
    mask = np.ones((3, 5))
    mask[1, 2] = 0
    return mask


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": gap()}, "masks.npy: episode 1: expected ones followed by zeros"),
        ({"mask": np.zeros((3, 5))}, "episode 0: expected ones followed by zeros, at least one"),
        ({"mask": None}, "masks.npy: the file does not exist"),
        ({"actions": np.zeros((3, 4, 2))}, r"actions.npy: key 'actions': expected shape \(3, 5, any\); found \(3, 4, 2\)"),
        ({"actions": np.full((3, 5, 2), np.inf)}, "key 'episode 0': expected finite float32 values; found .*inf.* in row 0"),
        ({"actions": np.full((3, 5, 2), "x")}, "key 'actions': expected numbers"),
    ],
)
def test_a_faulty_file_names_file_key_found_and_expected(tmp_path: Path, changes: dict, message: str) -> None:
    write(tmp_path, "pointmass", **changes)
    with pytest.raises(DataError, match=message):
        list(BetImporter().read(tmp_path).episodes())


def test_object_arrays_and_truncated_files_are_never_unpickled(tmp_path: Path) -> None:
    write(tmp_path, "pointmass")
    np.save(tmp_path / "actions.npy", np.full((3, 5, 2), None), allow_pickle=True)
    with pytest.raises(DataError, match=r"actions\.npy: expected a readable \.npy array"):
        BetImporter().read(tmp_path)
    write(tmp_path, "pointmass")
    whole = (tmp_path / "actions.npy").read_bytes()
    (tmp_path / "actions.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"actions\.npy: expected a readable \.npy array"):
        BetImporter().read(tmp_path)
