"""Training samples per second of several seeds as one stack, as ratios to the same seeds one after the other, of one run.

Run: python benchmarks/stacked_seeds.py [--quick] [--size 0 1] [--seeds 2 4 6] [--json results.json] [--device cuda]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, only this folder is on the path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Result, Work, compare
from benchmarks.run import OPTIMIZER, conclude
from maskbench.data.store import EpisodeStore
from maskbench.data.windows import WindowSampler
from maskbench.envs.doorkey import DoorKey
from maskbench.masking.causal import CausalMask
from maskbench.masking.random import BernoulliMask
from maskbench.models.decoder import Decoder
from maskbench.models.encoder import Encoder
from maskbench.models.heads import build_heads
from maskbench.models.objective import Objective
from maskbench.models.sequence import SequenceModel
from maskbench.tokens.layout import build_layout
from maskbench.training.bank import TaskBank
from maskbench.training.masked import MaskedProblem
from maskbench.training.optim import build_optimizer
from maskbench.training.stacked import Member, fit_stacked, pays
from maskbench.training.trainer import Trainer


@dataclass(frozen=True)
class Size:
    """uniMASK's encoder on the gridworld (spec 3.6): width, blocks, windows per step of one seed. causal: BeT's decoder on
    windows of five instead, with learned positions."""

    n_embd: int
    n_layer: int
    batch: int
    causal: bool = False

    @property
    def length(self) -> int:
        return 5 if self.causal else 10

    def __str__(self) -> str:
        return f"{'BeT, ' if self.causal else ''}d {self.n_embd}, {self.n_layer} blocks, batch {self.batch}"


#: Published sizes, and two between the smallest and the next; the last one is BeT's for block push.
SIZES = (
    *(Size(32, 2, 50), Size(32, 3, 50), Size(32, 2, 100), Size(64, 2, 50), Size(32, 3, 250), Size(128, 2, 100)),
    Size(72, 4, 256, causal=True),
)


def members(size: Size, seeds: int, store: EpisodeStore, dropout: float, device: torch.device) -> list[Member]:
    """Seeds 0, 1 ... of one configuration; their run folders are named when they are trained."""
    layout = build_layout(store.spec, size.length, "timestep")
    scheme = CausalMask() if size.causal else BernoulliMask()
    sampler = WindowSampler(store, size.length, size.batch, 0, factors=layout.spec.names, device=device)
    bank = TaskBank(sampler.batch(0), {})
    problem = MaskedProblem(sampler, scheme, Objective({"return": 0.0}), bank, size.batch, 0)
    made = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        heads = build_heads(layout.spec, size.n_embd, {})
        model: SequenceModel = Encoder(layout, heads, size.n_layer, 8, size.n_embd, 128, dropout)
        if size.causal:
            model = Decoder(layout, heads, size.n_layer, 4, size.n_embd, dropout=dropout)
        made.append(Member(seed, model.to(device), problem.with_seed(seed), Path()))
    return made


def measure(size: Size, seeds: int, store: EpisodeStore, trainer: Trainer, dropout: float, repeats: int) -> Result:
    """The same steps of the same seeds, one after the other and as a stack."""
    separate = members(size, seeds, store, dropout, trainer.fabric.device)
    together = deepcopy(separate)
    optimiser = partial(build_optimizer, **OPTIMIZER)

    def one_after_the_other() -> float:
        rates = []
        for m in separate:
            with TemporaryDirectory() as folder:
                rates.append(trainer.fit(m.model, m.problem, optimiser, None, folder).samples_per_second)
        return sum(trainer.num_steps * size.batch / rate for rate in rates)

    def stacked() -> float:
        with TemporaryDirectory() as folder:
            placed = [Member(m.seed, m.model, m.problem, Path(folder) / f"cv_{m.seed}") for m in together]
            results = fit_stacked(trainer, placed, optimiser, None)
        return trainer.num_steps * size.batch / results[-1].samples_per_second

    ways: dict[str, Work] = {"plain": one_after_the_other, "maskbench": stacked}
    return compare(f"{size}, {trainer.precision}", f"{seeds} seeds", seeds * trainer.num_steps * size.batch, ways, repeats)


def table(results: Sequence[Result]) -> Table:
    """One row a comparison; ratios as median (lowest - highest)."""
    view = Table("size", "seeds", "alone", "stacked", "ratio")
    for r in results:
        rates = [f"{r.rates[n]:,.0f}" for n in ("plain", "maskbench")]
        view.add_row(r.case, r.measure.split()[0], *rates, _ratio(r))
    return view


def _ratio(result: Result) -> str:
    low, middle, high = result.ratios["maskbench"]
    return f"{middle:.2f}x ({low:.2f} - {high:.2f})"


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run of some seconds, not to be quoted")
    parser.add_argument("--size", type=int, nargs="+", default=range(len(SIZES)), help="only these of SIZES, counted from 0")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 4, 6])
    parser.add_argument("--precision", choices=["fp32", "bf16"], nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=5, help="turns per comparison")
    parser.add_argument("--json", type=Path, help="also write the results here")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console, notes = Console(), Console(stderr=True)
    world = DoorKey()
    store = EpisodeStore.from_episodes(world.spec, world.generate(40 if chosen.quick else 500, 0))
    steps, repeats = (3, 2) if chosen.quick else (10, chosen.repeats)
    options: dict[str, Any] = {"log_every": steps, "checkpoint_seconds": None, "progress": False, "grad_clip": 0.5}
    results: list[Result] = []
    for size in SIZES[:1] if chosen.quick else [SIZES[i] for i in chosen.size]:
        for precision in chosen.precision:
            trainer = Trainer(steps, device=chosen.device, precision=precision, **options)
            for seeds in chosen.seeds:
                results.append(measure(size, seeds, store, trainer, chosen.dropout, repeats))
                notes.print(f"{results[-1].case}, {seeds} seeds: {_ratio(results[-1])}")
        expected = "stacks" if pays(size.batch * size.length, size.n_embd, torch.device(chosen.device)) else "does not stack"
        notes.print(f"{size}: trainer.stack_seeds=auto {expected}")
    console.print(table(results))
    conclude(console, results, chosen.json)
    return results


if __name__ == "__main__":
    main()
