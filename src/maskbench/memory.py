"""Freed memory stays with the process where small models train and act on CPUs."""

from __future__ import annotations

import ctypes
import sys

#: glibc's names for two numbers of ``mallopt(3)``, and what they are set to: free bytes at the end of the heap above which it
#: shrinks, and sizes above which a tensor gets a mapping of its own.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT, _LARGE = 256 << 20, 32 << 20


def keep_freed_memory() -> None:
    """Lets glibc keep up to 256 MiB of freed memory, for the rest of the process (it cannot tell what was set before).

    By default every step returns its tensors' pages to the system and faults them in again: a tenth of the time of training
    small models, a fifth of asking them for goals (measured). Other C libraries and systems are left alone.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)
