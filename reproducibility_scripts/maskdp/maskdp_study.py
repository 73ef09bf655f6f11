"""What the scripts of MaskDP share: command lines, numbers beside their references, tables, verdicts and figures.

The paper gives its results as figures without numbers, so orderings are what is reproduced. Where a derivative repository
states numbers, they stand in ``maskbench.reports.claims`` (maskdp/pretraining_data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.errors import DataError
from maskbench.reports.average import acted, over_seeds
from maskbench.reports.collect import Run
from maskbench.reports.comparison import Key, Ordering, ordering_table, verdicts
from maskbench.reports.figures import grouped_bars
from maskbench.reports.style import png
from maskbench.reports.tables import Measured, Table

Mode = Literal["quick", "full"]
#: The published tasks; quick runs take the first.
TASKS = (
    "walker_walk",
    "walker_run",
    "walker_stand",
    "cheetah_run",
    "cheetah_run_backward",
    "quadruped_walk",
    "quadruped_run",
)
#: Masking option and published preset of every model.
MODELS = {
    "MaskDP": ("maskdp", "pretrain"),
    "GPT": ("maskdp_gpt", "maskdp_gpt"),
    "Goal-GPT": ("goal_gpt", "goal_gpt"),
    "Goal-MLP": ("goal_mlp", "goal_mlp"),
}
REFERENCES = ("random", "zero", "replay")
#: MaskDP as rows of a table (``cells_of``), and single goals as its columns.
LOOPS = {"MaskDP closed": ("MaskDP", ""), "MaskDP open": ("MaskDP", "_open")}
DISTANCES = {"closed": ("goal", "goal_distance"), "open": ("goal_open", "goal_distance")}

ModeArgument = Annotated[str, typer.Argument(help="quick | full")]
Data = Annotated[
    Path,
    typer.Option(
        help="tree of episodes in MaskDP's format; python -m maskbench collect env=walker task=walk agent=td3 makes one"
    ),
]
Workers = Annotated[int, typer.Option(help="runs at the same time, one core each")]
Tasks = Annotated[str, typer.Option(help="tasks, separated by commas; quick takes walker_walk where none is given")]


def checked(mode: str, data: Path) -> Mode:
    """Refuses another mode, and a folder without episodes."""
    if mode not in ("quick", "full"):
        raise typer.BadParameter(f"expected quick or full; found '{mode}'")
    if not data.exists():
        raise typer.BadParameter(
            f"no episodes at {data}: give --data the tree of MaskDP's release, or make one with "
            "python -m maskbench collect env=walker task=walk agent=td3"
        )
    return mode  # type: ignore[return-value]


def chosen(mode: Mode, tasks: str) -> tuple[str, ...]:
    """The tasks that were asked for."""
    return tuple(t for t in tasks.split(",") if t) or (TASKS if mode == "full" else TASKS[:1])


def line(model: str, mode: Mode, task: str, data: Path, seed: int = 0, extra: Sequence[str] = ()) -> list[str]:
    """Overrides of ``train.py`` for one model on the near-expert episodes of one task."""
    masking, preset = MODELS[model]
    domain, _, name = task.partition("_")
    found = [f"paper=maskdp/{preset}"] if mode == "full" else [f"masking={masking}"]
    where = [f"env={domain}", f"env.task={name}", f"dataset.path={data}", f"dataset.tasks=[{task}]"]
    return [*found, *where, f"experiment.seed={seed}", *extra]


def groups(done: Mapping[str, Run]) -> dict[str, list[Run]]:
    """Runs of several seeds by what stands before the last slash of their name."""
    found: dict[str, list[Run]] = {}
    for name, run in done.items():
        found.setdefault(name.rpartition("/")[0], []).append(run)
    return found


def measured(runs: Sequence[Run], query: str, metric: str) -> Measured | None:
    """A metric over seeds; None where the model was not asked."""
    try:
        return acted(runs, query, metric)
    except DataError:
        return None


def references(runs: Sequence[Run], query: str, metric: str) -> dict[str, Measured]:
    """What random and zero actions and the recorded ones came to on the same episodes."""
    rows = over_seeds(runs[:1]).rollouts
    found = {r.policy: r for r in rows if r.query == query and r.metric == metric and r.policy in REFERENCES}
    return {f"({name})": Measured(found[name].value, found[name].low, found[name].high) for name in REFERENCES if name in found}


def cells_of(
    found: Mapping[str, Sequence[Run]], rows: Mapping[str, tuple[str, str]], columns: Mapping[str, tuple[str, str]], beside: str
) -> dict[Key, Measured]:
    """What was measured, and the references on the same episodes.

    found:   runs by group.
    rows:    by name, the group and what follows the column's query: "" or "_open".
    columns: by name, query and metric.
    beside:  the group whose references are taken.
    """
    cells: dict[Key, Measured] = {}
    for column, (query, metric) in columns.items():
        for row, (group, suffix) in rows.items():
            if (value := measured(found[group], query + suffix, metric)) is not None:
                cells[row, column] = value
        cells |= {(name, column): value for name, value in references(found[beside], query, metric).items()}
    return cells


def publish(
    root: Path,
    name: str,
    title: str,
    cells: Mapping[Key, Measured],
    orderings: Sequence[Ordering],
    console: Console,
    lower_is_better: bool = True,
    unit: str = "distance to the goal",
) -> None:
    """Writes ``<root>/<name>.csv, .md, .png`` and ``<name>_orderings``; prints them."""
    rows, columns = (list(dict.fromkeys(key[i] for key in cells)) for i in (0, 1))
    table = Table(title, ("", *columns), tuple((row, *(cells.get((row, c)) for c in columns)) for row in rows))
    root.mkdir(parents=True, exist_ok=True)
    table.save(root / name)
    (root / f"{name}.png").write_bytes(png(grouped_bars(title, cells, unit=unit)))
    console.print(table.to_rich())
    if orderings:
        held = ordering_table(f"{title}: the paper's orderings", orderings, [], cells, lower_is_better)
        held.save(root / f"{name}_orderings")
        console.print(verdicts(held).to_rich())
    console.print(f"tables and figure: {root / name}.csv, .md, .png", soft_wrap=True)


def run_all(root: Path, runs: Mapping[str, Sequence[str]], workers: int, console: Console) -> dict[str, list[Run]]:
    """Trains what is missing below ``root``; results by group."""
    return groups(Campaign(root, runs, workers).run(console))
