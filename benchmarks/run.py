"""Windows, masks, training samples and rollout steps per second, as ratios to a plain per-item loop of the same run.

Run: python benchmarks/run.py [--quick] [--case doorkey] [--json results.json] [--profile]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, only this folder is on the path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import ours, plain
from benchmarks.cases import CASES, QUICK, Case
from benchmarks.measure import Result, Work, compare
from maskbench.errors import MissingExtraError
from maskbench.training.trainer import Trainer

OPTIMIZER = {"name": "adamw", "lr": 1e-4, "weight_decay": 1e-4}
#: Draws per turn for windows and masks, optimiser steps per turn for training.
DRAWS, STEPS = 40, 20
MANY_SLOTS = 64


def measure(case: Case, repeats: int, draws: int = DRAWS, steps: int = STEPS) -> Iterator[Result]:
    """The four comparisons of one case, as each is done."""
    sampler, dataset = case.sampler(), plain.WindowDataset(case)
    random, draw = np.random.default_rng(0), plain.mask_drawer(case)
    batch = case.batch_size

    def plain_windows() -> None:
        for _ in range(draws):
            dataset.collate(random.integers(0, len(dataset), batch))

    def our_windows() -> None:
        for step in range(draws):
            sampler.batch(step)

    def plain_masks() -> None:
        for _ in range(draws):
            draw(random, batch)

    yield compare(case.name, "windows", draws * batch, {"plain": plain_windows, "maskbench": our_windows}, repeats)
    ways: dict[str, Work] = {"plain": plain_masks, "maskbench": lambda: ours.draw_masks(case, draws)}
    yield compare(case.name, "masks", draws * batch, ways, repeats)

    other = deepcopy(case.network)
    fp32, bf16 = (_trainer(steps, precision) for precision in ("fp32", "bf16"))
    ways = {
        "plain": lambda: plain.train(case, other, dataset, OPTIMIZER, steps),
        "maskbench": lambda: ours.train(case, sampler, OPTIMIZER, fp32),
        "bf16": lambda: ours.train(case, sampler, OPTIMIZER, bf16),
    }
    yield compare(case.name, "training samples", steps * batch, ways, repeats)

    taken = sum(r.length for r in ours.roll_out(case, case.slots))
    ways = {
        "plain": _discard(lambda: plain.roll_out(case, case.network)),
        "maskbench": _discard(lambda: ours.roll_out(case, case.slots)),
        f"{MANY_SLOTS} slots": _discard(lambda: ours.roll_out(case, MANY_SLOTS)),
    }
    yield compare(case.name, "rollout steps", taken, ways, repeats)


def _trainer(steps: int, precision: Any) -> Trainer:
    return Trainer(steps, device="cpu", precision=precision, log_every=steps, checkpoint_seconds=None, progress=False)


def _discard(work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        work()

    return run


def profile(case: Case, rows: int = 15) -> Iterator[tuple[str, str]]:
    """The costliest torch operations of maskbench's own training and rollout."""
    sampler, trainer = case.sampler(), _trainer(STEPS, "fp32")
    works = {
        "training": lambda: ours.train(case, sampler, OPTIMIZER, trainer),
        "rollout": lambda: ours.roll_out(case, case.slots),
    }
    for name, work in works.items():
        work()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
            work()
        yield name, recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=rows, max_name_column_width=40)


def announce(console: Console, result: Result) -> None:
    """What each way came to, and its ratios."""
    for way, rate in result.rates.items():
        low, middle, high = result.ratios.get(way, (1.0, 1.0, 1.0))
        said = f"{rate:,.1f} a second, {middle:.2f}x ({low:.2f} - {high:.2f})"
        console.print(f"{result.case} {result.measure}, {way}: {said}", highlight=False, soft_wrap=True)


def conclude(console: Console, results: Sequence[Result], path: Path | None) -> None:
    """Names the machine, and keeps the results as JSON at ``path``."""
    console.print(machine(), soft_wrap=True)
    if path is not None:
        path.write_text(json.dumps({"machine": machine(), "results": [asdict(r) for r in results]}, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def table(results: Sequence[Result]) -> Table:
    """One row a comparison; ratios as median (lowest - highest)."""
    view = Table("case", "per second", "plain", "maskbench", "ratio", "extra", "ratio")
    for r in results:
        extra = next((n for n in r.rates if n not in ("plain", "maskbench")), None)
        rates = [f"{r.rates[n]:,.0f}" for n in ("plain", "maskbench")]
        cells = [*rates, _ratio(r, "maskbench")]
        cells += [f"{extra}: {r.rates[extra]:,.0f}", _ratio(r, extra)] if extra else ["", ""]
        view.add_row(r.case, r.measure, *cells)
    return view


def _ratio(result: Result, way: str) -> str:
    low, middle, high = result.ratios[way]
    return f"{middle:.1f}x ({low:.1f} - {high:.1f})"


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run of less than a minute, not to be quoted")
    parser.add_argument("--case", choices=list(CASES), action="append", help="only this case; may be repeated")
    parser.add_argument("--repeats", type=int, default=7, help="turns per comparison")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--profile", action="store_true", help="print the costliest operations instead of comparing")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console, notes = Console(), Console(stderr=True)
    results: list[Result] = []
    for name in chosen.case or CASES:
        try:
            case = CASES[name](**(QUICK[name] if chosen.quick else {}))
        except MissingExtraError as missing:
            notes.print(f"{name} left out: {missing}")
            continue
        if chosen.profile:
            for what, text in profile(case):
                console.print(f"{name} {what}\n{text}", markup=False, soft_wrap=True)
            continue
        size = {"repeats": 2, "draws": 10, "steps": 8} if chosen.quick else {"repeats": chosen.repeats}
        for result in measure(case, **size):
            notes.print(f"{name}: {result.measure} done")
            results.append(result)
    if results:
        console.print(table(results))
    conclude(console, results, chosen.json)
    return results


if __name__ == "__main__":
    main()
