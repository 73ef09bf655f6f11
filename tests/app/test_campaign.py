"""Campaigns: order, resumption, parallel runs, failure and interruption. A small script stands in for ``train.py``."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.errors import ConfigError, MaskbenchError

#: Writes when it began and ended; ``sleep=``, ``fail=`` and ``model.load_dir=`` as given; saves a checkpoint on SIGINT.
SCRIPT = """
import sys, time, pathlib
given = dict(a.split("=", 1) for a in sys.argv[1:])
folder = pathlib.Path(given.get("hydra.run.dir") or given["resume"])
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
base = given.get("model.load_dir")
if base is not None:
    assert (pathlib.Path(base) / "report.html").is_file(), "started before its base"
began = time.time()
try:
    time.sleep(float(given.get("sleep", 0)))
except KeyboardInterrupt:
    (folder / "checkpoints" / "last").touch()
    sys.exit(130)
if "fail" in given:
    sys.exit(3)
with (folder / "times.txt").open("a") as file:
    file.write(f"{began} {time.time()} {'resumed' if 'resume' in given else 'started'}\\n")
(folder / "report.html").touch()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def quiet() -> Console:
    return Console(stderr=True, quiet=True)


def times(root: Path, name: str) -> list[list[str]]:
    return [line.split() for line in (root / name / "times.txt").read_text().splitlines()]


def test_finished_runs_are_not_trained_again_and_interrupted_ones_resume(tmp_path: Path, script: Path) -> None:
    root = tmp_path / "runs"
    (root / "b" / "checkpoints").mkdir(parents=True)
    (root / "b" / "checkpoints" / "last").touch()
    campaign = Campaign(root, {"a": [], "b": []}, script=script)
    assert [campaign.state(n) for n in campaign.runs] == ["missing", "interrupted"]
    campaign.run(quiet())
    campaign.run(quiet())
    assert [t[2] for t in times(root, "a")] == ["started"]
    assert [t[2] for t in times(root, "b")] == ["resumed"]


def test_only_what_is_wanted_is_trained_and_whatever_is_finished_is_given(tmp_path: Path, script: Path) -> None:
    root = tmp_path / "runs"
    campaign = Campaign(root, {"a": [], "b": [], "c": []}, script=script)
    assert list(campaign.run(quiet(), ["b"])) == ["b"]
    assert list(campaign.run(quiet(), ["a"])) == ["a", "b"]
    assert [campaign.state(n) for n in campaign.runs] == ["finished", "finished", "missing"]


def test_what_ended_before_its_first_checkpoint_begins_anew(tmp_path: Path, script: Path) -> None:
    written = tmp_path / "runs" / "a" / ".hydra"
    written.mkdir(parents=True)
    Campaign(tmp_path / "runs", {"a": []}, script=script).run(quiet())
    assert not written.exists()  # where it stands, train.py refuses the folder
    assert [t[2] for t in times(tmp_path / "runs", "a")] == ["started"]


def test_two_workers_train_at_the_same_time_and_a_finetune_waits_for_its_base(tmp_path: Path, script: Path) -> None:
    root = tmp_path / "runs"
    runs = {"tuned/0": [f"model.load_dir={root / 'base/0'}"], "base/0": ["sleep=1"], "other": ["sleep=1"]}
    Campaign(root, runs, workers=2, script=script).run(quiet())
    (base,), (other,), (tuned,) = (times(root, n) for n in ("base/0", "other", "tuned/0"))
    assert float(base[0]) < float(other[1])  # they overlap
    assert float(other[0]) < float(base[1])
    assert float(tuned[0]) >= float(base[1])


def test_a_failed_run_is_named_and_the_others_are_kept(tmp_path: Path, script: Path) -> None:
    root = tmp_path / "runs"
    campaign = Campaign(root, {"good": [], "bad": ["fail=1"], "later": []}, workers=1, script=script)
    with pytest.raises(MaskbenchError, match="'bad' ended with code 3"):
        campaign.run(quiet())
    assert campaign.state("good") == "finished"
    assert campaign.state("later") == "missing"


def test_runs_that_wait_for_each_other_are_refused(tmp_path: Path, script: Path) -> None:
    runs = {"a": [f"model.load_dir={tmp_path / 'b'}"], "b": [f"model.load_dir={tmp_path / 'a'}"]}
    with pytest.raises(ConfigError, match="wait for each other"):
        Campaign(tmp_path, runs, script=script).run(quiet())


def test_a_signal_lets_the_runs_at_work_save_before_the_campaign_ends(tmp_path: Path, script: Path) -> None:
    root = tmp_path / "runs"
    code = (
        "from pathlib import Path; from rich.console import Console; from maskbench.app.campaign import Campaign\n"
        f"Campaign(Path({str(root)!r}), {{'a': ['sleep=60'], 'b': ['sleep=60']}}, 2, Path({str(script)!r})).run(Console())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not all((root / n / "checkpoints").is_dir() for n in "ab") and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Stopped by SIGTERM" in errors
    assert all((root / n / "checkpoints" / "last").is_file() for n in "ab")
