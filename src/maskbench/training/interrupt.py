"""Leaving a run cleanly on SIGINT and SIGTERM."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal ended the run after a whole step and a checkpoint. Callers print the message and exit with code 130.

    A KeyboardInterrupt, so that no ``except Exception`` of a sweep mistakes it for a failed job and goes on to the next.
    """


class SignalGuard:
    """Inside the ``with`` block the first SIGINT or SIGTERM only sets ``received``; a second one acts as it did before.

    Python delivers signals to the main thread alone; in another thread the guard does nothing.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> SignalGuard:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._receive) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()
