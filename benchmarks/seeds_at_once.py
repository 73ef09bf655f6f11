"""Training samples per second of the whole machine, a seed a core, as ratios to published code by the clock.

Run: git clone https://github.com/micahcarroll/uniMASK && python benchmarks/seeds_at_once.py uniMASK [--json results.json]
     python benchmarks/seeds_at_once.py bet-reproduction --code bet    # what it needs: benchmarks/README.md

Several seeds are trained, of uniMASK's multi-task configuration or of BeT's block push: by the published code one after the
other, in one process with torch's own number of threads, as its scripts do; by it and by ours one a core at the same time,
each on one thread, as our campaigns do (``--workers``). Processes stay and take turns. Only an otherwise idle machine can
measure this.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, only this folder is on the path

import torch
from rich.console import Console

from benchmarks import published_bet, published_unimask
from benchmarks.measure import Result, compare
from benchmarks.run import announce, conclude

CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Way:
    """What trains the seeds: a side of ``training_works``, in so many processes of so many threads."""

    side: str
    processes: int
    threads: int


WAYS = {
    "published": Way("published", 1, CORES),
    "published, a seed a core": Way("published", CORES, 1),
    "maskbench": Way("maskbench", CORES, 1),
    "compile + bf16": Way("compile + bf16", CORES, 1),
}


class Crew:
    """Processes that train ``CORES`` seeds between them every time they are called."""

    def __init__(self, code: str, checkout: Path, steps: int, way: Way) -> None:
        context = multiprocessing.get_context("spawn")
        self.turns = CORES // way.processes
        self.lines: list[Connection] = []
        self.processes = []
        for _ in range(way.processes):
            mine, theirs = context.Pipe()
            process = context.Process(target=_train, args=(theirs, code, checkout, steps, way), daemon=True)
            process.start()
            self.lines.append(mine)
            self.processes.append(process)
        samples = [line.recv() for line in self.lines]  # of one seed, once the process is ready
        self.items = samples[0] * CORES

    def __call__(self) -> None:
        for _ in range(self.turns):
            for line in self.lines:
                line.send("train")
            for line in self.lines:
                line.recv()

    def dismiss(self) -> None:
        for line, process in zip(self.lines, self.processes, strict=True):
            line.send("end")
            process.join()


def _train(line: Connection, code: str, checkout: Path, steps: int, way: Way) -> None:
    torch.set_num_threads(way.threads)
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        items, works = CODES[code](checkout, steps, "compile" in way.side, Path(folder))
        torch.set_num_threads(way.threads)  # whatever the published code wants
        line.send(items)
        while line.recv() == "train":
            works[way.side]()
            line.send("done")


def _unimask(checkout: Path, steps: int, compiled: bool, folder: Path) -> tuple[int, dict[str, Callable[[], object]]]:
    return published_unimask.training_works(published_unimask.Published(checkout), "multi-task", steps, compiled)


def _bet(checkout: Path, steps: int, compiled: bool, folder: Path) -> tuple[int, dict[str, Callable[[], object]]]:
    """An epoch of 84 updates, whatever ``steps``."""
    sides = published_bet.Sides.build(published_bet.Published(checkout), 200, 0, folder)
    return published_bet.training_works(sides, compiled)


CODES = {"unimask": _unimask, "bet": _bet}


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder of the published code")
    parser.add_argument("--code", choices=list(CODES), default="unimask", help="whose code that is")
    parser.add_argument("--repeats", type=int, default=5, help="turns of every way")
    parser.add_argument("--steps", type=int, default=200, help="updates of a seed per turn (bet: always one epoch, 84)")
    parser.add_argument("--json", type=Path, help="also write the results here")
    chosen = parser.parse_args(arguments)
    console = Console()
    crews = {label: Crew(chosen.code, chosen.checkout.resolve(), chosen.steps, way) for label, way in WAYS.items()}
    items = crews["published"].items
    result = compare(chosen.code, f"training samples of {CORES} seeds", items, crews, chosen.repeats, "published")
    for crew in crews.values():
        crew.dismiss()
    announce(console, result)
    conclude(console, [result], chosen.json)
    return [result]


if __name__ == "__main__":
    main()
