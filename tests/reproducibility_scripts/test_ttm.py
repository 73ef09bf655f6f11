"""The scripts of TTM: every run composes, games are played once and then read, tables follow from what was played."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console

from maskbench.app.config.compose import load
from maskbench.envs.text.kitchen import KitchenLite
from maskbench.policies.text_baselines import Expert
from maskbench.reports.claims import published
from maskbench.reports.tables import Table
from maskbench.text.rollout import TextRollout, TextStepRecord

SCRIPTS = Path(__file__).resolve().parents[2] / "reproducibility_scripts" / "ttm"
NAMES = ("cooking", "self_training", "data_scaling", "formats", "decoding", "zork")
QUIET = Console(stderr=True, width=160)


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in (*NAMES, "ttm_study"):
        sys.modules.pop(name, None)


def runs(name: str, mode: str, root: Path) -> dict[str, list[str]]:
    script = importlib.import_module(name)
    if name == "cooking":
        return script.runs(mode, 2, root)
    if name == "data_scaling":
        return script.runs(mode, 2, root)
    if name == "formats":
        return script.runs(mode, 2)
    if name == "zork":
        return script.runs(mode, 2, "lantern_house", root, root / "games") | script.runs(mode, 1, "zork", root, root / "games")
    return {f"epoch_{e}": script.line(e, root, mode) for e in range(2)}


@pytest.mark.parametrize("mode", ["quick", "full"])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "decoding"])
def test_every_run_composes(name: str, mode: str, tmp_path: Path) -> None:
    for run, overrides in runs(name, mode, tmp_path).items():
        if mode == "full" and not run.endswith("0"):
            continue  # other seeds differ in the seed alone
        config = load("train", overrides)
        assert config.env.text
        if name != "self_training":
            assert config.experiment.seed == int(run.rpartition("/")[2])
        if run.startswith("values"):
            assert config.model.load_dir == str(tmp_path / run.replace("values", "imitation"))
            assert config.masking.train.learn == "executed"


def test_values_start_from_a_model_of_the_same_size(tmp_path: Path) -> None:
    for mode in ("quick", "full"):
        found = runs("cooking", mode, tmp_path)
        one, other = (load("train", found[f"{name}/0"]).model for name in ("imitation", "values"))
        assert (one.n_layer, one.n_embd, one.context, one.lookback) == (
            other.n_layer,
            other.n_embd,
            other.context,
            other.lookback,
        )


def test_other_modes_are_refused() -> None:
    with pytest.raises(typer.BadParameter, match="quick or full"):
        importlib.import_module("ttm_study").checked("fast")


def test_games_are_played_once_and_then_read(tmp_path: Path) -> None:
    study = importlib.import_module("ttm_study")
    games = KitchenLite(1, split="test", games=3, horizon=20)
    first = study.play(tmp_path / "a", games, study.agent(Expert))
    again = study.play(tmp_path / "a", games, None)
    assert [r.episode_return for r in first] == [r.episode_return for r in again] == [4.0] * 3
    assert study.won([first]) == 1
    assert study.scores(first, games).tolist() == [1.0] * 3
    study.publish(tmp_path / "out", "table", Table("t", ("a",), ((1,),)), QUIET)
    assert (tmp_path / "out/table.md").is_file()
    assert not (tmp_path / "out/table.png").exists()


def test_intervals_over_seeds_hold_the_spread_between_them() -> None:
    study = importlib.import_module("ttm_study")
    games = np.linspace(0.2, 0.8, 20)
    same, apart = study.mean([games, games]), study.mean([games - 0.2, games + 0.2])
    assert same.value == pytest.approx(apart.value) == pytest.approx(0.5)
    assert apart.high - apart.low > same.high - same.low


def test_the_share_of_accepted_commands_is_told(tmp_path: Path) -> None:
    study, decoding = importlib.import_module("ttm_study"), importlib.import_module("decoding")
    records = study.play(tmp_path, KitchenLite(1, split="test", games=2, horizon=20), study.agent(Expert))
    assert decoding.accepted(records) == 1.0


def test_self_training_drops_what_repeats_itself_and_keeps_eight_of_a_game() -> None:
    script = importlib.import_module("self_training")
    dull = TextRollout("kitchen_lite", tuple(TextStepRecord("o", "look") for _ in range(4)), seed=1)
    lively = TextRollout("kitchen_lite", (TextStepRecord("o", "a"), TextStepRecord("o", "b")), seed=1)
    assert len(list(script.kept([dull, *[lively] * 10]))) == 8


def test_zork_gives_way_to_the_free_game_where_its_file_is_absent(tmp_path: Path) -> None:
    zork = importlib.import_module("zork")
    assert zork.game_of(tmp_path) == "lantern_house"
    (tmp_path / "zork1.z3").write_bytes(b"")
    assert zork.game_of(tmp_path) == "zork"


def test_the_free_games_table_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jericho", reason="story files are played by the package jericho")
    zork = importlib.import_module("zork")
    monkeypatch.setattr(zork.study, "train", lambda *given: {"lantern_house/student": []})
    monkeypatch.setattr(zork, "_students", lambda *given: zork.Measured(12.0))
    monkeypatch.setattr(zork, "_baselines", lambda *given: {"random admissible": zork.Measured(3.0)})
    zork.main("quick", tmp_path, tmp_path / "games")
    with (tmp_path / "quick/zork.csv").open() as file:
        found = {row["player"]: row for row in csv.DictReader(file)}
    assert float(found["walkthrough"]["points"]) == 50
    assert "There is no Zork I" in (tmp_path / "quick/zork.md").read_text()
    assert (tmp_path / "quick/zork.png").is_file()


def test_published_cooking_scores_are_those_of_the_specification() -> None:
    found = {(c.row, c.column): c.value for c in published("ttm", "cooking")}
    assert found["GATA, observation generation", "level 1"] == 0.662
    assert found["Tr-DQN (text)", "level 2"] == 0.32
