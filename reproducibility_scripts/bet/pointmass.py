"""The point masses of the reproducibility study: all routes shown, and where Behavior Transformers fail.

    python reproducibility_scripts/bet/pointmass.py quick   # both worlds, two seeds, a few minutes on two cores
    python reproducibility_scripts/bet/pointmass.py full    # the published recipe, three seeds

Rows: BeT on exact demonstrations; on noisy ones (noise .1 on positions and start, "stochastic"); with two bins (the study's
choice on pointmass1, whose k-means may put up and down into one bin); with a window of one and of five; and an LSTM. The study
gives figures, no numbers, for these worlds: its sentences are judged. ``followed`` is the share of rollouts that keep to one
demonstrated route from start to target, so that mixed legs do not count.

Written below ``--folder``: tables and ``routes_<world>.png``. Run it again to go on after an interruption.
"""

from __future__ import annotations

from pathlib import Path

import study
import typer
from rich.console import Console

from maskbench.app.experiment import load_model
from maskbench.envs.pointmass import PointMass
from maskbench.reports.average import spread
from maskbench.reports.collect import Run
from maskbench.reports.comparison import Ordering, ordering_table, verdicts
from maskbench.reports.tables import Cell, Measured, Table
from maskbench.rollout.metrics import wilson

WORLDS = ("pointmass1", "pointmass2")
METRICS = ("success", "followed", "mode_entropy", "mode_coverage")
#: Variant -> model and overrides.
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "BeT": ("decoder", ()),
    "BeT, stochastic": ("decoder", ("env.noise_scale=0.1", "env.fixed_start=false")),
    "BeT, 2 bins": ("decoder", ("head.action.num_bins=2",)),
    "BeT, window 1": ("decoder", ("experiment.window_size=1",)),
    "BeT, window 5": ("decoder", ("experiment.window_size=5",)),
    "LSTM": ("lstm", ("experiment.window_size=5",)),
}
EPISODES = 300


def followed(runs: list[Run]) -> Measured:
    """Share of rollouts that keep to one demonstrated route, over seeds."""
    shares, errors = [], []
    for run in runs:
        model = load_model(str(run.folder))
        world = model.environment
        assert isinstance(world, PointMass)
        records = study.played(model, EPISODES, seed=2)
        tolerance = 0.5 if world.noise_scale == 0 else 0.8
        found = wilson(sum(world.followed_route(study.walked(r), tolerance) is not None for r in records), EPISODES)
        shares.append(found.value)
        errors.append((found.high - found.low) / 3.92)
    mean, error = spread(shares, errors, shared=False)
    return Measured(mean, max(0.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error))


def orderings(variants: tuple[str, ...]) -> list[Ordering]:
    """What study and specification say of these worlds; cells are (variant, world and metric)."""
    one, two = (f"{w} followed" for w in WORLDS)
    found = [
        Ordering("pointmass1: two bins are worse than three", study.better("BeT", "BeT, 2 bins", (one,))),
        Ordering("pointmass2: without history, legs are mixed", study.better("BeT, window 5", "BeT, window 1", (two,))),
        Ordering("pointmass2: a longer history is better", study.better("BeT, window 5", "BeT", (two,))),
        Ordering("all routes are shown", tuple(
            ((v, f"{w} mode_coverage"), ("demonstrations", f"{w} mode_coverage")) for v in ("BeT",) for w in WORLDS)),
    ]  # fmt: skip
    if "LSTM" in variants:
        found.append(Ordering("an LSTM is nearly perfect, at least as good as BeT",
                              study.better("LSTM", "BeT", (one, two)), margin=0.02))  # fmt: skip
    return found


def main(
    mode: study.ModeArgument = "quick",
    folder: study.FolderOption = None,
    only: study.OnlyOption = None,
    seeds: study.SeedsOption = None,
    workers: study.WorkersOption = 2,
) -> None:
    """Trains what is missing, then tabulates, judges and draws routes."""
    mode, _ = study.checked(mode, "pointmass1")
    chosen = tuple(only or VARIANTS)
    if unknown := [v for v in chosen if v not in VARIANTS]:
        raise typer.BadParameter(f"variants: {'; '.join(VARIANTS)}; found {unknown}")
    root = folder or Path(f"train_runs/bet/pointmass_{mode}")
    console = Console(stderr=True)
    slug = {v: v.replace(", ", "_").replace(" ", "_") for v in chosen}
    count = study.seeds_of(mode, seeds, 3)
    lines = {
        f"{world}/{slug[v]}/{s}": study.line(world, mode, s, VARIANTS[v][0], VARIANTS[v][1])
        for s in range(count)
        for v in chosen
        for world in WORLDS
    }
    results = study.train(root, lines, workers, console)
    ours = {("demonstrations", f"{w} mode_coverage"): Measured(1.0) for w in WORLDS}
    rows: list[tuple[Cell, ...]] = []
    for world in WORLDS:
        for v in chosen:
            runs = results[f"{world}/{slug[v]}"]
            found = study.numbers(runs, world, METRICS) | {"followed": followed(runs)}
            ours |= {(v, f"{world} {m}"): value for m, value in found.items()}
            rows.append((world, v, *(found.get(m) for m in METRICS)))
        study.draw_behaviour(results[f"{world}/{slug[chosen[0]]}"][0], world, root / f"routes_{world}.png")
    table = Table(f"Point masses, seeds: {count}", ("world", "variant", *METRICS), tuple(rows))
    held = ordering_table("What is said of them", orderings(chosen), [], ours, lower_is_better=False)
    for name, content in (("pointmass", table), ("orderings", held)):
        content.save(root / name)
    console.print(table.to_rich(), verdicts(held).to_rich())
    console.print(f"tables and figures: {root}")


if __name__ == "__main__":
    typer.run(main)
