"""The entrypoints as a user runs them: real data, real training, real rollouts, judged against oracles and floors."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def run(script: str, *overrides: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        command(script, *overrides), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=500
    )
    assert result.returncode == code, result.stderr[-3000:]
    return result


def command(script: str, *overrides: str) -> list[str]:
    return [sys.executable, str(ROOT / script), *overrides]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def measured(folder: Path, query: str, metric: str, policy: str = "model") -> float:
    rows = table(folder / "evaluation" / "rollouts.csv")
    return next(float(r["value"]) for r in rows if (r["query"], r["metric"], r["policy"]) == (query, metric, policy))


SMALL = ("dataset.generate.episodes=4000", "dataset.split.train=3000", "dataset.split.validation=500", "dataset.split.test=500")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred steps of the default run."""
    home = tmp_path_factory.mktemp("default")
    run("train.py", *SMALL, "experiment.num_steps=400", "experiment.num_eval_eps=400", "hydra.run.dir=run", cwd=home)
    return home / "run"


def test_the_default_run_learns_every_task_and_stays_above_every_floor(trained: Path) -> None:
    losses = {r["task"]: r for r in table(trained / "evaluation" / "task_losses.csv") if r["factor"] == "total"}
    assert set(losses) == {"bc", "return", "goal", "waypoint", "past", "future", "forward_dynamics", "inverse_dynamics"}
    for row in losses.values():
        noise = (float(row["high"]) - float(row["low"])) / 2
        assert float(row["loss"]) > float(row["floor"]) - noise
    assert float(losses["bc"]["loss"]) < 1.25  # uniform actions: log 4 = 1.386
    assert float(losses["waypoint"]["loss"]) < float(losses["bc"]["loss"]) - 0.1
    assert float(losses["past"]["loss"]) < 5.2  # marginals: 6.9
    assert float(losses["forward_dynamics"]["loss"]) < 1.0  # marginals: 4.4


def test_conditioning_helps_the_same_checkpoint_to_reach_the_goal(trained: Path) -> None:
    reached = {q: measured(trained, q, "success") for q in ("bc", "return", "goal")}
    assert measured(trained, "bc", "success", "random") < 0.02
    assert reached["return"] > reached["bc"]
    assert reached["goal"] > 2 * reached["bc"]


def test_a_run_folder_holds_everything_and_evaluation_needs_no_more(trained: Path, tmp_path: Path) -> None:
    page = (trained / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "data:image/gif" in page
    assert json.loads((trained / "card.json").read_text())["origin"] == "generated"
    elsewhere = tmp_path / "moved"
    subprocess.run(["cp", "-r", str(trained), str(elsewhere)], check=True)
    run("eval.py", f"model.load_dir={elsewhere}", "hydra.run.dir=out", cwd=trained.parent)
    before = table(trained / "evaluation" / "task_losses.csv")
    assert table(trained.parent / "out" / "evaluation" / "task_losses.csv") == before


def test_records_do_not_depend_on_workers_or_batch_size(trained: Path) -> None:
    texts = []
    for workers, envs in ((0, 40), (1, 7), (3, 5)):
        out = f"workers_{workers}"
        shape = (f"experiment.num_workers={workers}", f"experiment.num_envs={envs}", "experiment.num_eval_eps=40")
        run("run_on_env.py", f"model.load_dir={trained}", "query=goal", *shape, f"hydra.run.dir={out}", cwd=trained.parent)
        texts.append((trained.parent / out / "evaluation" / "goal" / "records.jsonl").read_bytes())
    assert texts[0] == texts[1] == texts[2]


def test_a_query_that_cannot_be_rolled_out_is_refused_with_those_that_can(trained: Path) -> None:
    result = run("run_on_env.py", f"model.load_dir={trained}", "query=past", cwd=trained.parent, code=2)
    assert "asks for no next action" in result.stderr
    assert "goal" in result.stderr


def test_one_checkpoint_answers_every_query(trained: Path, tmp_path: Path) -> None:
    shape = (f"model.load_dir={trained}", "experiment.num_eval_eps=300", "evaluation.num_windows=100")
    for name in ("waypoint", "future", "past"):
        run("eval.py", *shape, f"query={name}", f"hydra.run.dir={tmp_path / name}", cwd=trained.parent)
        assert {r["task"] for r in table(tmp_path / name / "evaluation" / "task_losses.csv")} == {name}
    assert not (tmp_path / "past" / "evaluation" / "rollouts.csv").exists()
    hit = {p: measured(tmp_path / "waypoint", "waypoint", "waypoints_hit", p) for p in ("model", "bc", "random", "replay")}
    assert hit["replay"] == 1 > hit["model"] > 2 * hit["bc"] > 0
    assert measured(tmp_path / "waypoint", "waypoint", "waypoint_distance", "replay") == 0
    assert measured(tmp_path / "future", "future", "return") > measured(tmp_path / "future", "future", "return", "random") + 1


def test_finetuning_starts_where_the_run_ended(trained: Path) -> None:
    start = (f"model.load_dir={trained}", "masking=goal", "experiment.num_steps=40", "optimizer.lr=1e-5")
    same = ("model.norm=pre", "model.activation=gelu", "model.hidden=indicator", "model.n_head=4", "model.dropout=0")
    run("train.py", *SMALL, *start, *same, "evaluation=losses", "hydra.run.dir=tuned", cwd=trained.parent)
    first = table(trained.parent / "tuned" / "metrics.csv")[0]
    goal = next(r for r in table(trained / "evaluation" / "task_losses.csv") if (r["task"], r["factor"]) == ("goal", "total"))
    assert float(first["validation/goal/total"]) == pytest.approx(float(goal["loss"]), abs=0.12)


def test_a_run_that_is_killed_and_resumed_equals_one_that_was_not(tmp_path: Path) -> None:
    settings = (*SMALL, "experiment.num_steps=60", "model.dropout=0.1", "trainer.checkpoint_every=4", "trainer.log_every=2")
    settings = (*settings, "trainer.validate_every=20", "evaluation=losses", "evaluation.num_windows=50")
    run("train.py", *settings, "hydra.run.dir=whole", cwd=tmp_path)
    killed = 0
    process = subprocess.Popen(command("train.py", *settings, "hydra.run.dir=cut"), cwd=tmp_path, env=environment())
    for step in (8, 24):
        while process.poll() is None and reached(tmp_path / "cut") < step:
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
        process = subprocess.Popen(command("train.py", "resume=cut"), cwd=tmp_path, env=environment())
    assert process.wait(timeout=300) == 0
    assert killed == 2
    for name in ("checkpoints/last/model.safetensors", "checkpoints/last/optimizer.safetensors", "metrics.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name


TINY = (
    *("dataset.generate.episodes=300", "dataset.split.train=200", "dataset.split.validation=50", "dataset.split.test=50"),
    *("model.n_embd=32", "model.n_head=4", "model.dropout=0", "experiment.batch_size=16", "evaluation.num_windows=50"),
    *("experiment.num_steps=20", "trainer.validate_every=10", "trainer.checkpoint_every=4", "experiment.num_cv_runs=2"),
)


def test_stacked_seeds_are_killed_resumed_finetuned_and_evaluated_like_single_runs(tmp_path: Path) -> None:
    losses = (*TINY, "evaluation=losses")
    run("train.py", *losses, "trainer.stack_seeds=false", "hydra.run.dir=alone", cwd=tmp_path)
    process = subprocess.Popen(command("train.py", *losses, "hydra.run.dir=cut"), cwd=tmp_path, env=environment())
    while process.poll() is None and reached(tmp_path / "cut" / "cv_1") < 8:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert reached(tmp_path / "cut" / "cv_1") >= 8
    result = run("train.py", "resume=cut", cwd=tmp_path)
    assert "training 2 seeds as one model" in result.stderr  # auto: so small a step gains
    for seed in ("cv_0", "cv_1"):
        a, b = (table(tmp_path / r / seed / "evaluation" / "task_losses.csv") for r in ("alone", "cut"))
        assert [float(r["loss"]) for r in b] == pytest.approx([float(r["loss"]) for r in a], rel=1e-4)
    rows = {r["result"]: r for r in table(tmp_path / "cut" / "seeds.csv")}
    assert int(rows["bc loss"]["seeds"]) == 2

    run("eval.py", "model.load_dir=cut/cv_1", "hydra.run.dir=judged", cwd=tmp_path)
    a, b = (table(tmp_path / f / "evaluation" / "task_losses.csv") for f in ("cut/cv_1", "judged"))
    assert a == b
    run("run_on_env.py", "model.load_dir=cut/cv_1", "query=goal", "experiment.num_eval_eps=4", cwd=tmp_path)

    tuned = (*losses, "model.load_dir=cut", "experiment.num_steps=2", "trainer.validate_every=2", "optimizer.lr=1e-9")
    run("train.py", *tuned, "hydra.run.dir=tuned", cwd=tmp_path)
    for seed in ("cv_0", "cv_1"):
        first, best = table(tmp_path / "tuned" / seed / "metrics.csv")[0], tmp_path / "cut" / seed / "metrics.csv"
        least = min(float(r["validation/loss"]) for r in table(best) if r["validation/loss"])
        assert float(first["validation/loss"]) == pytest.approx(least, rel=1e-4)


def reached(folder: Path) -> int:
    """Step of the newest checkpoint."""
    steps = [int(p.name.removeprefix("step-")) for p in (folder / "checkpoints").glob("step-*")]
    return max(steps, default=0)


def test_any_scheme_meets_any_environment(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    envs, schemes = "doorkey,maze2d_medium,pointmass1,walker", "bert,unimask,maskdp,mtm,gpt,bet"
    small = ("debug=fast", "experiment.num_steps=6", "dataset.generate.episodes=24", "experiment.num_eval_steps=40")
    run("train.py", "-m", f"env={envs}", f"masking={schemes}", *small, "hydra.sweep.dir=all", cwd=tmp_path)
    rows = table(tmp_path / "all" / "summary.csv")
    assert {(r["env"], r["masking"]) for r in rows} == {(e, m) for e in envs.split(",") for m in schemes.split(",")}
    assert all(float(r["validation loss"]) > 0 for r in rows)
    assert all(r["bc return"] for r in rows if r["masking"] in ("bert", "unimask", "gpt", "bet"))


def test_baselines_train_act_and_answer_what_they_can(tmp_path: Path) -> None:
    small = ("debug=fast", "experiment.num_steps=6", "dataset.generate.episodes=24", "experiment.num_eval_steps=40")
    envs, masks = "doorkey,maze2d_medium_pomdp", "decision_gpt,decision_transformer,gpt_random"
    run("train.py", "-m", f"env={envs}", f"masking={masks}", *small, "hydra.sweep.dir=causal", cwd=tmp_path)
    run("train.py", "-m", f"env={envs}", "model=mlp", "masking.returns=null,first", *small, "hydra.sweep.dir=mlp", cwd=tmp_path)
    for sweep, jobs in (("causal", 6), ("mlp", 4)):
        rows = table(tmp_path / sweep / "summary.csv")
        assert len(rows) == jobs
        assert all(r["bc return"] and r["return return"] for r in rows)
    asked = {r["task"] for r in table(tmp_path / "causal" / "2" / "evaluation" / "task_losses.csv")}
    assert {"bc", "return", "goal", "waypoint", "past", "future", "forward_dynamics", "inverse_dynamics"} == asked


def test_two_processes_train_one_run(tmp_path: Path) -> None:
    run("train.py", "debug=fast", "trainer=ddp", "evaluation=losses", "hydra.run.dir=run", cwd=tmp_path)
    steps = [int(r["step"]) for r in table(tmp_path / "run" / "metrics.csv")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 20
    assert (tmp_path / "run" / "report.html").is_file()


def test_bet_finds_both_routes_of_the_point_mass(tmp_path: Path) -> None:
    run("train.py", "env=pointmass1", "masking=bet", "experiment.num_steps=4000", "hydra.run.dir=run", cwd=tmp_path)
    assert measured(tmp_path / "run", "bc", "success") >= 0.9
    for route in ("up", "down"):
        assert 0.3 <= measured(tmp_path / "run", "bc", f"mode:{route}") <= 0.7


def test_maskdp_trains_on_published_episodes_and_replay_is_exact(tmp_path: Path, shared_data: Path) -> None:
    pytest.importorskip("mujoco")
    path = shared_data / "maskdp_train" / "walker" / "expert" / "walker_walk"
    settings = (f"dataset.path={path}", "experiment.num_steps=500", "experiment.num_eval_eps=60", "hydra.run.dir=run")
    run("train.py", "env=walker", "masking=maskdp", *settings, cwd=tmp_path)
    losses = [float(r["validation/loss"]) for r in table(tmp_path / "run" / "metrics.csv") if r["validation/loss"]]
    assert min(losses) < 0.4 < 1.0 < losses[0]
    assert measured(tmp_path / "run", "goal", "goal_distance", "replay") < 1e-3
    random = measured(tmp_path / "run", "goal", "goal_distance", "random")
    assert random == pytest.approx(13.4, abs=2)
    assert measured(tmp_path / "run", "goal_open", "goal_distance") < random


def test_mtms_sinusoids_are_predicted_as_well_as_they_can_be(tmp_path: Path) -> None:
    small = ("experiment.num_steps=300", "experiment.batch_size=64", "model.n_embd=32", "trainer.validate_every=300")
    run("train.py", "env=sinusoid", "masking=mtm", *small, "hydra.run.dir=run", cwd=tmp_path)
    (row,) = (r for r in table(tmp_path / "run" / "evaluation" / "task_losses.csv") if r["factor"] == "total")
    assert row["task"] == "future"
    loss, floor = float(row["loss"]), float(row["floor"])
    assert 0.2 < floor < 0.35
    assert -0.01 < loss - floor < 0.03


def test_random_runners_train_and_roll_out_to_their_fall(tmp_path: Path) -> None:
    small = ("dataset.generate.episodes=60", "experiment.num_steps=20", "experiment.num_eval_eps=4", "model.n_embd=32")
    run("train.py", "env=hopper", "masking=mtm", *small, "evaluation.rollout=[bc,return]", "hydra.run.dir=run", cwd=tmp_path)
    assert measured(tmp_path / "run", "bc", "length") < 1000
    assert 0 < measured(tmp_path / "run", "return", "normalised_score") < 10
    assert measured(tmp_path / "run", "bc", "return", "data") > 0


def test_heteromodal_training_plans_in_two_stages_and_its_states_can_be_exported(tmp_path: Path) -> None:
    import numpy as np
    import torch

    from maskbench.app.experiment import build_dataset, load_model
    from maskbench.models.encode import FrozenEncoder

    settings = (*SMALL, "masking=mtm_heteromodal", "dataset.window=5", "experiment.num_steps=150", "experiment.batch_size=64")
    lack = ("dataset.unlabelled.fraction=0.9", "dataset.unlabelled.ratio=1", "dataset.generate.options.beta=4")
    acting = ("evaluation.rollout=[bc,bc_two_stage]", "experiment.num_eval_eps=300", "model.n_embd=64", "optimizer.lr=1e-3")
    result = run("train.py", *settings, *lack, *acting, "hydra.run.dir=run", cwd=tmp_path)
    assert "2700 of 3000" in result.stderr
    assert measured(tmp_path / "run", "bc_two_stage", "return") > measured(tmp_path / "run", "bc", "return", "random") + 1
    run("run_on_env.py", "model.load_dir=run", "query=two_stage", "query.history=2", "experiment.num_eval_eps=20", cwd=tmp_path)
    exported = [sys.executable, "-m", "maskbench", "encode", "model.load_dir=run", "--roles", "state", "--out", "states"]
    subprocess.run(exported, cwd=tmp_path, env=environment(), check=True, capture_output=True, timeout=300)
    model = load_model(str(tmp_path / "run"))
    store = build_dataset(model.config.dataset, model.environment, str(tmp_path / "data")).store
    encoder = FrozenEncoder(model.network, model.normaliser)
    rows = {n: torch.as_tensor(store.array(n)[:500]) for n in encoder.inputs}
    with np.load(tmp_path / "states.npz", allow_pickle=False) as file:
        assert file["representation"].shape == (store.num_steps, encoder.width)
        np.testing.assert_allclose(file["representation"][:500], encoder(rows).numpy(), atol=1e-5)
    card = json.loads((tmp_path / "states.json").read_text())
    assert card["encoded"]["content_hash"] == store.card.content_hash


def test_the_published_cloning_run_lands_in_the_papers_bands_and_above_every_floor(tmp_path: Path) -> None:
    run("train.py", "paper=unimask/doorkey/bc", "hydra.run.dir=run", cwd=tmp_path)
    rows = [r for r in table(tmp_path / "run" / "evaluation" / "task_losses.csv") if r["factor"] == "total"]
    loss = {r["task"]: float(r["loss"]) for r in rows}
    assert len(loss) == 8
    assert 1.05 < loss["bc"] < 1.14
    assert 6.8 < loss["past"] < 7.8
    assert 6.5 < loss["future"] < 7.5
    assert 5.3 < loss["forward_dynamics"] < 6.1
    assert all(float(r["loss"]) > float(r["floor"]) for r in rows)
