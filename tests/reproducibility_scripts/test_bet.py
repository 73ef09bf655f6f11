"""The scripts of Behavior Transformers: every run composes, and verdicts follow from numbers."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from rich.console import Console

from maskbench.app.config.compose import load
from maskbench.app.config.folder import config_folder
from maskbench.app.config.help import options
from maskbench.reports.claims import published
from maskbench.reports.collect import RolloutResult, Run
from maskbench.reports.comparison import ordering_table
from maskbench.reports.tables import Measured
from maskbench.rollout.records import write_records
from maskbench.trajectory import EpisodeRecord

SCRIPTS = Path(__file__).resolve().parents[2] / "reproducibility_scripts" / "bet"
NAMES = (
    *("study", "paper_params", "ablations", "sweeps", "sweep_num_bins", "sweep_window_size", "sweep_mlp", "pointmass"),
    *("metric_variants", "successors"),
)
ENVS = ("blockpush", "kitchen", "pointmass1", "pointmass2")
MODELS = options(config_folder(), "model")
#: Whether the trunks of the study's ablations are part of this tree.
TRUNKS = "lstm" in MODELS and "norm:" in (config_folder() / "model" / "mlp.yaml").read_text()


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield {name: importlib.import_module(name) for name in NAMES}
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("mode", ["quick", "full"])
@pytest.mark.parametrize("env", ENVS)
def test_every_ablation_composes_and_differs_in_its_setting(scripts: dict[str, ModuleType], env: str, mode: str) -> None:
    ablations = scripts["ablations"]
    bins, window = scripts["study"].PUBLISHED[env]
    for variant in ablations.variants(env):
        if variant in ("MLP", "MLP tuned", "LSTM") and not TRUNKS:
            continue
        config = load("train", ablations.line(variant, env, mode, 1))
        assert (config.env.name, config.experiment.seed) == (env, 1)
        assert config.head.action.predict_offsets == (variant != "no offsets")
        assert config.head.action.focal_gamma == (0 if variant == "no focal loss" else 2)
        assert config.head.action.num_bins == (1 if variant == "no binning" else bins)
        assert (config.experiment.window_size or config.dataset.window) == (1 if variant == "no history" else window)
        assert config.optimizer.betas == (0.9, 0.95)
        if variant == "BeT":
            assert config.model.dropout == (0.1 if mode == "full" else 0)
            assert (config.scheduler.name == "constant") == (mode == "full")


def test_published_runs_have_the_published_numbers() -> None:
    push, kitchen = load("train", ["paper=bet/blockpush"]), load("train", ["paper=bet/kitchen"])
    assert (push.model.n_layer, push.model.n_head, push.model.n_embd, push.dataset.window) == (4, 4, 72, 5)
    assert (kitchen.model.n_layer, kitchen.model.n_head, kitchen.model.n_embd, kitchen.dataset.window) == (6, 6, 120, 10)
    assert (push.experiment.num_prior_epochs, push.experiment.batch_size, push.head.action.num_bins) == (350, 256, 24)
    assert (kitchen.experiment.num_prior_epochs, kitchen.experiment.batch_size, kitchen.head.action.num_bins) == (50, 64, 64)
    assert (push.head.action.offset_scale, kitchen.head.action.offset_scale) == (1e5, 1e3)
    for config in (push, kitchen):
        assert (config.optimizer.lr, config.optimizer.weight_decay, config.trainer.grad_clip) == (1e-4, 0.1, 1.0)
        assert config.dataset.normalise["state"] == "none"
    quick = load("train", ["paper=bet/blockpush_quick"])
    assert (quick.experiment.num_steps, quick.experiment.num_prior_epochs, quick.optimizer.lr) == (30000, None, 2e-3)
    assert (quick.dataset.normalise["state"], quick.model.dropout, quick.scheduler.warmup_steps) == ("standard", 0, 200)


def test_sweeps_hold_the_published_value_and_the_studys(scripts: dict[str, ModuleType]) -> None:
    bins, window = scripts["sweeps"].NUM_BINS, scripts["sweeps"].WINDOW_SIZE
    for sweep in (bins, window):
        for env in ENVS:
            for mode in ("quick", "full"):
                assert sweep.published(env) in sweep.values[mode][env]
    assert (bins.published("kitchen"), window.published("kitchen")) == (64, 10)
    assert bins.values["full"]["blockpush"] == (1, 4, 8, 16, 20, 24, 32, 64)
    assert bins.values["full"]["kitchen"] == (1, 3, 4, 5, 16, 60, 64, 68)
    assert (window.values["full"]["blockpush"], window.values["full"]["kitchen"]) == ((1, 3, 5, 10), (1, 5, 10, 20))


def test_every_row_of_the_point_masses_composes(scripts: dict[str, ModuleType]) -> None:
    pointmass = scripts["pointmass"]
    for world in pointmass.WORLDS:
        for model, extra in pointmass.VARIANTS.values():
            if model == "decoder" or TRUNKS:
                assert load("train", scripts["study"].line(world, "quick", 0, model, extra)).experiment.num_steps == 6000


@pytest.mark.parametrize("mode", ["quick", "full"])
@pytest.mark.parametrize("env", ["blockpush", "kitchen"])
def test_the_search_for_an_mlp_holds_what_the_study_tried(scripts: dict[str, ModuleType], env: str, mode: str) -> None:
    sweep = scripts["sweep_mlp"]
    assert sweep.TRIALS["full"] == 25
    tuned = {"blockpush": ("3.05e-4", "0.05", "72", "4"), "kitchen": ("5.3e-4", "0.01", "120", "6")}[env]  # its best
    keys = ("optimizer.lr", "optimizer.weight_decay", "model.n_hidden", "model.n_layer")
    best = [f"{k}={v}" for k, v in zip(keys, tuned, strict=True)] + ["trainer.grad_clip=null", "model.norm=batch"]
    space = dict(line.split("=", 1) for line in sweep.space(env))
    assert set(space) == {line.split("=")[0] for line in best}
    for key, value in zip(keys[1:], tuned[1:], strict=True):
        assert value in space[key].removeprefix("choice(").rstrip(")").split(",")
    config = load("train", [*sweep.fixed(env, mode), *best])
    named = load("train", scripts["ablations"].line("MLP tuned", env, mode, 0))
    assert (config.model, config.optimizer, config.trainer) == (named.model, named.optimizer, named.trainer)
    assert config.experiment.batch_size == named.experiment.batch_size
    assert config.evaluation.rollout == ()
    assert config.experiment.num_steps == (4000 if mode == "quick" else named.experiment.num_steps)


@pytest.mark.parametrize("mode", ["quick", "full"])
@pytest.mark.parametrize("env", ["blockpush", "kitchen"])
def test_every_successor_has_the_data_and_the_budget_of_bet(scripts: dict[str, ModuleType], env: str, mode: str) -> None:
    successors = scripts["successors"]
    found = {row: load("train", successors.line(row, env, mode, 1)) for row in successors.ROWS}
    kinds = {row: config.head.action.kind for row, config in found.items()}
    assert list(kinds.values()) == ["bins", "vq", "vq", "mdn", "mdn", "bins"]
    assert [config.query.spread for config in found.values()] == [1, 1, 1, 0, 0, 1]
    assert [found[row].head.action.vq.offset_of for row in ("VQ-BeT", "VQ-BeT, true codes")] == ["sampled", "true"]
    bet = found["BeT"]
    for row, config in found.items():
        ours, theirs = config.experiment, bet.experiment
        assert (ours.num_prior_epochs or ours.num_steps) == (theirs.num_prior_epochs or theirs.num_steps)
        assert (ours.batch_size, ours.num_eval_eps, config.env) == (theirs.batch_size, theirs.num_eval_eps, bet.env)
        assert (config.optimizer, config.scheduler.name) == (bet.optimizer, bet.scheduler.name)
        assert config.dataset.generate == bet.dataset.generate
        assert row == "LSTM-GMM" or config.model == bet.model
        small = env == "blockpush" and kinds[row] != "bins"  # centimetres in metres
        assert config.dataset.normalise["action"] == ("standard" if small else "none")
    assert found["C-BeT"].evaluation.rollout == ("bc", "goal_demonstrated")


def test_a_successors_score_counts_tasks_of_four_and_blocks_of_two(scripts: dict[str, ModuleType]) -> None:
    score = scripts["successors"].score
    record = EpisodeRecord(0, "", 0, 0, "bc", 0.0, 9, None, False)
    kitchen = replace(record, events=tuple((t, f"route:{letter}") for t, letter in enumerate("mklsb")))
    push = replace(record, events=((1, "P1"), (1, "entered:red:red"), (1, "route:red-red")))
    assert (score(kitchen, "kitchen"), score(record, "kitchen")) == (4, 0)
    assert (score(push, "blockpush"), score(replace(push, events=(*push.events, (3, "P2"))), "blockpush")) == (1, 2)


def test_a_goal_of_the_successors_stands_beside_the_same_model_without_it(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    successors, run = scripts["successors"], acting(tmp_path / "run", {"P1": 0.9, "P2": 0.7, "mode_entropy": 1.9})
    record = EpisodeRecord(0, "blockpush", 0, 0, "bc", 0.0, 9, None, False)
    played = [replace(record, row=i, events=((1, "P1"),) * (i > 0)) for i in range(4)]
    write_records(played, run.folder / "evaluation" / "bc")
    parts = [RolloutResult("goal_demonstrated", p, "goal_parts", v, v, v, 20, "") for p, v in (("model", 1.5), ("bc", 0.5))]
    found = successors.numbers("C-BeT", [replace(run, rollouts=(*run.rollouts, *parts))], "blockpush")
    assert found["C-BeT", "P1 + P2"].value == 0.75
    assert (found["C-BeT", successors.GOAL].value, found["C-BeT", successors.WITHOUT].value) == (1.5, 0.5)
    verdicts = ordering_table("", successors.orderings("blockpush"), [], found, lower_is_better=False).rows
    assert [row[4] for row in verdicts] == ["open", "open", "open", "holds"]


def test_the_published_successors_say_what_their_papers_say(scripts: dict[str, ModuleType]) -> None:
    for env in ("kitchen", "blockpush"):
        claims = scripts["successors"].claims(env)
        values = {(c.row, c.column): Measured(c.value) for c in claims}
        rows = ordering_table("", scripts["successors"].orderings(env), claims, values, lower_is_better=False).rows
        assert not [row[0] for row in rows if row[4] == "does not hold"]
        assert sum(row[4] == "holds" for row in rows) >= 2


def test_thresholds_of_the_kitchen_count_episodes_by_their_nearest_moment(scripts: dict[str, ModuleType]) -> None:
    variants = scripts["metric_variants"]
    still = np.zeros((3, 60))
    still[:, 11:30] = 5.0  # far from every goal
    near = still.copy()
    near[1, 22] = -0.75 + 0.2  # the microwave, for a moment
    near[2, 19] = 0.37 - 0.5  # the slide cabinet
    found = variants.kitchen([still, near])
    at = variants.KITCHEN
    assert found["each task"]["microwave"].tolist() == [0.5 * (t > 0.2) for t in at]
    assert found["each task"]["slide cabinet"].tolist() == [0.5 * (t > 0.5) for t in at]
    assert found["at least n tasks"]["p_1"].tolist() == [0.5 * (t > 0.2) for t in at]
    assert found["at least n tasks"]["p_2"].tolist() == [0.5 * (t > 0.5) for t in at]
    assert not found["at least n tasks"]["p_3"].any()


def test_tolerances_of_block_push_ask_for_two_blocks_in_two_zones(scripts: dict[str, ModuleType]) -> None:
    variants = scripts["metric_variants"]
    states = np.zeros((2, 16))
    states[:, (10, 11, 13, 14)] = (0.5, 0.2, 0.3, 0.2)
    one = states.copy()
    one[0, :2], one[1, 3:5] = (0.5, 0.233), (0.5, 0.2)  # both blocks visit the first zone
    both = states.copy()
    both[0, :2], both[1, 3:5] = (0.3, 0.233), (0.5, 0.253)
    found = variants.blockpush([states, one, both])["blocks that entered a zone"]
    assert found["P1"] == pytest.approx([(1 + (t > 0.033)) / 3 for t in variants.BLOCKPUSH])
    assert found["P2"] == pytest.approx([(t > 0.053) / 3 for t in variants.BLOCKPUSH])


def test_the_studys_own_numbers_say_what_it_concludes_and_contradict_the_paper_on_binning(
    scripts: dict[str, ModuleType],
) -> None:
    for env in ("blockpush", "kitchen"):
        claims = published("bet", env)
        values = {(c.row, c.column): Measured(c.value) for c in claims}
        table = ordering_table("", scripts["ablations"].orderings(env), claims, values, lower_is_better=False)
        verdict = {row[0]: row[4] for row in table.rows}
        refuted = {s for s, v in verdict.items() if v == "does not hold"}
        assert refuted == ({"discretisation is needed (paper)"} if env == "kitchen" else set())
        assert sum(v == "holds" for v in verdict.values()) >= 3  # cells without a number stay open


def acting(folder: Path, values: dict[str, float]) -> Run:
    (folder / "evaluation" / "bc").mkdir(parents=True)
    modes = {"red-red>green-green": 30, "green-red>red-green": 10}
    (folder / "evaluation" / "bc" / "demonstrated_modes.json").write_text(json.dumps(modes))
    rows = [RolloutResult("bc", "model", m, v, v - 0.02, v + 0.02, 200, "") for m, v in values.items()]
    return Run(folder, rollouts=tuple(rows))


def test_paper_study_and_ours_stand_side_by_side(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    study = scripts["study"]
    runs = [acting(tmp_path / str(i), {"R1": 1.0, "R2": 0.98, "P1": 0.9 + 0.02 * i, "P2": 0.7}) for i in range(2)]
    ours = {"BeT": study.numbers(runs, "blockpush"), "demonstrations": study.demonstrations(runs[0], "blockpush")}
    again = {("BeT", "P2"): Measured(0.15)}
    table = study.side_by_side("t", "blockpush", ours, ours_repstudy_legacy=again)
    rows = {(r[0], r[1]): r[2:] for r in table.rows}
    paper, theirs, mine, legacy = rows["BeT", "P2"]
    assert (paper.value, theirs.value, mine.value, legacy.value) == (0.71, 0.18, pytest.approx(0.7), 0.15)
    assert rows["BeT", "P1"][2].value == pytest.approx(0.91)
    study.write(tmp_path, "x", table, scripts["paper_params"].orderings("blockpush"), "blockpush", ours, Console(quiet=True))
    assert {"x.csv", "x.md", "x_orderings.csv"} <= {p.name for p in tmp_path.iterdir()}
    assert [row[2].value for row in study.diversity(runs).rows[:2]] == [0.51, 0.49]
    assert "does not hold" not in (tmp_path / "x_orderings.csv").read_text()


def test_demonstrations_of_the_kitchen_have_their_entropies(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    run = acting(tmp_path / "run", {})
    modes = {"m>k>l>s": 50, "l>s>m>k": 50}
    (run.folder / "evaluation" / "bc" / "demonstrated_modes.json").write_text(json.dumps(modes))
    found = scripts["study"].demonstrations(run, "kitchen")
    assert [found[f"p_{n}"].value for n in (1, 4, 5)] == [1, 1, 0]
    assert found["sequence_entropy"].value == pytest.approx(1.0)
    assert found["task_entropy"].value == pytest.approx(2.3219, abs=1e-3)  # four tasks and a filler, equally often


def test_an_unknown_environment_or_mode_is_refused(scripts: dict[str, ModuleType]) -> None:
    import typer

    for mode, env in (("fast", "kitchen"), ("quick", "carla")):
        with pytest.raises(typer.BadParameter):
            scripts["study"].checked(mode, env)
