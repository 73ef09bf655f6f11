"""The scripts of uniMASK's figures: every run composes, and the judgement of the paper's own numbers agrees with the paper."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import typer
from rich.console import Console

from maskbench.app.config.compose import load
from maskbench.reports.claims import published
from maskbench.reports.collect import RolloutResult, Run, TaskLoss

ROOT = Path(__file__).parents[2] / "reproducibility_scripts" / "unimask"


def script(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


heatmap, maze = script("doorkey_heatmap"), script("maze_table")


def saved_run(root: Path) -> Path:
    """A folder that overrides may name as the run to start from."""
    (root / ".hydra").mkdir(parents=True)
    (root / ".hydra" / "config.yaml").write_text("experiment: {num_cv_runs: 1}\n")
    (root / "checkpoints" / "best").mkdir(parents=True)
    return root


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("regime", heatmap.STEPS)
def test_every_run_of_the_heatmap_composes(tmp_path: Path, regime: str, quick: bool) -> None:
    saved_run(tmp_path / "random" / "1")
    config = load("train", heatmap.overrides(regime, 1, tmp_path, quick, 500))
    assert (config.experiment.seed, config.dataset.split.train) == (1, 500)
    assert config.experiment.num_steps <= heatmap.STEPS[regime][0]
    if not quick:
        assert (config.experiment.num_steps, config.experiment.batch_size) == heatmap.STEPS[regime]


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", dict.fromkeys(n for presets in maze.ROWS.values() for n in presets))
def test_every_run_of_the_maze_table_composes(tmp_path: Path, name: str, quick: bool) -> None:
    for base in ("random", "multitask"):
        saved_run(tmp_path / "K10" / base / "0")
    config = load("train", maze.overrides(name, 10, 0, tmp_path, quick, "medium"))
    assert (config.env.name, config.dataset.window) == ("maze2d_medium_pomdp", 10)
    assert set(config.evaluation.rollout) <= {"bc", "return"}
    if not quick:
        assert config.experiment.num_steps == (108_000 if "finetune" in name else 360_000)


def test_a_part_of_the_maze_table_trains_what_its_rows_need_and_what_they_start_from() -> None:
    assert maze.chosen(["Decision-GPT", "Random mask + finetune"], [10], ["bc", "return"]) == [
        (10, n) for n in ("random", "gpt_bc", "gpt_return", "random_finetune_bc", "random_finetune_return")
    ]
    assert maze.chosen(["Single-task"], [5, 10], ["return"]) == [(5, "return"), (10, "return")]
    whole = maze.chosen(list(maze.ROWS), maze.CONTEXTS, list(maze.QUERIES))
    assert len(whole) == len(set(whole)) == 2 * len({n for names in maze.ROWS.values() for n in names})


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ((["GPT"], [5], ["bc"]), "rows of the table are .*found .'GPT'"),
        ((["MLP"], [7], ["bc"]), "contexts of the table are 5, 10; found .7"),
        ((["MLP"], [5], ["goal"]), "queries of the table are bc, return; found .'goal'"),
    ],
)
def test_a_part_that_the_maze_table_lacks_is_refused(part: tuple[list[str], list[int], list[str]], said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        maze.chosen(*part)


def test_steps_for_other_numbers_of_episodes_are_the_published_ones() -> None:
    def steps(regime: str, episodes: int) -> int:
        return heatmap.published_steps(*heatmap.STEPS[regime], episodes)

    assert [steps(r, 50) for r in ("random", "multitask", "past", "bc", "return", "goal", "mlp_bc")] == [
        100_000, 100_000, 20_000, 15_000, 15_000, 30_000, 30_000,
    ]  # fmt: skip
    assert all(steps(r, n) == heatmap.STEPS[r][0] for r in heatmap.STEPS for n in (500, 1000))


def test_the_papers_heatmap_satisfies_the_orderings_that_the_paper_states() -> None:
    values = {(c.row, c.column): c.value for c in published("unimask", "heatmap_500")}
    assert {o.statement: o.holds(values, lower_is_better=True) for o in heatmap.orderings()} == {
        o.statement: True for o in heatmap.orderings()
    }


def test_the_papers_maze_table_satisfies_the_orderings_that_the_paper_states() -> None:
    values = {(c.row, c.column): c.value for c in published("unimask", "maze_table")}
    assert {o.statement: o.holds(values, lower_is_better=False) for o in maze.orderings()} == {
        o.statement: True for o in maze.orderings()
    }


def test_the_finetuned_row_takes_each_task_from_the_model_finetuned_for_it() -> None:
    def run(level: float) -> Run:
        losses = [TaskLoss(t, "total", level + i, level + i, level + i, 10, 0.5) for i, t in enumerate(heatmap.TASKS)]
        return Run(Path("x"), task_losses=tuple(losses))

    row = heatmap.row_of([run(10.0 * i) for i in range(8)])
    assert [x.loss for x in row.task_losses] == [11.0 * i for i in range(8)]


def test_the_heatmap_is_drawn_and_judged_from_what_runs_left(tmp_path: Path) -> None:
    def run(level: float) -> Run:
        losses = [TaskLoss(t, "total", level + i, level, level + i + 1, 10, 0.5) for i, t in enumerate(heatmap.TASKS)]
        return Run(tmp_path, task_losses=tuple(losses))

    rows = [*heatmap.TASKS.values(), "Multi-task", "Random mask", "Finetune"]
    heatmap.report(
        {label: [run(3.0 - 0.1 * i), run(3.1 - 0.1 * i)] for i, label in enumerate(rows)}, tmp_path, Console(quiet=True)
    )
    made = {p.name for p in tmp_path.iterdir()}
    assert {f"heatmap_{s}.png" for s in ("raw", "normalised", "excess")} <= made
    assert {f"{n}.{e}" for n in ("heatmap", "seeds", "comparison", "orderings") for e in ("csv", "md")} <= made
    verdicts = (tmp_path / "orderings.csv").read_text()
    assert "finetuning beats random masks,8 of 8,8 of 8,8 of 8,holds" in verdicts


def test_the_maze_table_is_drawn_and_judged_from_what_runs_left(tmp_path: Path) -> None:
    def run(value: float) -> Run:
        rows = [RolloutResult(q, "model", "return", value, value - 0.1, value + 0.1, 500, "") for q in maze.QUERIES]
        return Run(tmp_path, rollouts=tuple(rows))

    names = dict.fromkeys(n for presets in maze.ROWS.values() for n in presets)
    results = {f"K{k}/{n}": [run(2.0 if "finetune" in n else 1.0)] for n in names for k in maze.CONTEXTS}
    maze.report(results, "umaze", tmp_path, Console(quiet=True))
    assert {"maze_table.png", "comparison.csv", "orderings.md"} <= {p.name for p in tmp_path.iterdir()}
    assert (
        "K=10: finetuning from random masks beats single-task training,2 of 2,2 of 2,2 of 2,holds"
        in (tmp_path / "orderings.csv").read_text()
    )


def test_orderings_of_rows_that_were_not_trained_stay_open(tmp_path: Path) -> None:
    run = Run(tmp_path, rollouts=(RolloutResult("bc", "model", "return", 1.0, 0.9, 1.1, 500, ""),))
    maze.report({"K10/bc": [run], "K10/gpt_bc": [run]}, "medium", tmp_path, Console(quiet=True))
    judged = (tmp_path / "orderings.csv").read_text()
    assert "K=10: Decision-GPT beats every BERT-like model,8 of 8,8 of 8,1 of 1,open" in judged
