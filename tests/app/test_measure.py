"""Rollouts are judged again from their records, by any definition."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from maskbench.app.config.compose import load
from maskbench.app.measure import recompute
from maskbench.app.results import MODES
from maskbench.errors import DataError
from maskbench.rollout.records import write_records
from maskbench.trajectory import EpisodeRecord


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An evaluation of block push with two successes and a failure, without weights or data."""
    from omegaconf import OmegaConf

    env = load("train", ["env=blockpush"]).env
    node = {"env": {"name": env.name, "_target_": env.target, "horizon": env.horizon, "min_yaw": env.min_yaw}}
    (tmp_path / ".hydra").mkdir()
    OmegaConf.save(OmegaConf.create(node), tmp_path / ".hydra" / "config.yaml")
    won = (
        *((5, n) for n in ("moved:red", "first:red", "R1")),
        (20, "entered:red:red"),
        (20, "route:red-red"),
        (20, "in:red:red"),
    )
    won = (*won, (30, "moved:green"), *((149, n) for n in ("entered:green:green", "route:green-green", "in:green:green", "P2")))
    records = [EpisodeRecord(i, "blockpush", i, i, "bc", 1.0, 150, True, True, events=won) for i in range(2)]
    records.append(EpisodeRecord(2, "blockpush", 2, 2, "bc", 0.0, 300, False, False))
    folder = tmp_path / "evaluation" / "bc"
    write_records(records, folder)
    (folder / MODES).write_text(json.dumps({"red-red>green-green": 250, "green-green>red-red": 250}))
    return tmp_path


def test_every_version_is_written_as_csv_and_json(run: Path) -> None:
    found = {}
    for version in ("paper", "strict", "repstudy_legacy"):
        found[version] = {r.metric: r.value for r in recompute(run, version)}  # type: ignore[arg-type]
        content = json.loads((run / "evaluation" / f"metrics_{version}.json").read_text())
        assert (content["environment"], content["version"]) == ("blockpush", version)
        assert content["modes"] == {"bc": {"red-red>green-green": 2, "none": 1}}
        with (run / "evaluation" / f"metrics_{version}.csv").open() as file:
            written = {r["metric"]: r["value"] for r in csv.DictReader(file)}
        assert float(written["P2"]) == found[version]["P2"]
        assert {m["metric"] for m in content["metrics"]} == set(written)
    assert found["paper"]["P2"] == found["strict"]["P2"] == pytest.approx(2 / 3)
    assert found["repstudy_legacy"]["P2"] == 0
    assert found["paper"]["R1"] == pytest.approx(2 / 3)
    assert found["strict"]["R1"] == 0
    assert found["paper"]["mode_coverage"] == 0.5


def test_a_folder_without_rollouts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rollout records"):
        recompute(tmp_path, "paper")
