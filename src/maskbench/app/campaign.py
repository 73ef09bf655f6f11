"""Many runs towards one figure: finished ones are never trained again, interrupted ones resume, missing ones are listed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from maskbench.errors import MaskbenchError
from maskbench.reports.collect import Run, collect

State = Literal["finished", "interrupted", "missing"]


@dataclass(frozen=True)
class Campaign:
    """Named runs of ``train.py`` below one folder.

    root: holds one run folder a name.
    runs: overrides by name, in the order in which they are trained; a run may start from an earlier one by
          ``model.load_dir=<root>/<name>``.
    """

    root: Path
    runs: Mapping[str, Sequence[str]]
    script: Path = Path("train.py")

    def state(self, name: str) -> State:
        """A run is finished once its evaluation is written; before that it resumes from its last checkpoint."""
        folder = self.root / name
        if (folder / "report.html").is_file():
            return "finished"
        return "interrupted" if (folder / "checkpoints" / "last").exists() else "missing"

    def run(self, console: Console) -> dict[str, Run]:
        """Trains what is not finished, one after the other; returns the results of all. Raises MaskbenchError naming the run
        that failed; what is finished stays."""
        states = {name: self.state(name) for name in self.runs}
        for name, state in states.items():
            console.print(f"{state:>11}  {name}")
        for name, overrides in self.runs.items():
            if states[name] == "finished":
                continue
            folder = self.root / name
            start = [f"resume={folder}"] if states[name] == "interrupted" else [*overrides, f"hydra.run.dir={folder}"]
            console.rule(name)
            code = subprocess.run([sys.executable, str(self.script), *start], check=False).returncode
            if code != 0:
                raise MaskbenchError(f"the run '{name}' ended with code {code}; run this script again to go on from there")
        return {name: collect(self.root / name) for name in self.runs}
