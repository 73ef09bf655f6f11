"""Many runs towards one figure: finished ones are never trained again, interrupted ones resume, missing ones are listed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from maskbench.app.config.runs import has_checkpoint
from maskbench.errors import ConfigError, MaskbenchError
from maskbench.reports.collect import Run, collect
from maskbench.training.interrupt import SignalGuard

State = Literal["finished", "interrupted", "missing"]
#: Seconds between two looks at the running processes, and how long interrupted ones may take to save.
_POLL, _GRACE = 0.2, 60.0


@dataclass(frozen=True)
class Campaign:
    """Named runs of ``train.py`` below one folder.

    root:    holds one run folder a name; a name may hold slashes.
    runs:    overrides by name. A run whose ``model.load_dir`` is ``<root>/<name>`` of another one waits for it.
    workers: runs that train at the same time, each in a process with one thread. More than one writes what a run prints to
             ``<root>/<name>.log``.
    launcher: how each run is launched (``configs/launcher``): ``basic`` = in its process; ``slurm`` = as a job of the cluster,
             whose end the process waits for, so that ``workers`` is how many jobs are queued at the same time.
    """

    root: Path
    runs: Mapping[str, Sequence[str]]
    workers: int = 1
    script: Path = Path("train.py")
    launcher: str = "basic"

    def state(self, name: str) -> State:
        """A run is finished once its evaluation is written; before that it resumes from its last checkpoint."""
        folder = self.root / name
        if (folder / "report.html").is_file():
            return "finished"
        return "interrupted" if has_checkpoint(folder) else "missing"

    def needs(self, name: str) -> str | None:
        """The run of this campaign whose weights ``name`` starts from."""
        for override in self.runs[name]:
            key, _, value = override.partition("=")
            if key == "model.load_dir":
                return next((other for other in self.runs if self.root / other == Path(value)), None)
        return None

    def run(self, console: Console, wanted: Collection[str] | None = None) -> dict[str, Run]:
        """Trains what is not finished, or of that only what is ``wanted``; returns the results of all that then are.

        Raises MaskbenchError naming the first run that failed, once the others at work have saved; what is finished stays.
        SIGINT and SIGTERM are passed on to the runs at work, which save a checkpoint each; the next call goes on from there.
        """
        names = list(self.runs) if wanted is None else [name for name in self.runs if name in wanted]
        states = {name: self.state(name) for name in names}
        for name, state in states.items():
            console.print(f"{state:>11}  {name}")
        waiting = [name for name, state in states.items() if state != "finished"]
        self._check_order(waiting)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with SignalGuard() as guard, Progress(*columns, console=console, disable=self.workers == 1) as progress:
            bar = progress.add_task("runs", total=len(names), completed=len(names) - len(waiting))
            active: dict[str, subprocess.Popen[bytes]] = {}
            began: dict[str, float] = {}
            try:
                while waiting or active:
                    ready = [n for n in waiting if (need := self.needs(n)) is None or self.state(need) == "finished"]
                    for name in ready[: self.workers - len(active)]:
                        waiting.remove(name)
                        began[name] = time.monotonic()
                        active[name] = self._start(name, states[name], console)
                    time.sleep(_POLL)
                    if guard.received is not None:
                        raise MaskbenchError(f"Stopped by {guard.received}. Run the script again to go on from there.")
                    for name in [n for n, process in active.items() if process.poll() is not None]:
                        code = active.pop(name).returncode
                        if code != 0:
                            log = "" if self.workers == 1 else f"; see {self._log(name)}"
                            raise MaskbenchError(
                                f"the run '{name}' ended with code {code}{log}. Run this script again to go on."
                            )
                        console.print(f"   finished  {name}  {time.monotonic() - began[name]:.0f} s")
                        progress.update(bar, advance=1, description=", ".join(active) or "runs")
            finally:
                _stop(active.values())
        return {name: collect(self.root / name) for name in self.runs if self.state(name) == "finished"}

    def _check_order(self, waiting: Sequence[str]) -> None:
        for name in waiting:
            chain = [name]
            while (need := self.needs(chain[-1])) is not None:
                if need in chain:
                    raise ConfigError(f"the runs {[*chain, need]} wait for each other")
                chain.append(need)

    def command(self, name: str, state: State) -> list[str]:
        """Arguments of the script that train ``name``, or go on with it. An interrupted run always goes on in this machine's
        process."""
        folder = self.root / name
        if state == "interrupted":
            return [f"resume={folder}"]
        if self.launcher == "basic":
            return [*self.runs[name], f"hydra.run.dir={folder}"]
        where = [f"hydra.sweep.dir={folder}", "hydra.sweep.subdir=."]
        return ["-m", *self.runs[name], f"launcher={self.launcher}", *where]

    def _start(self, name: str, state: State, console: Console) -> subprocess.Popen[bytes]:
        written = self.root / name / ".hydra"
        if state == "missing" and written.is_dir():  # refused, or killed before its first checkpoint: it begins anew
            shutil.rmtree(written)
        command = [sys.executable, str(self.script), *self.command(name, state)]
        if self.workers == 1:
            console.rule(name)
            return subprocess.Popen(command, start_new_session=True)
        log = self._log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with log.open("ab") as file:
            return subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | threads, start_new_session=True)

    def _log(self, name: str) -> Path:
        return self.root / f"{name}.log"


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Lets runs at work save and end."""
    alive = [p for p in processes if p.poll() is None]
    for process in alive:
        process.send_signal(signal.SIGINT)
    for process in alive:
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
