"""MaskDP, Figures 2 and 4: distance to single goals of MaskDP (closed and open loop), Goal-GPT and Goal-MLP.

    python reproducibility_scripts/maskdp/goal_single.py quick --data <tree>   # tiny models, walker_walk; 13 CPU minutes
    python reproducibility_scripts/maskdp/goal_single.py full --data <tree>    # published sizes, seven tasks; needs a GPU

``quick`` differs: 160 k parameters, windows of 32, 9000 steps of 64 windows, standardised states, annealing, averaged weights.
Closed below open loop is said of converged models (spec maskdp 5.3). ``--protocol fair | paper | code`` says how many steps
each model gets and how goals are drawn; fair gives all of them as many. Run it again to go on after an interruption.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import maskdp_study as study
import typer
from rich.console import Console

from maskbench.reports.comparison import Ordering

MODELS = ("MaskDP", "Goal-GPT", "Goal-MLP")
COLUMNS = ("goal_distance", "goal_distance_median", "goal_distance_early", "goal_distance_late")
#: Gates of a trained model: its share of the distance that random actions leave (open loop, closed loop).
FAR_BELOW = {"MaskDP open": 0.65, "MaskDP closed": 0.75}


def runs(mode: study.Mode, task: str, data: Path, protocol: str, seeds: int) -> dict[str, list[str]]:
    """Overrides by name, ``<model>/<seed>``."""
    extra = [f"protocol={protocol}", "experiment.num_eval_eps=300"]
    rollout = {"MaskDP": "evaluation.rollout=[goal,goal_open]"}
    return {
        f"{m}/{s}": study.line(m, mode, task, data, s, [*extra, rollout.get(m, "evaluation.rollout=[goal]")])
        for m in MODELS
        for s in range(seeds)
    }


def orderings() -> list[Ordering]:
    """The figure's sentences, on mean distances."""
    at, closed, plan = "goal_distance", "MaskDP closed", "MaskDP open"
    nearer = tuple(((a, at), (b, at)) for a in (closed, plan) for b in MODELS[1:])
    return [
        Ordering("MaskDP, closed and open loop, ends nearer than the baselines", nearer),
        Ordering("closed loop ends nearer than open loop (converged models)", (((closed, at), (plan, at)),)),
    ]


def report(found: dict[str, list], root: Path, task: str, console: Console) -> None:
    """Table, verdicts and figure of one task."""
    rows = study.LOOPS | {m: (m, "") for m in MODELS[1:]}
    cells = study.cells_of(found, rows, {c: ("goal", c) for c in COLUMNS}, "MaskDP")
    study.publish(root, "goal_single", f"Single goals, {task}", cells, orderings(), console)
    random = cells["(random)", "goal_distance"].value
    for name, share in FAR_BELOW.items():
        ours = cells[name, "goal_distance"].value / random
        verdict = "holds" if ours <= share else "does not hold"
        console.print(f"{name}: {ours:.0%} of what random actions leave; at most {share:.0%} is wanted: {verdict}")


def main(
    data: study.Data,
    mode: study.ModeArgument = "quick",
    tasks: study.Tasks = "",
    protocol: Annotated[str, typer.Option(help="fair | paper | code")] = "fair",
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ...")] = 1,
    folder: Annotated[Path, typer.Option(help="where runs and results go")] = Path("train_runs/maskdp/goal_single"),
    workers: study.Workers = 2,
) -> None:
    """Trains what is missing, then tabulates, judges and draws."""
    console, how = Console(stderr=True), study.checked(mode, data)
    for task in study.chosen(how, tasks):
        root = folder / how / protocol / task
        report(study.run_all(root, runs(how, task, data, protocol, seeds), workers, console), root, task, console)


if __name__ == "__main__":
    typer.run(main)
