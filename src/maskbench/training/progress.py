"""What a human sees of a run, on stderr: one live bar, or a few plain lines where nobody watches a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_PLAIN_LINES = 20
_REFRESH_SECONDS = 0.2
_SHOWN = {"train/loss": "loss", "validation/loss": "validation", "time/samples_per_second": "samples/s"}


class RunProgress:
    """Shows step, loss, samples/s and time left. ``console=None`` writes to stderr; a disabled one writes nothing.

    shown: which values of a row are shown, under which label.
    """

    def __init__(
        self,
        num_steps: int,
        step: int = 0,
        console: Console | None = None,
        enabled: bool = True,
        shown: Mapping[str, str] = _SHOWN,
    ) -> None:
        self._shown_values = shown
        self._console = console or Console(stderr=True, quiet=not enabled)
        self._num_steps = num_steps
        self._first = step
        self._start = self._shown = time.monotonic()
        self._every = max(1, -(-num_steps // (_PLAIN_LINES - 2)))
        self._next_line = step
        self._bar: Progress | None = None
        if self._console.is_terminal and enabled:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("", total=num_steps, completed=step)
            self._bar.start()

    def step(self, step: int) -> None:
        """Moves the bar, at most five times a second."""
        if self._bar is not None and time.monotonic() - self._shown > _REFRESH_SECONDS:
            self._shown = time.monotonic()
            self._bar.update(self._task, completed=step)

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Shows a log row; plain output keeps to about 20 rows a run."""
        text = "  ".join(f"{label} {values[key]:.4g}" for key, label in self._shown_values.items() if key in values)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
        elif step >= self._next_line or step == self._num_steps:
            self._next_line = (step // self._every + 1) * self._every
            done = step - self._first
            left = (time.monotonic() - self._start) / done * (self._num_steps - step) if done else float("nan")
            remaining = f"  {left:.0f} s left" if left > 0 else ""
            self._console.print(f"step {step}/{self._num_steps}  {text}{remaining}", highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """One sentence above the bar."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
