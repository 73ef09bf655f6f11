"""MaskDP, Figure 7: the return of going on from five steps of an expert, for 20, 40 and 60 steps.

    python reproducibility_scripts/maskdp/prompting.py quick --data <tree>   # tiny models, walker_walk; 42 CPU minutes
    python reproducibility_scripts/maskdp/prompting.py full --data <tree>    # published sizes, seven tasks; needs a GPU

MaskDP closed and open loop, GPT (closed loop alone), and the expert's own rewards on the same steps (replay). The figure:
MaskDP and GPT match the expert. ``quick`` differs as in goal_single.py, but for windows of 64; 60 steps need 65.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import maskdp_study as study
import typer
from rich.console import Console

from maskbench.reports.comparison import Ordering

MODELS = ("MaskDP", "GPT")
STEPS = (20, 40, 60)
COLUMNS = tuple(f"{n} steps" for n in STEPS)
#: "Matches": this share of the other's return.
MATCH, EXPERT = 0.9, 0.8


def runs(mode: study.Mode, task: str, data: Path, seeds: int) -> dict[str, list[str]]:
    """Overrides by name, ``<model>/<seed>``."""
    found = {}
    for model in MODELS:
        asked = [f"prompt_{n}" for n in STEPS] + ([f"prompt_{n}_open" for n in STEPS] if model == "MaskDP" else [])
        extra = ["experiment.num_eval_eps=100", f"evaluation.rollout=[{','.join(asked)}]"]
        extra += ["dataset.window=64"] if mode == "quick" else []
        found |= {f"{model}/{s}": study.line(model, mode, task, data, s, extra) for s in range(seeds)}
    return found


def orderings() -> list[Ordering]:
    """The figure's sentences; at 20 steps a trained model is to reach 80 % of the expert."""
    closed, expert = "MaskDP closed", "(replay)"
    first = COLUMNS[0]
    matching = tuple(((m, c), (expert, c)) for m in (closed, "GPT") for c in COLUMNS)
    return [
        Ordering("MaskDP reaches 80 % of the expert over 20 steps", (((closed, first), (expert, first)),), 1 - EXPERT),
        Ordering("MaskDP and GPT match the expert", matching, 1 - MATCH),
        Ordering("MaskDP matches GPT", tuple(((closed, c), ("GPT", c)) for c in COLUMNS), 1 - MATCH),
    ]


def main(
    data: study.Data,
    mode: study.ModeArgument = "quick",
    tasks: study.Tasks = "",
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ...")] = 1,
    folder: Annotated[Path, typer.Option(help="where runs and results go")] = Path("train_runs/maskdp/prompting"),
    workers: study.Workers = 2,
) -> None:
    """Trains what is missing, then tabulates, judges and draws."""
    console, how = Console(stderr=True), study.checked(mode, data)
    rows = study.LOOPS | {"GPT": ("GPT", "")}
    asked = {column: (f"prompt_{n}", "return") for column, n in zip(COLUMNS, STEPS, strict=True)}
    for task in study.chosen(how, tasks):
        root = folder / how / task
        found = study.run_all(root, runs(how, task, data, seeds), workers, console)
        cells = study.cells_of(found, rows, asked, "MaskDP")
        title = f"Prompts of five steps, {task}"
        study.publish(root, "prompting", title, cells, orderings(), console, lower_is_better=False, unit="return")


if __name__ == "__main__":
    typer.run(main)
