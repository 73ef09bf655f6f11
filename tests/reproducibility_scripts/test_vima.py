"""The scripts of VIMA and CoGeLoT: every run composes, tables and verdicts follow from what was played."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.app.config.compose import load
from maskbench.envs.tabletop.partitions import tasks_of
from maskbench.trajectory import EpisodeRecord

SCRIPTS = Path(__file__).resolve().parents[2] / "reproducibility_scripts" / "vima"
NAMES = ("level_bars", "perturbations", "difficulty", "per_task", "data_scaling")
LEVELS = ("L1", "L2", "L3")
QUIET = Console(stderr=True, width=160)


@pytest.fixture(autouse=True)
def path(monkeypatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in (*NAMES, "vima_study"):
        sys.modules.pop(name, None)


def episodes(share: float, strict: float | None = None, n: int = 20) -> list[list[EpisodeRecord]]:
    """One seed's records: the first ``share`` of them succeed, the first ``strict`` of them in time."""
    found = []
    for row in range(n):
        events = [(0, "success")] * (row < round(share * n))
        events += [(0, "strict_success")] * (row < round((share if strict is None else strict) * n))
        found.append(EpisodeRecord(row, "tabletop", row, row, "bc", 1.0, 1, bool(events), True, events=tuple(events)))
    return [found]


def rows(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open() as file:
        return {(r[""], r["level"]): r for r in csv.DictReader(file)}


@pytest.mark.parametrize("mode", ["quick", "full"])
@pytest.mark.parametrize("name", NAMES)
def test_every_run_composes(name: str, mode: str) -> None:
    found = importlib.import_module(name).runs(mode, 2)
    for run, overrides in found.items():
        config = load("train", overrides)
        assert config.env.name == "tabletop"
        assert config.experiment.seed == int(run.rpartition("/")[2])
        assert config.evaluation.rollout == ()
        assert config.masking.prompt.both == float("blind" not in run)
        assert config.env.order == ("spawn" if "spawn" in run else "shuffle")
        assert config.env.observe == ("pictures" if "patches" in run else "objects")
        assert (config.model.size == "200M") == (mode == "full")
        assert config.dataset.sampling.shuffle_slots == ("none" if "spawn" in run else "episode")


def test_runs_of_a_cluster_are_jobs_in_the_same_folders(tmp_path: Path) -> None:
    runs = importlib.import_module("level_bars").runs("full", 1)
    name = next(iter(runs))
    queued = Campaign(tmp_path, runs, launcher="slurm").command(name, "missing")
    assert queued == ["-m", *runs[name], "launcher=slurm", f"hydra.sweep.dir={tmp_path / name}", "hydra.sweep.subdir=."]
    assert Campaign(tmp_path, runs).command(name, "missing") == [*runs[name], f"hydra.run.dir={tmp_path / name}"]
    assert Campaign(tmp_path, runs, launcher="slurm").command(name, "interrupted") == [f"resume={tmp_path / name}"]


def test_full_is_the_published_recipe_on_every_training_task() -> None:
    config = load("train", ["paper=vima/full"])
    assert set(config.env.task) == set(tasks_of("placement_generalization"))
    assert config.model.n_embd == 768
    assert (config.optimizer.lr, config.experiment.batch_size, config.scheduler.warmup_steps) == (1e-4, 128, 7000)


def test_other_modes_are_refused() -> None:
    with pytest.raises(typer.BadParameter, match="quick or full"):
        importlib.import_module("vima_study").checked("fast")


def test_rates_and_differences_are_those_of_the_same_episodes() -> None:
    study = importlib.import_module("vima_study")
    good, bad = episodes(0.75, 0.5), episodes(0.25)
    assert study.rate(good).value == 0.75
    assert study.rate(good, "strict_success").value == 0.5
    assert study.rate([*good, *bad]).value == 0.5
    found = study.difference(bad, good)
    assert found.value == -0.5
    assert found.high < 0
    assert np.isclose(study.difference(good, good).value, 0)


def test_cells_are_played_once_and_then_read(tmp_path: Path, monkeypatch) -> None:
    study = importlib.import_module("vima_study")
    calls = []

    class Runner:
        def __init__(self, environment, factory, workers, slots, progress) -> None:
            self.task = environment.task

        def run(self, plan) -> list[EpisodeRecord]:
            calls.append((self.task, len(plan)))
            return episodes(0.5, n=len(plan))[0]

    class Stub:
        config = load("train", ["paper=vima/three_tasks_quick"])

        def policy(self, *given) -> None: ...

    monkeypatch.setattr(study, "RolloutRunner", Runner)
    asked = study.Asked("L2", perturb=("reworded",))
    first = study.play(tmp_path, Stub(), asked, 4)
    again = study.play(tmp_path, Stub(), asked, 4)
    assert len(first) == len(again) == 12
    assert calls == [("visual_manipulation", 4), ("rotate", 4), ("novel_noun", 4)]
    study.play(tmp_path, Stub(), study.Asked("L2"), 4)
    assert len(calls) == 6  # another question is another cell
    study.play(tmp_path, Stub(), study.Asked("L4"), 4)
    assert [task for task, _ in calls[6:]] == list(study.tasks_of("novel_task_generalization"))


def test_levels_are_tabulated_with_both_metrics_and_judged(tmp_path: Path, capsys) -> None:
    script = importlib.import_module("level_bars")
    shares = {script.study.WHOLE: 0.8, "prompt-blind": 0.3, "spawn order, prompt-blind": 0.6, "(random)": 0.0}
    cells = {(model, level): episodes(share, share / 2) for model, share in shares.items() for level in LEVELS}
    script.report(cells, tmp_path, LEVELS, QUIET, paper=False)
    table = rows(tmp_path / "level_bars.csv")
    whole = table[script.study.WHOLE, "L1"]
    assert (float(whole["success"]), float(whole["strict"])) == (0.8, 0.4)
    assert (tmp_path / "level_bars_orderings.csv").read_text().count(",holds,") == 3
    assert (tmp_path / "level_bars.png").stat().st_size > 1000
    script.report(cells, tmp_path, LEVELS, QUIET, paper=True)
    assert rows(tmp_path / "level_bars.csv")["objects, concatenation", "L1"]["paper strict"] == "0.722"


def test_perturbations_become_a_map_with_paired_differences(tmp_path: Path, capsys) -> None:
    script = importlib.import_module("perturbations")
    cells = {(row, level): episodes(0.8) for row in (*script.CHANGES, script.WITHOUT, *script.ORDERED) for level in LEVELS}
    cells |= {(row, level): episodes(0.45) for row in ("prompt hidden", script.WITHOUT) for level in LEVELS}
    cells |= {(script.SHUFFLED, level): episodes(0.2) for level in LEVELS}
    script.report(cells, tmp_path, LEVELS, QUIET)
    table = rows(tmp_path / "perturbations.csv")
    assert np.isclose(float(table["prompt hidden", "L2"]["difference"]), -0.35)
    assert float(table["prompt hidden", "L2"]["difference_high"]) < 0
    assert np.isclose(float(table[script.WITHOUT, "L3"]["difference"]), -0.35)
    assert np.isclose(float(table[script.SHUFFLED, "L1"]["difference"]), -0.6)
    assert table["none", "L1"]["difference"] == ""
    assert (tmp_path / "perturbations_orderings.csv").read_text().count(",holds,") == 6
    assert (tmp_path / "perturbations.png").stat().st_size > 1000


def test_difficulties_are_judged_against_easy(tmp_path: Path, capsys) -> None:
    script = importlib.import_module("difficulty")
    shares = {"easy": 0.8, "distracting": 0.4, "extreme": 0.9, "extremely_distracting": 0.3}
    cells = {(row, level): episodes(shares[row.partition(",")[0]]) for row in script.rows() for level in LEVELS}
    script.report(cells, tmp_path, LEVELS, QUIET)
    held = (tmp_path / "difficulty_orderings.csv").read_text()
    assert held.count(",holds,") == 2
    assert held.count(",does not hold,") == 1


def test_tasks_stand_beside_published_ones_chance_and_no_prompts(tmp_path: Path, capsys) -> None:
    script = importlib.import_module("per_task")
    asked = script.cells_of("quick")
    shares = {"": 0.5, script.HIDDEN: 0.2, script.WITHOUT: 0.25, script.RANDOM: 0.0}
    cells = {(task + kind, level): episodes(share) for task, level in asked for kind, share in shares.items()}
    cells |= {("rotate", level): episodes(0.8) for level in LEVELS}
    script.report(cells, tmp_path, QUIET)
    table = rows(tmp_path / "per_task.csv")
    assert len(script.cells_of("full")) == 42
    assert len(table) == 4 * (9 + 3)
    assert (table["rotate", "L1"]["paper"], table["rotate", "L1"]["paper strict"]) == ("0.995", "0.99")
    assert table["rotate (random)", "L1"]["success"] == "0.0"
    assert float(table["all tasks", "L2"]["success"]) == pytest.approx((0.5 + 0.8 + 0.5) / 3)
    assert float(table["all tasks (prompt-blind)", "L2"]["success"]) == pytest.approx(0.25)
    assert (tmp_path / "per_task_orderings.csv").read_text().count(",holds,") == 3


def test_tables_do_without_a_skipped_model(tmp_path: Path, capsys) -> None:
    script = importlib.import_module("per_task")
    cells = {(task + kind, level): episodes(0.5) for task, level in script.cells_of("quick") for kind in ("", script.HIDDEN)}
    script.report(cells, tmp_path, QUIET)
    assert "all tasks (prompt-blind)" not in (tmp_path / "per_task.csv").read_text()
    assert "prompt-blind" not in (tmp_path / "per_task_orderings.csv").read_text()


def test_sizes_become_curves(tmp_path: Path, capsys) -> None:
    script = importlib.import_module("data_scaling")
    cells = {
        (size, level): episodes(share) for size, share in (("1000", 0.1), ("3500", 0.5), ("11500", 0.8)) for level in LEVELS
    }
    script.report(cells, tmp_path, QUIET)
    assert ",holds," in (tmp_path / "data_scaling_orderings.csv").read_text()
    assert (tmp_path / "data_scaling.png").stat().st_size > 1000
    last = f"{script.study.slug(script.study.WHOLE)}/0"
    assert not any(o.startswith("dataset.split.train") for o in script.runs("quick", 1)[last])


@pytest.mark.parametrize(("preset", "count"), [("visual_manipulation_quick", None), ("full", 637000)])
def test_the_largest_size_is_what_the_whole_model_was_trained_on(preset: str, count: int | None) -> None:
    script = importlib.import_module("data_scaling")
    config = load("train", [f"paper=vima/{preset}"])
    whole = script.study.Trained(Path(), SimpleNamespace(config=config))
    expected = config.dataset.generate.episodes - config.dataset.split.validation
    assert script.demonstrations(whole) == expected == (count or expected)


def test_parts_that_a_model_was_trained_without_stay_hidden() -> None:
    study = importlib.import_module("vima_study")
    for masking, parts in {"vima": (1, 1, 1), "vima_disable_text": (0, 1, 1), "vima_disable_both": (1, 1, 0)}.items():
        model = SimpleNamespace(config=load("train", ["env=tabletop", f"masking={masking}"]))
        shown = study.Asked().query(model).prompt
        assert (shown.text, shown.visual, shown.both) == parts
    assert study.hidden(study.Asked("L2")).query(model).prompt.both == 0


def test_models_can_be_skipped_by_their_names() -> None:
    study = importlib.import_module("vima_study")
    runs = study.lines((study.WHOLE, "prompt-blind"), "quick", 2)
    assert list(study.left(runs, ["prompt-blind"])) == ["objects_cross-attention/0", "objects_cross-attention/1"]
    with pytest.raises(typer.BadParameter, match=r"no model is called so.*prompt-blind"):
        study.left(runs, ["promptblind"])


def test_finished_runs_from_elsewhere_are_taken_as_they_are(tmp_path: Path, monkeypatch, capsys) -> None:
    study = importlib.import_module("vima_study")
    runs = study.lines((study.WHOLE, "prompt-blind"), "quick", 1)
    mine, name = tmp_path / "mine", f"{study.slug(study.WHOLE)}/0"
    (mine / "checkpoints" / "last").mkdir(parents=True)
    monkeypatch.setattr(study, "has_checkpoint", lambda folder: folder == mine)
    assert study.taken([f"{name}={mine}"], runs) == {name: mine}
    with pytest.raises(typer.BadParameter, match=r"no run is called 'blind/0'.*prompt-blind/0"):
        study.taken([f"blind/0={mine}"], runs)
    with pytest.raises(typer.BadParameter, match="holds no checkpoint"):
        study.taken([f"{name}={tmp_path}"], runs)
    trained = []
    monkeypatch.setattr(study, "load_model", lambda folder, which: folder)
    monkeypatch.setattr(study.Campaign, "run", lambda self, console: trained.extend(self.runs))
    models = study.train(tmp_path / "root", runs, {name: mine}, 1, QUIET)
    assert trained == ["prompt-blind/0"]
    assert models["objects_cross-attention"] == [study.Trained(mine, str(mine))]
    assert models["prompt-blind"][0].folder == tmp_path / "root" / "prompt-blind/0"


@pytest.mark.parametrize("name", NAMES)
def test_commands_train_play_and_report(name: str, tmp_path: Path, monkeypatch, capsys) -> None:
    script = importlib.import_module(name)
    study = script.study
    config = load("train", ["paper=vima/three_tasks_quick"])
    monkeypatch.setattr(
        study,
        "train",
        lambda root, runs, *_: {n.rpartition("/")[0]: [study.Trained(root / n, SimpleNamespace(config=config))] for n in runs},
    )
    monkeypatch.setattr(study, "play", lambda folder, model, asked, n, policy="model": episodes(0.5, n=n)[0])
    skipped = {"level_bars": "prompt-blind", "perturbations": "spawn_order", "per_task": "per_task_prompt-blind"}.get(name)
    options = ["--folder", str(tmp_path), "--episodes", "4", *(["--skip", skipped] if skipped else [])]
    monkeypatch.setattr(sys, "argv", [name, "quick", *options])
    with pytest.raises(SystemExit) as ended:
        study.run(script.runs, script.play, script.__doc__)
    assert ended.value.code == 0
    assert (tmp_path / "quick" / f"{name}.csv").is_file()
