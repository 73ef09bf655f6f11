"""Instructions from the command line: training, other partitions, changed and hidden prompts, released data."""

from pathlib import Path

import pytest
from tests.app.test_end_to_end import measured, run
from tests.data.importers.test_vima import made

from maskbench.data.importers.vima import VimaTrajectory
from maskbench.data.importers.vima import write_trajectories as write

pytestmark = pytest.mark.slow
TINY = (
    *("env=tabletop", "masking=vima", "experiment.num_steps=4", "experiment.num_eval_eps=3", "experiment.batch_size=8"),
    *("model.n_embd=32", "model.sight.width=16", "model.sight.n_head=2", "model.sight.features=16", "model.text.width=16"),
    *("evaluation.num_windows=4", "hydra.run.dir=run"),
)


RECORDED = (*("dataset.path=vima_v6", "env.slots=8", "dataset.window=3", "dataset.split.validation=1", "dataset.split.test=1"),)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("vima")
    run("train.py", *TINY, "dataset.generate.episodes=20", cwd=home)
    return home


def test_training_ends_with_rollouts(trained: Path) -> None:
    assert measured(trained / "run", "bc", "success", "data") == 1.0
    assert (trained / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    "changes",
    [
        ("env.partition=combinatorial_generalization", "env.difficulty=distracting"),
        ("query.perturb=[reworded,textual]", "query.prompt.visual=0", "query.shuffle_slots=true"),
    ],
)
def test_models_are_asked_elsewhere_and_otherwise_without_new_data(trained: Path, changes: tuple[str, ...]) -> None:
    before = sorted(p.name for p in (trained / "data" / "generated").iterdir())
    run("run_on_env.py", f"model.load_dir={trained / 'run'}", "experiment.num_eval_eps=3", *changes, cwd=trained)
    assert sorted(p.name for p in (trained / "data" / "generated").iterdir()) == before


def test_released_trajectories_train_the_same_model(tmp_path: Path) -> None:
    items: list[VimaTrajectory] = [made(1 + i % 2, i) for i in range(8)]
    write(tmp_path / "vima_v6", items)
    run("train.py", *TINY, *RECORDED, cwd=tmp_path)
    assert (tmp_path / "run" / "checkpoints").is_dir()
