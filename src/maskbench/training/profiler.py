"""Where the time of a training step goes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule


class StepProfiler:
    """Records ``active`` steps after ``warmup`` ones and writes a table of the costliest operations.

    The table is written as soon as the steps are recorded, or at ``close`` where the run was shorter.
    """

    def __init__(self, path: Path, warmup: int = 5, active: int = 10) -> None:
        cuda = torch.cuda.is_available()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        self._path = path
        self._sort = "self_cuda_time_total" if cuda else "self_cpu_time_total"
        self._left = warmup + active
        self._profile = profile(activities=activities, schedule=schedule(wait=0, warmup=warmup, active=active, repeat=1))
        self._profile.start()

    def step(self) -> None:
        if self._left > 0:
            self._left -= 1
            self._profile.step()
            if self._left == 0:
                self._finish()

    def close(self) -> None:
        if self._left > 0:
            self._left = 0
            self._finish()

    def _finish(self) -> None:
        self._profile.stop()
        self._path.write_text(self._profile.key_averages().table(sort_by=self._sort, row_limit=40) + "\n")
