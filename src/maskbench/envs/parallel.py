"""Episodes made by several processes, in order."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
#: Results that may wait for their turn, a process.
_AHEAD = 16


def in_processes(make: Callable[[int], T], numbers: Iterable[int], workers: int) -> Iterator[T]:
    """``make`` of every number, in order, by so many processes.

    They run ahead of whoever takes the results by a few only, so that memory does not grow, and end when this process does,
    however that ends.
    """
    waiting: deque[Future[T]] = deque()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _end_with_parent) as pool:
        try:
            for number in numbers:
                waiting.append(pool.submit(make, number))
                if len(waiting) >= _AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _end_with_parent() -> None:
    """A killed process cannot stop its workers; they watch it instead."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
