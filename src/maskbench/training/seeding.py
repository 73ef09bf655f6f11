"""Random number streams.

Training draws everything from streams that are named by ``(seed, step, rank)``: a step depends on its own number only, so
resuming needs no replay and neither validation nor logging can change what is learned.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from maskbench.errors import ConfigError, DataError

_MASK = (1 << 64) - 1

#: Stream of dropout and of everything else that draws from torch's global generator inside a training step.
STEP_STREAM = 1
#: Stream of torch's global generator during validation: the same at every step, so that curves compare like with like.
VALIDATION_STREAM = 2


def step_seed(seed: int, step: int, rank: int = 0, stream: int = 0) -> int:
    """63-bit seed of one step: SplitMix64 (Steele, Lea and Flood 2014) chained over the four numbers."""
    state = 0
    for number in (seed, step, rank, stream):
        state = (state ^ (number & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


def step_generator(seed: int, step: int, rank: int = 0, device: torch.device | str = "cpu", stream: int = 0) -> torch.Generator:
    """A fresh generator on ``device`` for one step. Users that draw different things in a step take different ``stream``s;
    streams 1 and 2 are the trainer's own."""
    return torch.Generator(device=device).manual_seed(step_seed(seed, step, rank, stream))


def seed_everything(seed: int) -> None:
    """Seeds torch (all devices), numpy and python. Raises ConfigError unless ``0 <= seed < 2**32`` (numpy's range)."""
    if not 0 <= seed < 1 << 32:
        raise ConfigError(f"seed must lie in 0 .. 2**32 - 1; found {seed}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_torch(seed: int, device: torch.device) -> None:
    """Seeds the global generators of the CPU and of ``device``; unlike ``torch.manual_seed`` it leaves other devices asleep."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def host_rng_state() -> dict[str, Any]:
    """States of python's and numpy's global generators as JSON. Torch's is reseeded at every step and needs no saving."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": {"version": version, "words": list(words), "gauss": gauss},
        "numpy": {
            "keys": np.asarray(keys, "<u4").tobytes().hex(),
            "position": position,
            "has_gauss": has_gauss,
            "cached": cached,
        },
    }


def restore_host_rng(state: dict[str, Any]) -> None:
    """Inverse of ``host_rng_state``. Raises DataError for a state that it did not write."""
    try:
        py, npy = state["python"], state["numpy"]
        random.setstate((py["version"], tuple(py["words"]), py["gauss"]))
        keys = np.frombuffer(bytes.fromhex(npy["keys"]), "<u4").astype(np.uint32)
        np.random.set_state(("MT19937", keys, npy["position"], npy["has_gauss"], npy["cached"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the saved random number states of python and numpy cannot be read: {error}") from error


@contextmanager
def preserved_host_rng() -> Iterator[None]:
    """Leaves python's and numpy's global generators as they were."""
    state = host_rng_state()
    try:
        yield
    finally:
        restore_host_rng(state)
