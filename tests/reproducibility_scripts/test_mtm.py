"""The scripts of MTM's figures: every run composes, and verdicts follow from numbers."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from rich.console import Console

from maskbench.app.config.compose import load
from maskbench.app.config.folder import config_folder
from maskbench.app.config.help import options
from maskbench.reports.collect import RolloutResult, Run
from maskbench.reports.tables import Measured

SCRIPTS = Path(__file__).resolve().parents[2] / "reproducibility_scripts" / "unimask"


@pytest.fixture(params=["mtm_heteromodal", "mtm_masks"])
def script(request, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module(request.param)
    for name in ("mtm_heteromodal", "mtm_masks"):
        sys.modules.pop(name, None)


def test_every_quick_run_composes(script) -> None:
    found = script.runs("quick")
    assert len(found) == (9 if hasattr(script, "REGIMES") else 8)
    for overrides in found.values():
        assert load("train", overrides).dataset.path is None


def test_every_full_run_composes_where_its_environment_is_there(script, tmp_path) -> None:
    for column in script.FULL:
        for overrides in script.runs("full", column, tmp_path).values():
            env = next(o.partition("=")[2] for o in overrides if o.startswith("env="))
            path = Path(next(o.partition("=")[2] for o in overrides if o.startswith("dataset.path=")))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            if env in options(config_folder(), "env"):
                assert load("train", overrides).model.n_embd == 512


def test_full_lists_what_is_missing(script, tmp_path) -> None:
    for column in script.FULL:
        why = script.missing(column, tmp_path)
        assert "no environment" in why or "data fetch d4rl/" in why


def acting(folder: Path, value: float) -> Run:
    rows = [
        RolloutResult(q, "model", "return", value, value - 0.1, value + 0.1, 9, "") for q in ("bc", "bc_two_stage", "return")
    ]
    return Run(folder, rollouts=tuple(rows))


def test_results_are_written_and_judged(script, tmp_path) -> None:
    names = script.REGIMES if hasattr(script, "REGIMES") else script.MASKS
    values = dict(zip(names, (1.0, 5.0, 9.0) if hasattr(script, "REGIMES") else (8.0, 2.0, 8.5, 7.0), strict=True))
    results = {
        f"{name}/{seed}": acting(tmp_path / name, value + 0.1 * seed) for name, value in values.items() for seed in range(3)
    }
    console = Console(record=True, width=200)
    script.report(results, tmp_path, "quick", "toy", console)
    text = console.export_text()
    assert text.count("holds") == 3
    assert "does not hold" not in text
    assert len(list(tmp_path.glob("*.csv"))) == 2
    assert next(tmp_path.glob("*.png")).read_bytes().startswith(b"\x89PNG")


def test_heteromodal_training_must_beat_both_policies_of_the_labelled_model(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    script = importlib.import_module("mtm_heteromodal")
    found = {(r, q): Measured(1.0, 0.9, 1.1) for r in script.REGIMES for q in ("bc", "bc_two_stage")}
    found["heteromodal", "bc_two_stage"] = Measured(2.0, 1.8, 2.2)
    verdicts = {row[0]: row[-1] for row in script.table(found, {}, "t").rows}
    assert verdicts["Heteromodal MTM, 1 % > MTM, 1 %"] == "holds"
    found["labelled", "bc_two_stage"] = Measured(1.9, 1.7, 2.1)
    assert script.table(found, {}, "t").rows[0][-1] == "holds, intervals overlap"
    found["labelled", "bc"] = Measured(2.5, 2.4, 2.6)
    assert script.table(found, {}, "t").rows[0][-1] == "does not hold"
