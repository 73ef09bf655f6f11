"""One table, four ways to show it: terminal, CSV, Markdown, HTML."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskbench.errors import ConfigError
from maskbench.reports.collect import Matrix, RolloutResult, TaskLoss

if TYPE_CHECKING:
    from rich.table import Table as RichTable

#: Characters up to which the first two columns stay on one line in a terminal.
_NAME = 32


@dataclass(frozen=True)
class Measured:
    """A value with its interval; NaN bounds = no interval."""

    value: float
    low: float = math.nan
    high: float = math.nan


Cell = str | int | float | Measured | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under column names. Numbers keep their precision until shown; None is blank.

    Raises ConfigError where a row has another length than ``columns``.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ConfigError(f"table '{self.title}' has {len(self.columns)} columns; found a row of {len(row)}: {row}")

    def is_numeric(self, column: int) -> bool:
        """Whether a column holds numbers (blank cells aside), and is set flush right."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and not any(isinstance(cell, str) for cell in cells)

    def to_rich(self) -> RichTable:
        """For ``rich.console.Console.print``."""
        from rich import box
        from rich.table import Table as RichTable

        caption = "\n".join(self.notes) or None
        table = RichTable(title=self.title, caption=caption, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
        for i, name in enumerate(self.columns):
            short = i < 2 and all(len(show(row[i])) <= _NAME for row in self.rows)  # sentences wrap, names do not
            table.add_column(name.replace("_", " "), justify="right" if self.is_numeric(i) else "left", no_wrap=short)
        for row in self.rows:
            table.add_row(*(show(cell) for cell in row))
        return table

    def to_csv(self) -> str:
        """Full precision; a measured column becomes three: the value, ``_low`` and ``_high``."""
        measured = [any(isinstance(row[i], Measured) for row in self.rows) for i in range(len(self.columns))]
        header: list[str] = []
        for name, m in zip(self.columns, measured, strict=True):
            header += [name, f"{name}_low", f"{name}_high"] if m else [name]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        for row in self.rows:
            cells: list[object] = []
            for cell, m in zip(row, measured, strict=True):
                if isinstance(cell, Measured):
                    cells += [_blank(cell.value), _blank(cell.low), _blank(cell.high)]
                else:
                    cells += [_blank(cell), "", ""] if m else [_blank(cell)]
            writer.writerow(cells)
        return out.getvalue()

    def to_markdown(self) -> str:
        """GitHub's table syntax under a level-three heading."""
        bars = ["---:" if self.is_numeric(i) else "---" for i in range(len(self.columns))]
        lines = [list(self.columns), bars, *([show(cell) for cell in row] for row in self.rows)]
        text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return "\n\n".join([f"### {self.title}", text, *self.notes]) + "\n"

    def save(self, stem: Path) -> None:
        """Writes ``<stem>.csv`` and ``<stem>.md``."""
        stem.with_suffix(".csv").write_text(self.to_csv(), encoding="utf-8")
        stem.with_suffix(".md").write_text(self.to_markdown(), encoding="utf-8")

    def to_html(self) -> str:
        """A ``<table>`` with its caption and notes; styled by the page's ``table``, ``.num``, ``.range`` and ``.note``."""
        kinds = ["num" if self.is_numeric(i) else "text" for i in range(len(self.columns))]
        head = "".join(f'<th class="{k}">{html.escape(c)}</th>' for c, k in zip(self.columns, kinds, strict=True))
        body = "".join(
            "<tr>" + "".join(f'<td class="{k}">{_html(cell)}</td>' for cell, k in zip(row, kinds, strict=True)) + "</tr>"
            for row in self.rows
        )
        notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in self.notes)
        caption = f"<caption>{html.escape(self.title)}</caption>"
        return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{notes}'


def task_loss_table(losses: Sequence[TaskLoss], brief: bool = False) -> Table:
    """One row a task: its total loss, floor and excess, then the loss of each factor.

    brief: totals only, so that the table fits a terminal.
    """
    tasks, factors = (tuple(dict.fromkeys(getattr(x, name) for x in losses)) for name in ("task", "factor"))
    found = {(x.task, x.factor): x for x in losses}
    ordered = [f for f in sorted(factors, key=lambda f: f != "total") if f == "total" or not brief]
    floors = any(x.floor is not None and x.factor == "total" for x in losses)
    rows = []
    for task in tasks:
        cells: list[Cell] = [task]
        for factor in ordered:
            x = found.get((task, factor))
            cells.append(None if x is None else Measured(x.loss, x.low, x.high))
            if factor == "total" and floors:
                floor = None if x is None else x.floor
                cells += [floor, None if floor is None or x is None else x.loss - floor]
        cells.append(max(x.n for x in losses if x.task == task))
        rows.append(tuple(cells))
    names = [n for f in ordered for n in (("total", "floor", "excess") if f == "total" and floors else (f,))]
    notes = ("Loss with its interval. Floor: the least that any model can reach; excess: loss minus floor.",) if floors else ()
    return Table("Loss by task", ("task", *names, "n"), tuple(rows), notes)


#: What a terminal has room for.
BRIEF = (
    *("return", "success", "normalised_score", "goal_distance", "goal_distance_median", "waypoints_hit", "waypoint_distance"),
    *("P1", "P2", "tasks", "goal_parts"),
)


def rollout_table(results: Sequence[RolloutResult], title: str = "Rollouts", brief: bool = False) -> Table:
    """One row a query and policy, one column a metric; without counts of single events and modes.

    brief: the few metrics that a terminal has room for, without their definitions.
    """
    far = {r.query for r in results if r.metric == "goal_parts"}  # goals whose distance says little
    close = far != {r.query for r in results if r.metric == "goal_distance"}
    shown = [metric for metric in BRIEF if close or not metric.startswith("goal_distance")]
    chosen = [r for r in results if ":" not in r.metric and (not brief or r.metric in shown)]
    metrics, keys, found = _crossed(chosen)
    rows = []
    for key in keys:
        group = [found.get((key, m)) for m in metrics]
        rows.append((*key, *map(_measured, group), max(r.n for r in group if r is not None)))
    definitions = dict.fromkeys((r.metric, r.definition) for r in chosen if r.definition)
    notes = ("; ".join(f"{metric}: {definition}" for metric, definition in definitions) + ".",)
    return Table(title, ("query", "policy", *metrics, "n"), tuple(rows), notes if definitions and not brief else ())


def metric_table(results: Sequence[RolloutResult], title: str = "Rollouts") -> Table:
    """The same with one row a metric, for the many metrics of few policies."""
    metrics, keys, found = _crossed([r for r in results if ":" not in r.metric])
    meaning = {r.metric: r.definition for r in results}
    rows = tuple((m, *(_measured(found.get((key, m))) for key in keys), meaning[m]) for m in metrics)
    counts = {_named(key): max(r.n for r in results if (r.query, r.policy) == key) for key in keys}
    note = "Episodes: " + ", ".join(f"{n} ({name})" for name, n in counts.items()) + "."
    return Table(title, ("metric", *counts, "meaning"), rows, (note,))


#: Modes that a page lists.
_MODES = 12


def occurrence_tables(results: Sequence[RolloutResult]) -> Iterator[Table]:
    """Events, then the likeliest modes of the first policy: one row each, the fraction of episodes that show it."""
    for kind, most, title in (("event", None, "Events"), ("mode", _MODES, "Modes")):
        metrics, keys, found = _crossed([r for r in results if r.metric.startswith(f"{kind}:")])
        if most is not None:
            metrics = sorted(metrics, key=lambda m: -found[keys[0], m].value if (keys[0], m) in found else 0.0)
        rows = tuple((m.partition(":")[2], *(_measured(found.get((key, m))) for key in keys)) for m in metrics[:most])
        notes = (f"and {len(metrics) - len(rows)} rarer ones",) if len(metrics) > len(rows) else ()
        if rows:
            yield Table(f"{title}, fraction of episodes", (kind, *map(_named, keys)), rows, notes)


_Key = tuple[str, str]


def _crossed(results: Sequence[RolloutResult]) -> tuple[list[str], list[_Key], dict[tuple[_Key, str], RolloutResult]]:
    """Metrics, queries with policies, and what stands at both, in order of appearance."""
    metrics = list(dict.fromkeys(r.metric for r in results))
    keys = list(dict.fromkeys((r.query, r.policy) for r in results))
    return metrics, keys, {((r.query, r.policy), r.metric): r for r in results}


def _named(key: _Key) -> str:
    return " · ".join(key)


def _measured(result: RolloutResult | None) -> Measured | None:
    return None if result is None else Measured(result.value, result.low, result.high)


def matrix_table(matrix: Matrix, corner: str = "trained on") -> Table:
    """The raw values of a matrix."""
    rows = tuple(
        (name, *(None if math.isnan(v) else float(v) for v in values))
        for name, values in zip(matrix.rows, matrix.values, strict=True)
    )
    return Table(matrix.title, (corner, *matrix.columns), rows)


def show(cell: Cell) -> str:
    """A cell as text: whole numbers in full, others with three significant digits, ``0.82 [0.75, 0.88]``."""
    if cell is None:
        return ""
    if isinstance(cell, Measured):
        value = show(cell.value)
        return value if math.isnan(cell.low) else f"{value} [{show(cell.low)}, {show(cell.high)}]"
    if isinstance(cell, float):
        if math.isnan(cell):
            return ""
        if cell == 0 or 1e-3 <= abs(cell) < 1e5:
            return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:#.3g}".rstrip(".")
        return f"{cell:.2e}"
    return str(cell)


def _html(cell: Cell) -> str:
    if isinstance(cell, Measured) and not math.isnan(cell.low):
        return f'{show(cell.value)} <span class="range">{show(cell.low)} to {show(cell.high)}</span>'
    return html.escape(show(cell))


def _blank(cell: Cell) -> object:
    return "" if cell is None or (isinstance(cell, float) and math.isnan(cell)) else cell
