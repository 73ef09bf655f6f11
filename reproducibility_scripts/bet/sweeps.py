"""One setting of Behavior Transformers swept: the values of the reproducibility study, tables, verdicts and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import study
import typer
from rich.console import Console

from maskbench.reports.behaviour import swept
from maskbench.reports.comparison import Ordering
from maskbench.reports.style import png


@dataclass(frozen=True)
class Sweep:
    """A swept setting. place: where ``study.PUBLISHED`` holds its published value; values: by mode, then environment."""

    name: str
    key: str
    label: str
    place: int
    values: Mapping[study.Mode, Mapping[study.Env, tuple[int, ...]]]

    def published(self, env: study.Env) -> int:
        return study.PUBLISHED[env][self.place]


NUM_BINS = Sweep(
    "num_bins",
    "head.action.num_bins",
    "bins",
    0,
    {
        "quick": {
            "blockpush": (1, 8, 24, 64),
            "kitchen": (1, 16, 64),
            "pointmass1": (1, 2, 3),  # it has three actions
            "pointmass2": (1, 2, 3),
        },
        "full": {
            "blockpush": (1, 4, 8, 16, 20, 24, 32, 64),
            "kitchen": (1, 3, 4, 5, 16, 60, 64, 68),
            "pointmass1": (1, 2, 3),
            "pointmass2": (1, 2, 3),
        },
    },
)
WINDOW_SIZE = Sweep(
    "window_size",
    "experiment.window_size",
    "window",
    1,
    {
        "quick": {"blockpush": (1, 5, 10), "kitchen": (1, 10, 20), "pointmass1": (1, 2, 5), "pointmass2": (1, 2, 3, 5)},
        "full": {
            "blockpush": (1, 3, 5, 10),
            "kitchen": (1, 5, 10, 20),
            "pointmass1": (1, 2, 3, 5),
            "pointmass2": (1, 2, 3, 5, 8),
        },
    },
)


def command(sweep: Sweep) -> None:
    """The command line of a sweep."""

    def main(
        mode: study.ModeArgument = "quick",
        env: study.EnvOption = "blockpush",
        folder: study.FolderOption = None,
        seeds: study.SeedsOption = None,
        workers: study.WorkersOption = 2,
        more: study.MoreOption = None,
    ) -> None:
        """Trains what is missing, then tabulates, judges and draws."""
        run(sweep, *study.checked(mode, env), folder, seeds, workers, more or ())

    typer.run(main)


def run(
    sweep: Sweep,
    mode: study.Mode,
    env: study.Env,
    folder: Path | None,
    seeds: int | None,
    workers: int,
    more: Sequence[str] = (),
) -> None:
    """Trains one run a value and seed, then writes the table, judges where the best value lies and draws the curves.

    Judged is whether the published value, which the study finds to be near the best, is as good as each other one.
    """
    values, stated, label = sweep.values[mode][env], sweep.published(env), sweep.label
    root = folder or Path(f"train_runs/bet/sweep_{sweep.name}_{env}_{mode}")
    console, count = Console(stderr=True), study.seeds_of(mode, seeds, 3)
    lines = {f"{v}/{s}": study.line(env, mode, s, extra=(f"{sweep.key}={v}", *more)) for v in values for s in range(count)}
    results = study.train(root, lines, workers, console)
    columns = ("return", *study.COLUMNS[env])
    ours = {f"{label} {v}": study.numbers(results[str(v)], env, columns) for v in values}
    statements = [
        Ordering(f"{label} {stated}, as published, is as good as {label} {v}",
                 study.better(f"{label} {stated}", f"{label} {v}", ("return",)), tolerance=0.05)
        for v in values if v != stated
    ]  # fmt: skip
    table = study.side_by_side(f"{env}: {label}", env, ours)
    study.write(root, "sweep", table, statements, env, ours, console)
    shown = {"blockpush": ("P1", "P2"), "kitchen": ("p_1", "p_4")}.get(env, ("success",))
    curves = {m: {float(v): ours[f"{label} {v}"][m] for v in values if m in ours[f"{label} {v}"]} for m in shown}
    dots = {m: {float(v): [study.numbers([r], env, (m,))[m].value for r in results[str(v)]] for v in values} for m in shown}
    figure = swept(f"{env}: {label}", curves, x_label=label, y_label="share of rollouts", published=float(stated), points=dots)
    figure.axes[0].set_ylim(-0.02, 1.02)
    (root / "sweep.png").write_bytes(png(figure))
