"""MaskDP, Figures 10 and 11: one mask ratio against several, the loss of all tokens against that of hidden ones.

    python reproducibility_scripts/maskdp/ablations.py quick --data <tree>   # tiny models, 4000 steps each; 23 CPU minutes
    python reproducibility_scripts/maskdp/ablations.py full --data <tree> --tasks quadruped_run   # published; needs a GPU

Judged by distances to single goals. The figures: a mix of ratios is best, .5 decent, .95 poor, .15 worst; the total loss
converges faster. Block masks (CurrMask) stand beside them. ``quick`` differs as in goal_single.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import maskdp_study as study
import typer
from rich.console import Console

from maskbench.reports.comparison import Key, Ordering

MASKED = ("masking.train.predict=hidden", "masking.reduction=pooled")
VARIANTS: dict[str, tuple[str, ...]] = {
    "all ratios, total loss": (),
    "all ratios, masked loss": MASKED,
    **{f"ratio {r}": (f"masking.train.ratios=[{r}]",) for r in (0.15, 0.5, 0.95)},
    "blocks of 1 to 20 tokens": ("masking=maskdp_block",),
}
#: The total loss may be worse than the masked one by this share.
NO_WORSE = 0.1


def runs(mode: study.Mode, task: str, data: Path, seeds: int) -> dict[str, list[str]]:
    """Overrides by name, ``<variant>/<seed>``; spaces of a variant become underscores."""
    shared = ["experiment.num_eval_eps=300", "evaluation.rollout=[goal,goal_open]"]
    shared += ["experiment.num_steps=4000"] if mode == "quick" else []
    found = {}
    for name, changes in VARIANTS.items():
        lines = {s: study.line("MaskDP", mode, task, data, s, [*shared, *changes]) for s in range(seeds)}
        if "masking=maskdp_block" in changes:
            lines = {s: [o for o in line if o != "masking=maskdp"] for s, line in lines.items()}
        found |= {f"{folder_of(name)}/{s}": line for s, line in lines.items()}
    return found


def folder_of(variant: str) -> str:
    """A variant's name without spaces, commas and dots."""
    return variant.replace(",", "").replace(" ", "_").replace(".", "")


def orderings() -> list[Ordering]:
    """The figures' sentences, closed and open loop."""

    def pairs(a: str, *others: str) -> tuple[tuple[Key, Key], ...]:
        return tuple(((a, loop), (b, loop)) for b in others for loop in study.DISTANCES)

    mix = "all ratios, total loss"
    return [
        Ordering("a mix of ratios is best", pairs(mix, "ratio 0.15", "ratio 0.5", "ratio 0.95")),
        Ordering("0.5 is better than 0.15 and 0.95", pairs("ratio 0.5", "ratio 0.15", "ratio 0.95")),
        Ordering("the total loss is no worse than the masked one, + 10 %", pairs(mix, "all ratios, masked loss"), NO_WORSE),
    ]


def main(
    data: study.Data,
    mode: study.ModeArgument = "quick",
    tasks: study.Tasks = "",
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ...")] = 1,
    folder: Annotated[Path, typer.Option(help="where runs and results go")] = Path("train_runs/maskdp/ablations"),
    workers: study.Workers = 2,
) -> None:
    """Trains what is missing, then tabulates, judges and draws."""
    console, how = Console(stderr=True), study.checked(mode, data)
    rows = {name: (folder_of(name), "") for name in VARIANTS}
    for task in study.chosen(how, tasks):
        root = folder / how / task
        found = study.run_all(root, runs(how, task, data, seeds), workers, console)
        cells = study.cells_of(found, rows, study.DISTANCES, folder_of(next(iter(VARIANTS))))
        study.publish(root, "ablations", f"Masks and losses, {task}", cells, orderings(), console)


if __name__ == "__main__":
    typer.run(main)
