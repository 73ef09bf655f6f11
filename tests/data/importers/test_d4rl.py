"""D4RL HDF5 files: where episodes are cut, what is kept, how faults read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskbench.data.importers import find_importer
from maskbench.data.importers.d4rl import D4rlImporter
from maskbench.errors import DataError

h5py = pytest.importorskip("h5py")


def flags(n: int, *rows: int) -> np.ndarray:
    out = np.zeros(n, bool)
    out[list(rows)] = True
    return out


def write(path: Path, n: int = 10, **changes: np.ndarray | None) -> Path:
    count = np.arange(n, dtype=np.float32)
    arrays: dict[str, np.ndarray | None] = {
        "observations": count[:, None] + np.zeros(4, np.float32),
        "actions": count[:, None] * 10 + np.zeros(2, np.float32),
        "rewards": count,
        "terminals": flags(n, 3),
        "timeouts": flags(n, 6),
        "infos/qpos": count[:, None] + np.zeros(2),
        "infos/qvel": -count[:, None] + np.zeros(2),
        "infos/goal": np.ones((n, 2), np.float32),
        **changes,
    }
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            if array is not None:
                file[key] = array
    return path


def test_episodes_end_at_terminals_timeouts_and_the_end_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "maze.hdf5")
    imported = find_importer(path).read(path)
    episodes = list(imported.episodes())
    assert [e.values["state"][:, 0].tolist() for e in episodes] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert [e.terminated for e in episodes] == [True, False, False]
    assert imported.count == 3
    assert all(not e.final for e in episodes)
    np.testing.assert_array_equal(episodes[1].values["action"][:, 0], [40, 50, 60])
    np.testing.assert_array_equal(episodes[1].values["reward"], [[4], [5], [6]])
    np.testing.assert_array_equal(episodes[1].values["physics"], [[4, 4, -4, -4], [5, 5, -5, -5], [6, 6, -6, -6]])
    assert episodes[1].values["physics"].dtype == np.float64
    assert [len(e) for e in imported.episodes()] == [4, 3, 3]


def test_a_horizon_cuts_files_without_timeouts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", timeouts=None)
    assert [len(e) for e in D4rlImporter().read(path, horizon=4).episodes()] == [4, 4, 2]
    assert [len(e) for e in D4rlImporter().read(path, horizon=3).episodes()] == [3, 1, 3, 3]
    assert [e.terminated for e in D4rlImporter().read(path, horizon=3).episodes()] == [False, True, False, False]
    assert [len(e) for e in D4rlImporter().read(path).episodes()] == [4, 6]


def test_next_observations_give_the_final_state(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", next_observations=np.full((10, 4), 0.5, np.float32) + np.arange(10)[:, None])
    assert [e.final["state"][0] for e in D4rlImporter().read(path).episodes()] == [3.5, 6.5, 9.5]


def test_options_choose_factors_and_episodes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5")
    assert D4rlImporter().read(path).spec.names == ("state", "action", "reward", "physics")
    assert D4rlImporter().read(path, simulator=False, goals=True).spec.names == ("state", "action", "reward", "goal")
    assert [len(e) for e in D4rlImporter().read(path, limit=2).episodes()] == [4, 3]


def bad_row() -> np.ndarray:
    array = np.zeros((10, 4), np.float32)
    array[8, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terminals": None}, "missing key 'terminals'"),
        ({"actions": np.zeros((9, 2))}, "key 'actions': expected 10 rows like 'observations'"),
        ({"observations": bad_row()}, "key 'observations': expected finite float32 values; found .* in row 8"),
        ({"rewards": np.zeros((10, 1))}, r"key 'rewards': expected shape \(any\); found \(10, 1\)"),
        ({"actions": np.full((10, 2), b"x")}, "key 'actions': expected numbers"),
        ({"next_observations": np.zeros((10, 3))}, r"key 'next_observations': expected shape \(10, 4\)"),
    ],
)
def test_a_faulty_file_names_file_key_found_and_expected(tmp_path: Path, changes: dict, message: str) -> None:
    path = write(tmp_path / "bad.hdf5", **changes)
    with pytest.raises(DataError, match=message) as caught:
        list(D4rlImporter().read(path).episodes())
    assert str(path) in str(caught.value)


def test_a_file_cut_in_half_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "half.hdf5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"half\.hdf5.*corrupt or truncated"):
        D4rlImporter().read(path)


def test_links_to_other_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "other.hdf5")
    path = write(tmp_path / "link.hdf5", rewards=None)
    with h5py.File(path, "a") as file:
        file["rewards"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "rewards")
    with pytest.raises(DataError, match="link to another file"):
        D4rlImporter().read(path)
