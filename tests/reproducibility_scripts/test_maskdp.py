"""The scripts of MaskDP's figures: every run composes, and verdicts follow from numbers."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from rich.console import Console

from maskbench.app.config.compose import load
from maskbench.reports.collect import RolloutResult, Run

SCRIPTS = Path(__file__).resolve().parents[2] / "reproducibility_scripts" / "maskdp"
NAMES = ("goal_single", "goal_multi", "prompting", "ablations", "data_size", "rl_finetune")


@pytest.fixture(autouse=True)
def path(monkeypatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in (*NAMES, "maskdp_study"):
        sys.modules.pop(name, None)


def runs(name: str, mode: str, task: str, data: Path) -> dict[str, list[str]]:
    script = importlib.import_module(name)
    if name in ("goal_single", "goal_multi"):
        return script.runs(mode, task, data, "code", 2)
    if name == "rl_finetune":
        return script.runs(mode, task, data, data, "code", 2, "MaskDP,GPT", "all")
    return script.runs(mode, task, data, 2)


@pytest.mark.parametrize("mode", ["quick", "full"])
@pytest.mark.parametrize("name", NAMES)
def test_every_run_composes(name: str, mode: str, tmp_path: Path) -> None:
    task = {"quick": "walker_walk", "full": "cheetah_run_backward"}[mode]
    for run, overrides in runs(name, mode, task, tmp_path).items():
        config = load("train", [o for o in overrides if not o.startswith("model.load_dir")])
        assert (config.env.domain, config.env.task) == tuple(task.split("_", 1))
        assert config.dataset.path == str(tmp_path)
        agent = name == "rl_finetune" and not run.startswith("pretrained")
        assert (config.rl is not None) == agent
        if agent:
            assert config.dataset.qualities == ("unsup",)
            assert config.rl.freeze == "as_published"
            assert config.trainer.ema_decay is None
        elif name != "rl_finetune":
            assert config.dataset.tasks == (task,)


def test_agents_of_a_gpt_start_from_a_gpt(tmp_path: Path) -> None:
    for name, overrides in runs("rl_finetune", "quick", "walker_run", tmp_path).items():
        config = load("train", [o for o in overrides if not o.startswith("model.load_dir")])
        assert type(config.model).__name__ == ("Decoder" if "GPT" in name else "Autoencoder")


def test_quick_agents_compare_a_pretrained_maskdp_with_a_new_one(tmp_path: Path) -> None:
    script = importlib.import_module("rl_finetune")
    found = script.runs("quick", "walker_run", tmp_path, tmp_path, "fair", 2)
    starts = [f"MaskDP {start}/{seed}" for seed in (0, 1) for start in ("pretrained", "new")]
    assert list(found) == ["pretrained/MaskDP", *starts]
    with pytest.raises(typer.BadParameter, match="found 'BERT'"):
        script.runs("quick", "walker_run", tmp_path, tmp_path, "fair", 2, "BERT")


def test_folders_without_episodes_and_unknown_modes_are_refused(tmp_path: Path) -> None:
    study = importlib.import_module("maskdp_study")
    with pytest.raises(typer.BadParameter, match="maskbench collect env=walker"):
        study.checked("quick", tmp_path / "nothing")
    with pytest.raises(typer.BadParameter, match="expected quick or full"):
        study.checked("fast", tmp_path)


def acting(folder: Path, values: dict[tuple[str, str, str], float]) -> Run:
    rows = [RolloutResult(q, p, m, v, v - 0.1, v + 0.1, 9, "") for (q, p, m), v in values.items()]
    return Run(folder, rollouts=tuple(rows))


def test_distances_are_tabulated_beside_their_references_and_judged(tmp_path: Path, capsys) -> None:
    script = importlib.import_module("goal_single")
    near = {"goal": 5.0, "goal_open": 6.0}
    values = {(q, "model", m): v for q, v in near.items() for m in script.COLUMNS}
    values |= {("goal", p, m): v for p, v in (("random", 13.0), ("zero", 12.0), ("replay", 0.0)) for m in script.COLUMNS}
    found = {"MaskDP": [acting(tmp_path, values)]}
    found |= {name: [acting(tmp_path, {("goal", "model", m): 8.0 for m in script.COLUMNS})] for name in script.MODELS[1:]}
    script.report(found, tmp_path / "out", "walker_walk", Console(stderr=True, width=160))
    table = (tmp_path / "out" / "goal_single.csv").read_text()
    for row in ("MaskDP closed", "MaskDP open", "Goal-GPT", "Goal-MLP", "(random)", "(zero)", "(replay)"):
        assert row in table
    assert (tmp_path / "out" / "goal_single_orderings.csv").read_text().count("holds") == 2
    assert (tmp_path / "out" / "goal_single.png").stat().st_size > 1000
    assert "38% of what random actions leave" in capsys.readouterr().err


def test_returns_of_agents_become_curves_and_verdicts(tmp_path: Path, capsys) -> None:
    script = importlib.import_module("rl_finetune")

    def run(name: str, seed: int, gain: float) -> Run:
        folder = tmp_path / name / str(seed) / "evaluation"
        folder.mkdir(parents=True)
        with (folder / "returns.csv").open("w", newline="") as file:
            rows = [[step, 20 + gain * step + seed, 1, 5] for step in (0, 100)]
            csv.writer(file).writerows([["step", "return", "sd", "episodes"], *rows])
        return Run(folder.parent)

    gains = {"pretrained": 1.0, "new": 0.5, "orthogonal": 0.4}
    found = {f"{t} {s}": [run(f"{t} {s}", i, g) for i in range(3)] for t in script.TRUNKS for s, g in gains.items()}
    script.report(found, tmp_path / "out", "walker_run", Console(stderr=True, width=160))
    assert (tmp_path / "out" / "rl_finetune_orderings.csv").read_text().count(",holds,") == 4
    assert (tmp_path / "out" / "rl_curves.png").is_file()
    assert "MaskDP: pretrained is clearly above new at the end" in capsys.readouterr().err
