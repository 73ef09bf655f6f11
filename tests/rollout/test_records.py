import math
from pathlib import Path

import numpy as np
import pytest

from maskbench.errors import DataError
from maskbench.rollout.records import read_records, write_records
from maskbench.trajectory import EpisodeRecord

PLAIN = EpisodeRecord(3, "toy", 1, 2, "bc", 0.1 + 0.2, 4, None, True, {"score": math.nan, "x": 1.0}, ((0, "key"), (3, "goal")))
FILMED = EpisodeRecord(
    4, "toy", 1, 2, "goal", 1.0, 2, True, False, trajectory={"state": np.eye(2, dtype=np.float32), "final.state": np.zeros(2)}
)


def test_records_and_trajectories_come_back_as_written(tmp_path: Path) -> None:
    write_records([PLAIN, FILMED], tmp_path)
    plain, filmed = read_records(tmp_path)
    assert math.isnan(plain.metrics["score"])
    assert (plain.episode_return, plain.events, plain.success) == (PLAIN.episode_return, PLAIN.events, None)
    assert plain.trajectory is None
    assert filmed.trajectory is not None
    assert sorted(filmed.trajectory) == ["final.state", "state"]
    np.testing.assert_array_equal(filmed.trajectory["state"], np.eye(2))
    assert filmed.to_json() == FILMED.to_json()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["records.jsonl", "trajectories.npz"]


def test_writing_again_leaves_no_trajectories_of_before(tmp_path: Path) -> None:
    write_records([FILMED], tmp_path)
    write_records([PLAIN], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["records.jsonl"]


def test_broken_lines_and_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rollout records"):
        read_records(tmp_path)
    write_records([PLAIN], tmp_path)
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write('{"row": 1}\n')
    with pytest.raises(DataError, match="line 2"):
        read_records(tmp_path)


def test_pickled_trajectories_are_not_loaded(tmp_path: Path) -> None:
    write_records([PLAIN], tmp_path)
    np.savez(tmp_path / "trajectories.npz", **{"3/state": np.array([{}], dtype=object)})
    with pytest.raises(DataError, match="holds no trajectories"):
        read_records(tmp_path)
