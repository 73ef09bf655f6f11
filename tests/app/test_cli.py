"""Command lines as users type them, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Runs an entry point and reports afterwards whether torch came in.
PROBE = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    sys.stdout.write("\\ntorch" if "torch" in sys.modules else "\\nlight")
"""

#: A task for the run path: writes what it was given, fails for seed 7.
STUB = """
from maskbench.app.cli import main
from maskbench.errors import DataError

def run(config, run_dir):
    if config.experiment.seed == 7:
        raise DataError("seed 7 is no good")
    (run_dir / "done.txt").write_text(f"{config.env.name} {config.experiment.seed}")
    return (config.optimizer.lr - 1e-3) ** 2

if __name__ == "__main__":
    main("train", run)
"""


@dataclass
class Result:
    code: int
    out: str
    err: str


def call(cwd: Path, *arguments: str) -> Result:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)
    return Result(done.returncode, done.stdout, done.stderr)


def probe(cwd: Path, script: str, *arguments: str) -> Result:
    return call(cwd, "-c", PROBE, str(ROOT / script), *arguments)


BAD = {
    "unknown option": (["env=dorkey"], "Did you mean 'doorkey'?"),
    "unknown nested option": (["paper=bet/pointmas1"], "Did you mean 'bet/pointmass1'?"),
    "group without an option": (["model=null"], "Valid: autoencoder"),
    "several options of a group": (["env=[doorkey,walker]"], "expected one option"),
    "many values without -m": (["experiment.seed=0,1"], "--multirun"),
    "unknown group": (["envv=doorkey"], "Did you mean 'env'?"),
    "unknown key": (["experiment.batch_sise=8"], "Did you mean 'batch_size'?"),
    "unknown key behind +": (["+experiment.batch_sise=8"], "Did you mean 'batch_size'?"),
    "unknown key behind ++": (["++trainer.precison=bf16"], "Did you mean 'precision'?"),
    "key without its group": (["lr=0.1"], "There is optimizer.lr"),
    "deleted required key": (["~experiment.seed"], "required and missing"),
    "deleted group": (["~optimizer"], "cannot be deleted"),
    "text for a number": (["experiment.num_steps=many"], "expected an integer; found 'many'"),
    "fraction for a count": (["experiment.batch_size=2.5"], "experiment.batch_size"),
    "number for a group": (["dataset=3"], "expected one option; found '3'"),
    "negative learning rate": (["optimizer.lr=-0.1"], "above 0"),
    "ratio outside (0, 1)": (["masking=maskdp", "env=walker", "masking.train.ratios=[0.5,1.5]"], "masking.train.ratios[1]"),
    "unknown literal": (["trainer.precision=fp16"], "Did you mean 'bf16'?"),
    "unknown device": (["experiment.device=gpu"], "auto, cpu, cuda, mps"),
    "foreign target": (["model._target_=os.system"], "cannot be used here"),
    "wrong target argument": (["masking.train.ratio=0.5"], "masking.train.ratio: unknown key"),
    "causal scheme, bidirectional model": (["masking=gpt", "model=encoder"], "needs model=decoder"),
    "bidirectional scheme, causal model": (["masking=unimask", "model=decoder"], "BernoulliMask is bidirectional"),
    "autoencoder on stacked tokens": (["masking=maskdp", "tokens=stacked", "env=walker"], "token per factor"),
    "window longer than episodes": (["dataset.window=11"], "env.horizon=10"),
    "heads do not divide width": (["model.n_embd=102"], "multiple of model.n_head"),
    "regression of classes": (["head.action.kind=mse"], "is discrete"),
    "normalised classes": (["dataset.normalise.state=standard"], "is discrete"),
    "environment without a simulator": (["env=carla"], "CARLA 0.9.13 server"),
    "unknown definition": (["metrics.version=loose"], "one of paper, strict, repstudy_legacy"),
    "unknown query": (["evaluation.rollout=[bcc]"], "Did you mean 'bc'?"),
    "target of a query without one": (["evaluation.rollout=[bc]", "query.target=3.0"], "takes no target"),
    "two stages towards a goal": (["query=two_stage", "query.name=goal"], "two_stage plans for query=bc or return"),
    "return target in words": (["query=return", "query.target=best"], "a percentage such as 90%"),
    "binned classes": (["head.state.kind=uniform_bins"], "is discrete"),
    "bins without values": (["env=pointmass1", "head.action.kind=given_bins"], "values that cells may take"),
    "pieces of scalars": (["tokens=per_dimension", "tokens.pieces={state:2}"], "every scalar a token"),
    "all episodes unlabelled": (["dataset.unlabelled.fraction=1.0"], "dataset.unlabelled.fraction"),
    "nothing to alternate with": (["dataset.unlabelled.ratio=1", "dataset.unlabelled.keep=false"], "nothing to alternate"),
    "alternating epochs": (["dataset.unlabelled.ratio=1", "experiment.num_prior_epochs=1"], "have no epochs"),
    "pattern of neighbours": (
        ["masking=mtm_pattern", "masking.train.name=fd", "dataset.window=1", "masking.tasks=[bc]"],
        "2 time",
    ),
    "split beyond the episodes": (["dataset.generate.episodes=100"], "dataset.split"),
    "missing data": (["dataset.path=nowhere"], "does not exist"),
    "no run to start from": (["model.load_dir=nowhere"], "model.load_dir"),
    "no run to resume": (["resume=nowhere"], "resume"),
    "mask of another length": (["masking=custom", "dataset.window=9"], "expected 9 numbers"),
    "unreadable override": (["experiment.seed"], "expected key=value"),
    "unknown reference": (["experiment.name=${nope}"], "nope"),
    "unknown flag": (["--mutirun"], "Did you mean '--multirun'?"),
    "one bad job of many": (["-m", "experiment.seed=0,1,x"], "experiment.seed=x"),
    "interval without search": (["-m", "optimizer.lr=interval(0.1,1)"], "sweep=optuna"),
    "resuming many jobs": (["-m", "resume=nowhere", "experiment.seed=0,1"], "leave -m out"),
    "search without -m": (["sweep=optuna"], "add -m"),
    "bad search space": (["-m", "sweep=optuna", "model.n_head=choice(8,7)"], "multiple of model.n_head"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD)
def test_mistakes_are_one_paragraph_and_write_nothing(tmp_path: Path, arguments: list[str], says: str) -> None:
    result = probe(tmp_path, "train.py", *arguments)
    message = " ".join(result.err.split())
    assert result.code == 2, result.err
    assert says in message
    assert "Traceback" not in message
    assert "\n\n" not in result.err.strip()
    assert message.startswith("train.py: ")
    assert result.out == "\nlight"
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_bad_value_is_named(tmp_path: Path) -> None:
    own = tmp_path / "own" / "env"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("name: mine\n_target_: maskbench.envs.doorkey.DoorKey\nsise: 3\n")
    result = probe(tmp_path, "train.py", "--config-dir", "own", "env=mine", "dataset=doorkey")
    message = " ".join(result.err.split())
    assert result.code == 2
    assert "env.sise: unknown key. Did you mean 'size'?" in message
    assert "env=mine" in message


@pytest.mark.parametrize("script", ["eval.py", "run_on_env.py"])
def test_evaluation_asks_for_a_run(tmp_path: Path, script: str) -> None:
    result = probe(tmp_path, script)
    assert (result.code, result.out) == (2, "\nlight")
    assert "model.load_dir is missing" in result.err
    (tmp_path / "runs" / "0" / ".hydra").mkdir(parents=True)
    (tmp_path / "runs" / "0" / ".hydra" / "config.yaml").touch()
    result = probe(tmp_path, script, "model.load_dir=runs")
    assert result.code == 2
    assert "it holds runs: 0" in result.err


@pytest.mark.parametrize("script", ["train.py", "eval.py", "run_on_env.py"])
def test_help_is_a_page_without_torch_in_under_two_seconds(tmp_path: Path, script: str) -> None:
    begin = time.perf_counter()
    result = probe(tmp_path, script, "--help")
    seconds = time.perf_counter() - begin
    assert result.code == 0
    assert result.out.endswith("\nlight")
    assert f"python {script}" in result.out
    assert {"doorkey", "doorkey16", "walker"} <= set(result.out.replace("|", " ").split())
    assert seconds < 2 or os.getloadavg()[0] > 1
    assert list(tmp_path.iterdir()) == []


def test_cfg_job_prints_the_composition_and_runs_nothing(tmp_path: Path) -> None:
    result = probe(tmp_path, "train.py", "env=pointmass1", "masking=bet", "--cfg", "job", "--resolve")
    assert result.code == 0
    assert "name: train_pointmass1" in result.out
    assert "_target_: maskbench.models.decoder.Decoder" in result.out
    assert result.out.endswith("\nlight")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    (tmp_path / "stub.py").write_text(STUB)
    return tmp_path


def done(folder: Path) -> dict[str, str]:
    return {p.parent.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("done.txt")}


def test_a_run_has_a_folder_of_its_own(stub: Path) -> None:
    for _ in range(2):
        assert call(stub, "stub.py", "env=walker", "debug=fast").code == 0
    runs = done(stub)
    assert len(runs) == 2
    for run in runs:
        root, name, date, job = run.split("/")
        assert (root, name) == ("train_runs", "train_walker")
        time.strptime(date, "%Y-%m-%d")
        clock, _, unique = job.partition("_")
        time.strptime(clock, "%H-%M-%S")
        assert len(unique) == 6
        assert int(unique, 16) >= 0
        assert (stub / run / ".hydra" / "overrides.yaml").is_file()


def test_multirun_has_a_child_per_job_below_the_name_of_the_run(stub: Path) -> None:
    assert call(stub, "stub.py", "env=walker", "-m", "experiment.seed=3,4").code == 0
    runs = {r.rsplit("/", 1)[1]: (r, text) for r, text in done(stub).items()}
    assert {k: v[1] for k, v in runs.items()} == {"0": "walker 3", "1": "walker 4"}
    assert all(r.startswith("train_runs/train_walker/") for r, _ in runs.values())
    assert not (stub / "train_runs" / "train_doorkey").exists()


def test_multirun_over_environments_has_a_neutral_parent(stub: Path) -> None:
    assert call(stub, "stub.py", "-m", "env=doorkey,walker").code == 0
    assert all(r.startswith("train_runs/multirun/") for r in done(stub))
    assert sorted(done(stub).values()) == ["doorkey 0", "walker 0"]


def test_multirun_sweeps_keys_that_no_file_sets(stub: Path) -> None:
    arguments = ["masking=multitask", "masking.train.schemes.bc.tiled=true,false"]
    assert call(stub, "stub.py", "-m", *arguments).code == 0
    assert len(done(stub)) == 2


def test_a_failing_run_ends_with_a_paragraph(stub: Path) -> None:
    result = call(stub, "stub.py", "experiment.seed=7")
    assert (result.code, result.err) == (2, "train.py: seed 7 is no good\n")


def test_the_other_jobs_of_a_multirun_go_on(stub: Path) -> None:
    result = call(stub, "stub.py", "-m", "experiment.seed=7,8")
    assert result.code == 2
    assert "job 0: seed 7 is no good" in result.err
    assert "Traceback" not in result.err
    assert list(done(stub).values()) == ["doorkey 8"]


def test_ctrl_c_ends_with_130(stub: Path) -> None:
    (stub / "stub.py").write_text(STUB.replace("raise DataError(", "raise KeyboardInterrupt("))
    result = call(stub, "stub.py", "experiment.seed=7")
    assert result.code == 130
    assert "Traceback" not in result.err


def test_resume_runs_in_the_folder_of_the_run(stub: Path) -> None:
    assert call(stub, "stub.py", "env=walker", "experiment.seed=3").code == 0
    (run,) = done(stub)
    assert call(stub, "stub.py", f"resume={run}", "experiment.seed=4").code == 0
    assert done(stub) == {run: "walker 4"}


def test_jobs_run_in_parallel_processes(stub: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert call(stub, "stub.py", "-m", "launcher=joblib", "experiment.seed=1,2").code == 0
    assert sorted(done(stub).values()) == ["doorkey 1", "doorkey 2"]


def test_search_continues_its_study(stub: Path) -> None:
    optuna = pytest.importorskip("optuna")
    for _ in range(2):
        result = call(stub, "stub.py", "-m", "sweep=optuna", "sweep.trials=3", "experiment.seed=0")
        assert result.code == 0, result.err
    path = str(stub / "train_runs" / "optuna.journal")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))
    study = optuna.load_study(study_name="train_doorkey", storage=storage)
    assert len(study.trials) == 6
    assert len({t.params["optimizer.lr"] for t in study.trials}) == 6
    assert all(t.value == pytest.approx((t.params["optimizer.lr"] - 1e-3) ** 2) for t in study.trials)
    assert "best of 6 trials" in result.err
    assert len(list(stub.rglob("best.yaml"))) == 2
    folders = {p.parent.name for p in stub.rglob("done.txt")}
    assert folders == {str(i) for i in range(6)}  # jobs are numbered as trials are


def test_a_search_whose_every_trial_fails_stops(stub: Path) -> None:
    pytest.importorskip("optuna")
    result = call(stub, "stub.py", "-m", "sweep=optuna", "sweep.trials=3", "experiment.seed=7")
    assert result.code == 2
    assert "seed 7 is no good" in result.err
    assert len(list(stub.glob("train_runs/train_doorkey/*/*/0"))) == 1


def test_package_commands_help_without_torch(tmp_path: Path) -> None:
    for arguments in (["--help"], ["data", "--help"], ["masks", "show", "--help"]):
        probe_module = PROBE.replace("runpy.run_path(sys.argv[0], ", "runpy.run_module('maskbench', ")
        result = call(tmp_path, "-c", probe_module, "maskbench", *arguments)
        assert result.code == 0, result.err
        assert result.out.endswith("\nlight")


def test_package_commands_refuse_mistakes_in_a_paragraph(tmp_path: Path) -> None:
    result = call(tmp_path, "-m", "maskbench", "data", "generate", "env=dorkey")
    assert result.code == 2
    assert "Did you mean 'doorkey'?" in result.err
    assert "Traceback" not in result.err


def test_entry_points_are_thin() -> None:
    for script in ("train.py", "eval.py", "run_on_env.py"):
        assert len((ROOT / script).read_text().splitlines()) < 40
