"""The command lines of Behavior Transformers' reproducibility study, as written there, on small data."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

SIZES = {
    "pointmass1": ("dataset.generate.episodes=300",),
    "blockpush": ("dataset.generate.episodes=4", "dataset.split.validation=1", "dataset.split.test=1"),
    "kitchen": ("dataset.generate.episodes=4", "dataset.split.validation=1", "dataset.split.test=1"),
}
#: What keeps a run of seconds short; none of it is needed.
SHORT = ("experiment.num_eval_eps=2", "evaluation.num_windows=20", "evaluation.rollout=[bc]")


def call(cwd: Path, script: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / script), *overrides]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def newest(folder: Path) -> Path:
    """``<date>/<job_id>`` below ``folder``."""
    return max((p.parent for p in folder.glob("*/*/.hydra")), key=lambda p: p.stat().st_mtime)


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(params=["pointmass1", "blockpush", "kitchen"])
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Path]:
    """Environment, working directory and run folder after the study's first command."""
    name = request.param
    if name != "pointmass1":
        pytest.importorskip("mujoco")
    if name == "kitchen" and importlib.util.find_spec("gymnasium_robotics") is None:
        pytest.skip("gymnasium_robotics is not installed")
    call(tmp_path, "train.py", f"env={name}", "experiment.num_prior_epochs=1", "masking=bet", *SIZES[name], *SHORT)
    return name, tmp_path, newest(tmp_path / "train_runs" / f"train_{name}")


def test_the_studys_first_two_commands_work_as_written(trained: tuple[str, Path, Path]) -> None:
    name, home, run = trained
    load = f"model.load_dir={run}"
    call(home, "run_on_env.py", f"env={name}", "experiment.num_eval_eps=1", load)
    played = newest(home / "eval_runs" / f"eval_{name}")
    rows = {r["metric"]: r for r in table(played / "evaluation" / "rollouts.csv") if r["policy"] == "model"}
    assert rows["length"]["n"] == "1"
    wanted = {"pointmass1": "mode:up", "blockpush": "P2", "kitchen": "p_4"}[name]
    assert 0 <= float(rows[wanted]["value"]) <= 1
    window = table_of_windows(home, run, played)
    assert window[0] == window[1]  # evaluation looks at as many timesteps as training did
    command = [sys.executable, "-m", "maskbench", "metrics", str(played), "--version", "repstudy_legacy"]
    subprocess.run(command, cwd=home, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True, capture_output=True)
    assert (played / "evaluation" / "metrics_repstudy_legacy.json").is_file()


def table_of_windows(home: Path, *runs: Path) -> list[int]:
    from omegaconf import OmegaConf

    return [OmegaConf.load(run / ".hydra" / "config.yaml").dataset.window for run in runs]


def test_environments_one_at_a_time_in_lock_step_and_in_processes_play_the_same(tmp_path: Path) -> None:
    line = ("env=pointmass1", "masking=bet", "experiment.num_steps=20", *SIZES["pointmass1"], *SHORT)
    call(tmp_path, "train.py", *line, "hydra.run.dir=run")
    shapes = {
        "serial": ("experiment.vectorized_env=False",),
        "vector": ("experiment.vectorized_env=True", "experiment.num_envs=5"),
        "async": ("experiment.vectorized_env=True", "experiment.async_envs=True", "experiment.num_envs=2"),
    }
    texts = set()
    for name, shape in shapes.items():
        call(tmp_path, "run_on_env.py", "model.load_dir=run", "experiment.num_eval_eps=12", *shape, f"hydra.run.dir={name}")
        texts.add((tmp_path / name / "evaluation" / "bc" / "records.jsonl").read_bytes())
    assert len(texts) == 1
    pytest.importorskip("imageio_ffmpeg")
    call(tmp_path, "run_on_env.py", "model.load_dir=run", "experiment.record_video=True", "experiment.num_eval_eps=2",
         "hydra.run.dir=film")  # fmt: skip
    assert (tmp_path / "film" / "evaluation" / "rollouts_bc.mp4").stat().st_size > 500


def test_the_studys_names_of_sampling_options_mean_ours(tmp_path: Path) -> None:
    line = ("env=pointmass1", "masking=bet", "experiment.num_steps=20", *SIZES["pointmass1"], *SHORT)
    call(tmp_path, "train.py", *line, "hydra.run.dir=run")
    pairs = {
        "experiment.action_update_every=3": "query.commit_steps=3",
        "experiment.enable_offsets=False": "query.offsets=false",
        "experiment.action_batch_size=2": "query.action_batch=2",
    }
    texts = []
    for k, spelling in enumerate(spelling for pair in pairs.items() for spelling in pair):
        call(tmp_path, "run_on_env.py", "model.load_dir=run", "experiment.num_eval_eps=4", spelling, f"hydra.run.dir={k}")
        texts.append((tmp_path / str(k) / "evaluation" / "bc" / "records.jsonl").read_bytes())
    assert texts[::2] == texts[1::2]
    assert len(set(texts)) == len(pairs)


def test_seeds_are_trained_together_or_alone_and_evaluated_together_or_alone(tmp_path: Path) -> None:
    line = ("env=pointmass1", "masking=bet", "experiment.num_steps=20", *SIZES["pointmass1"], *SHORT)
    call(tmp_path, "train.py", *line, "experiment.num_cv_runs=2", "hydra.run.dir=both")
    call(tmp_path, "train.py", *line, "experiment.num_cv_runs=2", "experiment.cv_run_idx=1", "hydra.run.dir=second")
    assert not (tmp_path / "second" / "cv_0").exists()
    a, b = (table(tmp_path / run / "cv_1" / "metrics.csv") for run in ("both", "second"))
    assert float(a[-1]["validation/loss"]) == pytest.approx(float(b[-1]["validation/loss"]), rel=1e-3)
    call(tmp_path, "run_on_env.py", "model.load_dir=both", "experiment.num_eval_eps=3", "hydra.run.dir=all")
    assert [p.name for p in sorted((tmp_path / "all").glob("cv_*"))] == ["cv_0", "cv_1"]
    assert next(r for r in table(tmp_path / "all" / "seeds.csv") if r["result"] == "bc return")["seeds"] == "2"
    call(tmp_path, "run_on_env.py", "model.load_dir=both", "experiment.cv_run_idx=1", "experiment.num_eval_eps=3",
         "hydra.run.dir=one")  # fmt: skip
    texts = [(tmp_path / run / "evaluation" / "bc" / "records.jsonl").read_bytes() for run in ("one", "all/cv_1")]
    assert texts[0] == texts[1]


def test_keys_are_swept_and_searched(tmp_path: Path) -> None:
    line = ("env=pointmass1", "masking=bet", "experiment.num_steps=10", *SIZES["pointmass1"], *SHORT)
    call(tmp_path, "train.py", "-m", *line, "head.action.num_bins=2,3", "hydra.sweep.dir=swept")
    assert [r["head.action.num_bins"] for r in table(tmp_path / "swept" / "summary.csv")] == ["2", "3"]
    pytest.importorskip("optuna")
    call(tmp_path, "train.py", "-m", "sweep=optuna", "sweep.trials=2", *line, "hydra.sweep.dir=searched")
    assert len(table(tmp_path / "searched" / "summary.csv")) == 2
