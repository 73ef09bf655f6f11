"""Text games go through train.py and run_on_env.py like everything else."""

import csv
import json
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import OmegaConf

from maskbench.app.config.compose import load, opened
from maskbench.app.config.decode import KeyMistake
from maskbench.app.config.folder import config_folder
from maskbench.app.text_eval import run_text_eval
from maskbench.app.text_stream import Kitchens, Mixed, Stored, by_game
from maskbench.app.text_train import load_text_model, run_text_training
from maskbench.errors import ConfigError, DataError
from maskbench.text.rollout import TextRollout, TextStepRecord, append

SCHEMES = [
    "text_bc",
    "text_rc",
    "text_hindsight",
    "text_forward",
    "text_expect_act",
    "text_label",
    "text_value",
    "text_inverse",
    "text_random",
]
TINY = [
    "env=kitchen_lite",
    "model=text_gpt_xs",
    "model.n_layer=1",
    "model.n_embd=16",
    "text.tokenizer=byte",
    "model.context=3000",
    "text.kitchen=1",
    "text.horizon=3",
    "text.validation=2",
    "experiment.batch_size=2",
    "experiment.num_steps=2",
    "trainer.validate_every=1",
]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskbench.app.text_train.FITTED", 5)
    monkeypatch.setattr("maskbench.training.text.TextProblem.pool", 1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_composes(scheme: str) -> None:
    config = load("train", ["env=cooking_level_2", f"masking={scheme}", "dataset.path=data/text/expert"])
    assert config.masking.train.name == scheme


@pytest.mark.parametrize("paper", ["cooking_quick", "values_quick", "self_training", "story"])
def test_papers_compose(paper: str) -> None:
    assert load("train", [f"paper=ttm/{paper}", "dataset.path=data/text/self"]).env.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["env=kitchen_lite", "text.kitchen=1"], "text_bc"),
        (["env=kitchen_lite", "masking=text_bc", "model=decoder", "text.kitchen=1"], "text_gpt_s"),
        (["env=doorkey", "masking=text_bc"], "no text game"),
        (["env=doorkey", "masking=gpt", "model=text_gpt_s"], "no text game"),
        (["env=kitchen_lite", "masking=text_bc"], "stored rollouts"),
        (["env=kitchen_lite", "masking=text_bc", "text.kitchen=1", "experiment.num_cv_runs=2"], "one at a time"),
    ],
)
def test_impossible_combinations_are_refused_before_anything_runs(line: list[str], message: str) -> None:
    with pytest.raises((KeyMistake, ConfigError), match=message):
        load("train", line)


def test_a_run_leaves_a_model_that_loads_from_its_folder_alone(tmp_path: Path, few: None) -> None:
    line = [*TINY, "masking=text_rc"]
    loss = run_text_training(load("train", line), tmp_path / "run")
    assert loss is not None
    assert (tmp_path / "run" / "report.html").is_file()
    state = json.loads((tmp_path / "run" / "checkpoints" / "best" / "trainer.json").read_text())
    assert state["extra"]["encoding"]["context"] == 3000


def test_fresh_kitchens_are_a_pure_function_of_seed_and_index() -> None:
    one, other = (Kitchens([1, 2], "invented", [(0.0, 1.0), (1.0, 1.0)], 6, seed=3) for _ in range(2))
    one.rollout(7)
    assert one.rollout(2) == other.rollout(2)
    assert one.rollout(2) != one.rollout(3)
    assert {r.max_score for r in map(one.rollout, range(12))} == {4.0, 5.0}
    assert any(s.noise for r in map(one.rollout, range(12)) for s in r.steps)


def rollout(seed: int) -> TextRollout:
    return TextRollout("kitchen_lite", (TextStepRecord("o", "c"), TextStepRecord("p", "")), seed=seed)


def test_stored_rollouts_come_once_a_pass_and_mixtures_keep_their_share() -> None:
    stored = Stored([rollout(i) for i in range(5)])
    assert sorted(stored.rollout(i).seed or 0 for i in range(5)) == [0, 1, 2, 3, 4]
    assert [stored.rollout(i).seed for i in range(5)] != [stored.rollout(i).seed for i in range(5, 10)]
    mixed = Mixed(Stored([rollout(100)]), stored, 0.25)
    assert sum(mixed.rollout(i).seed == 100 for i in range(400)) == pytest.approx(100, abs=30)


def test_games_are_held_out_whole() -> None:
    train, held_out = by_game([rollout(i % 20) for i in range(60)], 100)
    assert {r.seed for r in held_out} == {18, 19}
    assert {r.seed for r in train} == set(range(18))


def test_rollouts_that_are_not_admitted_are_named(tmp_path: Path, few: None) -> None:
    append(tmp_path, rollout(1))
    line = [*TINY, "masking=text_bc", "text.kitchen=0", f"dataset.path={tmp_path}", "experiment.run_id=4"]
    with pytest.raises(DataError, match="run_id=4"):
        run_text_training(load("train", line), tmp_path / "run")


def test_loading_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not the folder of a run"):
        load_text_model(str(tmp_path))


def test_eval_says_what_a_run_foretells_and_what_happened(tmp_path: Path, few: None) -> None:
    line = [*TINY, "masking=text_hindsight", "masking.train.given=[obs]", "masking.train.predict=[exp,act]"]
    line += ["text.labellers=[recipe]"]
    run_text_training(load("train", line), tmp_path / "run")
    (tmp_path / "run/.hydra").mkdir()
    with opened(config_folder()):
        OmegaConf.save(compose("train", line), tmp_path / "run/.hydra/config.yaml")
    total = run_text_eval(load("eval", [f"model.load_dir={tmp_path / 'run'}"]), tmp_path / "eval")
    with (tmp_path / "eval/evaluation/expectations.csv").open() as file:
        rows = {row["factor"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"exp", "act"}
    assert all(0 <= float(row["token F1"]) <= 1 for row in rows.values())
    spans = [json.loads(x) for x in (tmp_path / "eval/evaluation/foretold.jsonl").read_text().splitlines()]
    assert {"inventory", "examine cookbook"} <= {s["actual"] for s in spans if s["factor"] == "act"}
    own = [s["nats"] for s in spans if s["factor"] != "obs"]
    assert total == pytest.approx(sum(own) / len(own))
    assert (tmp_path / "eval/report.html").is_file()
