"""uniMASK, Figure 7: the loss of every training regime on every task of the key-door gridworld.

    python reproducibility_scripts/unimask/doorkey_heatmap.py quick   # two seeds, two CPU cores
    python reproducibility_scripts/unimask/doorkey_heatmap.py full    # six seeds, the published numbers of steps

Eight single tasks, multi-task, random masks, finetuning from random masks, and the baselines. ``quick`` trains single tasks
for at least 40 % of the published steps, multi-task for 30 % and random masks for 24 %, d=128 in bf16, and finetunes as the
stored figures were made (5e-5, few steps): a handicap for what the paper says is best. Seed i of a finetuned model starts from
seed i of random masks; the published code starts all from one.

Written below ``--folder``: PNG figures (raw, normalised, excess over the exact floor), CSV and Markdown tables. Run it again to
go on after an interruption; finished runs are never trained again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.reports.average import over_seeds
from maskbench.reports.claims import published
from maskbench.reports.collect import Matrix, Run, task_matrix
from maskbench.reports.comparison import Key, Ordering, comparison_table, ordering_table, verdicts
from maskbench.reports.figures import heatmap
from maskbench.reports.style import png
from maskbench.reports.tables import Cell, Measured, Table, matrix_table

#: Task -> label in the figure.
TASKS = {
    "bc": "BC",
    "return": "RC",
    "goal": "Goal",
    "waypoint": "Waypoint",
    "past": "Past",
    "future": "Future",
    "forward_dynamics": "Forwards",
    "inverse_dynamics": "Inverse",
}
BASELINES = {
    "mlp_bc": "MLP BC",
    "mlp_random": "MLP random",
    "gpt_bc": "Decision-GPT BC",
    "gpt_return": "Decision-GPT RC",
    "gpt_random": "GPT random",
}
#: Regime -> published steps at 500 episodes and batch size (spec unimask 3.6); ``gpt_random``, ours, has those of ``random``.
STEPS = {
    "bc": (3000, 250),
    "return": (15000, 50),
    "goal": (6000, 250),
    "waypoint": (6000, 250),
    "past": (4000, 250),
    "future": (4000, 250),
    "forward_dynamics": (3000, 250),
    "inverse_dynamics": (15000, 50),
    "multitask": (20000, 250),
    "random": (50000, 100),
    "finetune_bc": (20000, 250),
    "finetune_return": (5000, 50),
    "finetune_goal": (3000, 250),
    "finetune_waypoint": (3000, 250),
    "finetune_past": (1000, 250),
    "finetune_future": (1000, 250),
    "finetune_forward_dynamics": (20000, 250),
    "finetune_inverse_dynamics": (15000, 50),
    "mlp_bc": (15000, 100),
    "mlp_random": (20000, 250),
    "gpt_bc": (3000, 250),
    "gpt_return": (3000, 250),
    "gpt_random": (50000, 100),
}
#: Steps of ``quick`` where they are not the published ones.
QUICK = {
    "return": 7500,
    "goal": 2500,
    "waypoint": 2500,
    "forward_dynamics": 1500,
    "inverse_dynamics": 6000,
    "multitask": 6000,
    "random": 12000,
    "mlp_random": 10000,
    "gpt_bc": 1200,
    "gpt_return": 1200,
    "gpt_random": 4000,
}
#: Steps and learning rate of finetuning in ``quick``; dynamics are published with more steps at twice the rate of the others.
QUICK_FINETUNE = {"finetune_forward_dynamics": (1500, 1e-4), "finetune_inverse_dynamics": (1500, 1e-4)}
QUICK_FINETUNE_OTHERS = (600, 5e-5)
#: Rows of the figure with a rule above them.
RULES = ("Multi-task", "MLP BC")
#: Narrow networks gain nothing from bf16.
NARROW = ("bc", "return", "past", "multitask", "mlp_bc", "mlp_random", "gpt_bc", "gpt_return")


def overrides(regime: str, seed: int, root: Path, quick: bool, episodes: int) -> list[str]:
    """The command line of one run."""
    line = [f"paper=unimask/doorkey/{regime}", f"experiment.seed={seed}", f"dataset.split.train={episodes}"]
    tuned = regime.startswith("finetune_")
    if tuned:
        line.append(f"model.load_dir={root / f'random/{seed}'}")
    if not quick:
        return [*line, f"experiment.num_steps={published_steps(*STEPS[regime], episodes)}"]
    if tuned:
        steps, rate = QUICK_FINETUNE.get(regime, QUICK_FINETUNE_OTHERS)
        line += [f"experiment.num_steps={steps}", "experiment.batch_size=250", f"optimizer.lr={rate}"]
    elif regime in QUICK:
        line.append(f"experiment.num_steps={QUICK[regime]}")
    return line if regime in NARROW else [*line, "trainer.precision=bf16"]


def published_steps(at_500: int, batch: int, episodes: int) -> int:
    """Steps for another number of episodes: epochs scale with 500 / episodes, an epoch is ``max(episodes // batch, 1)``."""
    epochs = at_500 / max(500 // batch, 1)
    return round(epochs * 500 / episodes * max(episodes // batch, 1))


def regimes() -> dict[str, tuple[str, ...]]:
    """Row of the figure -> its runs: one, or one a task for the finetuned row."""
    single = {label: (task,) for task, label in TASKS.items()}
    shared = {"Multi-task": ("multitask",), "Random mask": ("random",), "Finetune": tuple(f"finetune_{t}" for t in TASKS)}
    return {**single, **shared, **{label: (name,) for name, label in BASELINES.items()}}


def row_of(runs: list[Run]) -> Run:
    """A row of the figure: of the finetuned models, each answers the task that it was finetuned for."""
    if len(runs) == 1:
        return runs[0]
    pairs = zip(TASKS, runs, strict=True)
    return Run(runs[0].folder, task_losses=tuple(x for task, run in pairs for x in run.task_losses if x.task == task))


def orderings() -> list[Ordering]:
    """What the paper says of the figure."""
    columns = list(TASKS.values())
    rivals = [*columns, "Multi-task", "Random mask"]
    best = tuple((("Finetune", c), (r, c)) for c in columns for r in rivals)
    own = tuple(((c, c), (r, c)) for c in columns for r in columns if r != c)
    halves = len(columns) // 2
    return [
        Ordering("finetuning is best or within 4 % or 0.02 nats of the best", best, tolerance=0.04, margin=0.02),
        Ordering("finetuning beats single-task training on nearly all tasks", _against_single("Finetune"), needed=6),
        Ordering("random masks beat single-task training on half of the tasks", _against_single("Random mask"), needed=halves),
        Ordering("random masks beat multi-task training on most tasks", _both("Random mask", "Multi-task"), needed=6),
        Ordering("finetuning beats random masks", _both("Finetune", "Random mask"), tolerance=0.01),
        Ordering("no single-task model beats another at its own task", own, tolerance=0.02),
    ]


def _against_single(row: str) -> tuple[tuple[Key, Key], ...]:
    return tuple(((row, c), (c, c)) for c in TASKS.values())


def _both(better: str, worse: str) -> tuple[tuple[Key, Key], ...]:
    return tuple(((better, c), (worse, c)) for c in TASKS.values())


def report(results: dict[str, list[Run]], folder: Path, console: Console) -> None:
    """Figures and tables from the seeds of every row."""
    means = {label: over_seeds(runs) for label, runs in results.items()}
    found = task_matrix(means, "Loss by task, mean over seeds")
    mean = Matrix(found.title, found.rows, tuple(TASKS[c] for c in found.columns), found.values, found.floor)
    shown: tuple[Literal["raw", "normalised", "excess"], ...] = ("raw", "normalised", "excess")
    rules = [row for row in RULES if row in mean.rows]
    for scale in shown:
        floor = "Exact inference" if scale == "raw" else None
        (folder / f"heatmap_{scale}.png").write_bytes(png(heatmap(mean, scale, rule_above=rules, floor_row=floor)))
    matrix_table(mean).save(folder / "heatmap")
    seed_table(results).save(folder / "seeds")
    ours = {
        (label, TASKS[x.task]): Measured(x.loss, x.low, x.high)
        for label, run in means.items()
        for x in run.task_losses
        if x.factor == "total"
    }
    claims = published("unimask", "heatmap_500")
    comparison_table("Loss by task: the paper's and ours", claims, ours).save(folder / "comparison")
    judged = ordering_table("What the paper says of the figure", orderings(), claims, ours, lower_is_better=True)
    judged.save(folder / "orderings")
    for table in (matrix_table(mean), verdicts(judged)):
        console.print(table.to_rich())
    console.print(f"figures and tables: {folder}")


def seed_table(results: dict[str, list[Run]]) -> Table:
    """Every loss of every seed: what the other tables are made of."""
    rows: list[tuple[Cell, ...]] = [
        (label, x.task, seed, x.factor, x.loss, x.low, x.high, x.floor)
        for label, runs in results.items()
        for seed, run in enumerate(runs)
        for x in run.task_losses
    ]
    return Table("All losses", ("trained_on", "task", "seed", "factor", "loss", "low", "high", "floor"), tuple(rows))


def main(
    mode: Annotated[str, typer.Argument(help="quick | full")] = "quick",
    folder: Annotated[Path | None, typer.Option(help="Where runs and figures go.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds 0, 1, ...; 2 in quick and 6 in full.")] = None,
    episodes: Annotated[int, typer.Option(help="Training episodes: 50, 500 or 1000 in the paper.")] = 500,
    workers: Annotated[int, typer.Option(help="Runs at the same time, one core each.")] = 2,
    baselines: Annotated[bool, typer.Option(help="Also train the MLP and GPT rows.")] = True,
) -> None:
    """Trains what is missing, then draws the heatmap and judges the paper's orderings."""
    if mode not in ("quick", "full"):
        raise typer.BadParameter(f"mode is quick or full; found '{mode}'")
    quick = mode == "quick"
    root = folder or Path(f"train_runs/unimask/doorkey_heatmap_{mode}_{episodes}")
    count = seeds or (2 if quick else 6)
    rows = {label: names for label, names in regimes().items() if baselines or label not in BASELINES.values()}
    names = [n for group in rows.values() for n in group]
    # random masks before what starts from them, then the longest first
    names.sort(key=lambda n: (n != "random", -STEPS[n][0] * STEPS[n][1]))
    runs = {f"{name}/{s}": overrides(name, s, root, quick, episodes) for name in names for s in range(count)}
    console = Console(stderr=True)
    done = Campaign(root, runs, workers).run(console)
    seeded = {label: [row_of([done[f"{n}/{s}"] for n in group]) for s in range(count)] for label, group in rows.items()}
    report(seeded, root, console)


if __name__ == "__main__":
    typer.run(main)
