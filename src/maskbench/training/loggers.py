"""Where the numbers of a run go: CSV always, TensorBoard and Weights & Biases on request."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from maskbench.errors import ConfigError, DataError, MissingExtraError

#: Keys with this prefix measure the machine, not the model; ``CsvLogger`` keeps them apart.
TIMING = "time/"


class Logger(Protocol):
    """Receives at most one row a step, in order of steps. An exception of a logger ends the run (a sweep prunes that way)."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class CsvLogger:
    """``metrics.csv`` (what was learned) and ``timing.csv`` (how fast) in the run folder: one row a step, exact numbers.

    An interrupted and resumed run ends with the same bytes in ``metrics.csv`` as an uninterrupted one; timings differ by
    nature and so have their own file.

    keep_until: rows of later steps are dropped from both files (the step of the checkpoint that a run resumes from); None
                starts the files anew.
    """

    def __init__(self, run_dir: str | Path, keep_until: int | None = None) -> None:
        folder = Path(run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = _Table(folder / "metrics.csv", keep_until)
        self._timing = _Table(folder / "timing.csv", keep_until)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for table, timing in ((self._metrics, False), (self._timing, True)):
            row = {k: float(v) for k, v in values.items() if k.startswith(TIMING) == timing}
            if row:
                table.append(step, row)

    def close(self) -> None:
        self._metrics.close()
        self._timing.close()


class _Table:
    """A CSV file that grows by rows; a new column rewrites it, atomically."""

    def __init__(self, path: Path, keep_until: int | None) -> None:
        self._path = path
        self._columns: list[str] = ["step"]
        self._rows: list[list[str]] = []
        if keep_until is not None and path.is_file():
            self._load(keep_until)
        self._rewrite()

    def _load(self, keep_until: int) -> None:
        whole = self._path.read_text().rpartition("\n")[0]  # a line that a crash cut short is none
        lines = list(csv.reader(io.StringIO(whole)))
        if not lines or lines[0][:1] != ["step"]:
            raise DataError(f"{self._path} is not a table that a run wrote: its header is {lines[:1]}. Move it away to resume.")
        rows = [r for r in lines[1:] if int(r[0]) <= keep_until]
        used = [i for i in range(len(lines[0])) if i == 0 or any(i < len(r) and r[i] for r in rows)]
        self._columns = [lines[0][i] for i in used]
        self._rows = [[r[i] if i < len(r) else "" for i in used] for r in rows]

    def append(self, step: int, row: Mapping[str, float]) -> None:
        new = [k for k in row if k not in self._columns]
        self._columns += new
        line = [str(step), *(repr(row[c]) if c in row else "" for c in self._columns[1:])]
        self._rows.append(line)
        if new:
            self._file.close()
            self._rewrite()
        else:
            self._file.write(_format([line]))
            self._file.flush()

    def _rewrite(self) -> None:
        padded = [r + [""] * (len(self._columns) - len(r)) for r in self._rows]
        temporary = self._path.with_name(f".{self._path.name}")
        with open(temporary, "w", newline="") as file:
            file.write(_format([self._columns, *padded]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)
        self._file = open(self._path, "a", newline="")  # noqa: SIM115

    def close(self) -> None:
        self._file.close()


def _format(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


class TensorBoardLogger:
    """Event files in ``<run_dir>/tensorboard``. On resume, points after the first logged step are purged.

    Raises MissingExtraError where tensorboard is not installed.
    """

    def __init__(self, run_dir: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "tracking", "the TensorBoard logger") from error
        writer: Any = SummaryWriter
        self._open: Callable[[int], Any] = lambda step: writer(str(Path(run_dir) / "tensorboard"), purge_step=step)
        self._writer: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._writer = self._writer or self._open(step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class WandbLogger:
    """A Weights & Biases run in ``<run_dir>/wandb``; nothing leaves the machine unless ``mode='online'``.

    The run's id is derived from the run folder, so that a resumed run continues its curves. ``config`` is stored with it.
    Raises MissingExtraError where wandb is not installed.
    """

    def __init__(
        self,
        run_dir: str | Path,
        project: str = "maskbench",
        name: str | None = None,
        mode: Literal["offline", "online", "disabled"] = "offline",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        if mode not in ("offline", "online", "disabled"):
            raise ConfigError(f"wandb mode '{mode}' is unknown. Valid: offline, online, disabled.")
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("wandb", "tracking", "the Weights & Biases logger") from error
        identity = hashlib.sha256(str(Path(run_dir).resolve()).encode()).hexdigest()[:16]
        Path(run_dir).mkdir(parents=True, exist_ok=True)
        self._start: Callable[[], Any] = lambda: wandb.init(
            project=project, name=name, id=identity, resume="allow", mode=mode, dir=str(run_dir), config=dict(config or {})
        )
        self._run: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run = self._run or self._start()
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


def build_loggers(names: tuple[str, ...] | list[str], run_dir: str | Path, **wandb_options: Any) -> list[Logger]:
    """The loggers called ``names`` (``tensorboard``, ``wandb``); ``csv`` is always on and may be named too."""
    built: list[Logger] = []
    for name in names:
        if name == "tensorboard":
            built.append(TensorBoardLogger(run_dir))
        elif name == "wandb":
            built.append(WandbLogger(run_dir, **wandb_options))
        elif name != "csv":
            raise ConfigError(f"logger '{name}' is unknown. Valid: csv, tensorboard, wandb.")
    return built
