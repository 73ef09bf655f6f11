"""Windows per second against a plain per-item loop of the same work: slice each window, stack.

Run: python benchmarks/windows.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from maskbench.data.store import EpisodeStore
from maskbench.data.windows import WindowSampler
from maskbench.trajectory import Episode, Factor, TrajectorySpec

DOORKEY = (
    Factor("state", "discrete", "state", classes=16),
    Factor("key", "discrete", "state", classes=16),
    Factor("action", "discrete", "action", classes=4),
    Factor("rtg", "discrete", "return", classes=17),
)
LOCOMOTION = (Factor("state", "continuous", "state", (24,)), Factor("action", "continuous", "action", (6,)))
CASES = {"doorkey B=256 T=10": (DOORKEY, 2000, 10, 10), "locomotion B=256 T=64 d=30": (LOCOMOTION, 64, 1000, 64)}


def build(factors: tuple[Factor, ...], episodes: int, steps: int) -> EpisodeStore:
    random = np.random.default_rng(0)

    def values(f: Factor) -> np.ndarray:
        return random.integers(0, f.classes, steps) if f.classes else random.normal(size=(steps, *f.shape)).astype(np.float32)

    return EpisodeStore.from_episodes(
        TrajectorySpec(factors), (Episode({f.name: values(f) for f in factors}) for _ in range(episodes))
    )


def per_item(store: EpisodeStore, length: int, batch: int) -> Callable[[int], dict[str, torch.Tensor]]:
    """What a map-style dataset with default collation does, without worker processes."""
    episodes = [{n: torch.from_numpy(v) for n, v in store.episode(i).values.items()} for i in range(store.num_episodes)]
    where = [(e, t) for e, n in enumerate(store.lengths) for t in range(n - length + 1)]
    random = np.random.default_rng(0)

    def draw(step: int) -> dict[str, torch.Tensor]:
        items = []
        for i in random.integers(0, len(where), batch):
            episode, start = where[i]
            items.append({n: v[start : start + length] for n, v in episodes[episode].items()})
        return {n: torch.stack([item[n] for item in items]) for n in store.spec.names}

    return draw


def microseconds(draw: Callable[[int], object], calls: int) -> float:
    """Best of five rounds, per call."""
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        for step in range(calls):
            draw(step)
        best = min(best, (time.perf_counter() - begin) / calls)
    return best * 1e6


def main() -> None:
    torch.set_num_threads(1)
    table = Table("case", "sampler us", "per item us", "ratio", "windows/s")
    for name, (factors, episodes, steps, length) in CASES.items():
        store = build(factors, episodes, steps)
        ours = microseconds(WindowSampler(store, length, 256, 0).batch, 400)
        plain = microseconds(per_item(store, length, 256), 30)
        table.add_row(name, f"{ours:.0f}", f"{plain:.0f}", f"{plain / ours:.1f}x", f"{256e6 / ours:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
