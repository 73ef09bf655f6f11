import builtins
import csv
import math

import pytest

from maskbench.errors import ConfigError, DataError, MissingExtraError
from maskbench.training.loggers import CsvLogger, TensorBoardLogger, WandbLogger, build_loggers


def test_numbers_survive_exactly_and_timings_are_kept_apart(tmp_path):
    logger = CsvLogger(tmp_path)
    values = {"a": 0.1 + 0.2, "b": math.pi * 1e-30, "time/seconds": 3.0}
    logger.log(4, values)
    logger.close()
    row = next(csv.DictReader(open(tmp_path / "metrics.csv")))  # noqa: SIM115
    assert {k: float(v) for k, v in row.items()} == {"step": 4, "a": values["a"], "b": values["b"]}
    assert (tmp_path / "timing.csv").read_text() == "step,time/seconds\n4,3.0\n"


def test_a_new_column_widens_earlier_rows(tmp_path):
    logger = CsvLogger(tmp_path)
    logger.log(1, {"a": 1.0})
    logger.log(2, {"b": 2.0, "a": 3.0})
    logger.log(3, {"b": 4.0})
    logger.close()
    assert (tmp_path / "metrics.csv").read_text() == "step,a,b\n1,1.0,\n2,3.0,2.0\n3,,4.0\n"


def test_rows_and_columns_after_the_checkpoint_are_dropped_on_resume(tmp_path):
    logger = CsvLogger(tmp_path)
    logger.log(1, {"a": 1.0, "time/seconds": 1.0})
    logger.log(2, {"a": 1.0, "b": 2.0, "time/seconds": 2.0})
    logger.close()
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("1")  # a crash in the middle of step 1234
    logger = CsvLogger(tmp_path, keep_until=1)
    logger.log(2, {"c": 5.0})
    logger.close()
    assert (tmp_path / "metrics.csv").read_text() == "step,a,c\n1,1.0,\n2,,5.0\n"
    assert (tmp_path / "timing.csv").read_text() == "step,time/seconds\n1,1.0\n"


def test_a_file_that_is_no_run_table_is_refused_on_resume(tmp_path):
    (tmp_path / "metrics.csv").write_text("hello\nworld\n")
    with pytest.raises(DataError, match="not a table"):
        CsvLogger(tmp_path, keep_until=3)


def test_tensorboard_writes_events_below_the_run_folder(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    logger.log(5, {"train/loss": 0.5})
    logger.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(5, 0.5)]


@pytest.mark.slow
def test_wandb_stays_offline_inside_the_run_folder(tmp_path):
    pytest.importorskip("wandb")
    logger = WandbLogger(tmp_path, config={"lr": 0.1})
    logger.log(1, {"train/loss": 0.5})
    logger.close()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.parametrize(("logger", "module"), [(TensorBoardLogger, "torch.utils.tensorboard"), (WandbLogger, "wandb")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, logger, module):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == module:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"maskbench\[tracking\]"):
        logger(tmp_path)


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="tensorbord"):
        build_loggers(["csv", "tensorbord"], tmp_path)
    with pytest.raises(ConfigError, match="mode"):
        WandbLogger(tmp_path, mode="on")
