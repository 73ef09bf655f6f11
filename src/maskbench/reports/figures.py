"""Figures of runs, in one style, for light and dark pages. Each function returns a ``matplotlib.figure.Figure``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from maskbench.errors import ConfigError, DataError
from maskbench.reports.collect import Curve, Matrix, RolloutResult, TaskLoss
from maskbench.reports.style import LIGHT, Theme, canvas, set_title
from maskbench.reports.tables import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


#: Policies that results are compared with, drawn in grey.
REFERENCES = ("random", "zero", "replay", "data", "bc")


def learning_curves(curves: Mapping[str, Curve], theme: Theme = LIGHT, most: int = 6) -> Figure:
    """One panel a quantity, losses first; ``train/x`` thin and ``validation/x`` strong in the same panel.

    A panel whose positive values span more than a factor of 30 has a logarithmic axis.
    """
    panels: dict[str, list[str]] = {}
    for name in curves:
        split, _, quantity = name.partition("/")
        panels.setdefault(quantity or split, []).append(name)
    chosen = sorted(panels, key=lambda q: (q != "loss", "loss" not in q, list(panels).index(q)))[:most]
    if not chosen:
        raise ConfigError("no curves to draw")
    columns = min(len(chosen), 3)
    with canvas(theme, 3.4 * max(columns, 2), 2.7 * math.ceil(len(chosen) / columns)) as figure:
        grid = figure.subplots(math.ceil(len(chosen) / columns), columns, squeeze=False)
        for axes in grid.flat[len(chosen) :]:
            axes.set_visible(False)
        for axes, quantity in zip(grid.flat, chosen, strict=False):
            set_title(axes, quantity.removesuffix("/total").replace("_", " "))
            for name in panels[quantity]:
                train = name.startswith("train/")
                colour = theme.muted if train and len(panels[quantity]) > 1 else theme.palette[0]
                curve = curves[name]
                label = name.partition("/")[0]
                marker = "o" if len(curve.steps) < 2 else None
                axes.plot(curve.steps, curve.values, color=colour, lw=1.0 if train else 2.0, label=label, marker=marker)
            values = np.concatenate([curves[name].values for name in panels[quantity]])
            values = values[np.isfinite(values)]
            if len(values) and values.min() > 0 and values.max() > 30 * values.min():
                axes.set_yscale("log")
            else:
                axes.yaxis.set_major_formatter(_thousands)
            axes.set_xlabel("step")
            axes.xaxis.set_major_formatter(_thousands)
            axes.locator_params(axis="x", nbins=5)
            if len(panels[quantity]) > 1:
                axes.legend()
    return figure


def heatmap(
    matrix: Matrix,
    shown: Literal["normalised", "raw", "excess"] = "normalised",
    theme: Theme = LIGHT,
    *,
    rule_above: Sequence[str] = (),
    floor_row: str | None = None,
    row_label: str = "Training task",
    column_label: str = "Evaluation task",
    limit: float = 1.5,
) -> Figure:
    """Rows x tasks with every cell written out, reversed viridis: bright is good (uniMASK Figure 7).

    shown: ``normalised`` = divided by the column's best; ``raw``; ``excess`` = minus the floor. ``raw`` and ``excess`` keep the
           colours of the normalised values, because columns differ in scale.
    rule_above: rows with a rule above them. floor_row: name of one more row, the floor. limit: normalised value of the darkest
    colour.
    """
    numbers = {"normalised": matrix.normalised, "raw": lambda: matrix.values, "excess": matrix.excess}[shown]()
    if shown == "excess":
        best = np.nanmin(numbers, axis=0)
        if (best <= 0).any():
            names = [c for c, b in zip(matrix.columns, best, strict=True) if b <= 0]
            raise DataError(f"a loss of {names} lies on or below its floor; check the floor")
        tint = numbers / best
    else:
        tint = matrix.normalised()
    rows = list(matrix.rows)
    if floor_row is not None:
        floor = matrix.values - matrix.excess()
        rows.append(floor_row)
        numbers, tint = np.vstack([numbers, floor[:1]]), np.vstack([tint, np.full_like(floor[:1], np.nan)])
    high, wide = numbers.shape
    with canvas(theme, 1.9 + 0.82 * wide, 1.5 + 0.42 * high) as figure:
        import matplotlib

        axes = figure.subplots()
        colours = matplotlib.colormaps["viridis_r"]
        top = limit if shown != "excess" else max(limit, float(np.nanpercentile(tint, 80)))
        image = axes.imshow(np.minimum(tint, top), cmap=colours, vmin=1.0, vmax=top, aspect="auto")  # blank where NaN
        for i, j in np.argwhere(np.isfinite(numbers)):
            r, g, b, _ = colours((min(tint[i, j], top) - 1.0) / (top - 1.0))
            dark = 0.299 * r + 0.587 * g + 0.114 * b < 0.55
            ink = theme.ink if np.isnan(tint[i, j]) else "white" if dark else "#10161f"
            axes.text(j, i, _digits(numbers[i, j]), ha="center", va="center", fontsize=9, color=ink)
        axes.set_xticks(range(wide), matrix.columns)
        axes.set_yticks(range(high), rows)
        axes.set_xticks(np.arange(wide - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(high - 1) + 0.5, minor=True)
        axes.grid(False)
        axes.grid(True, which="minor", color=theme.background, lw=1.5)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        for row in rule_above:
            axes.axhline(matrix.rows.index(row) - 0.5, color=theme.background, lw=6)
        axes.set_xlabel(column_label, labelpad=8)
        axes.set_ylabel(row_label, labelpad=8)
        set_title(axes, matrix.title)
        bar = figure.colorbar(image, ax=axes, pad=0.02, fraction=0.04, extend="max" if np.nanmax(tint) > top else "neither")
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(length=0)
        bar.set_label("relative to the best of the column", color=theme.muted, labelpad=8)
    return figure


def task_bars(losses: Sequence[TaskLoss], theme: Theme = LIGHT) -> Figure:
    """Total loss of every task with its interval, beside the floor where one is known."""
    totals = [x for x in losses if x.factor == "total"]
    if not totals:
        raise ConfigError("no total task losses to draw")
    with canvas(theme, 7.2, 1.0 + 0.42 * len(totals)) as figure:
        axes = figure.subplots()
        set_title(axes, "Loss by task")
        places = np.arange(len(totals))
        axes.barh(places, [x.loss for x in totals], height=0.56, color=theme.palette[0])
        whiskers(axes, [(x.loss, x.low, x.high) for x in totals], theme)
        floors = [(place, x.floor) for place, x in zip(places, totals, strict=True) if x.floor is not None]
        if floors:
            at, floor = np.array(floors).T
            axes.vlines(
                floor, at - 0.38, at + 0.38, color=theme.palette[1], lw=2.4, label="floor: the least possible", zorder=4
            )
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1)
        horizontal(axes, [x.task.replace("_", " ") for x in totals])
        axes.set_xlim(left=0)
    return figure


def rollout_bars(results: Sequence[RolloutResult], metrics: Sequence[str] | None = None, theme: Theme = LIGHT) -> Figure:
    """One panel a metric, one bar a query and policy, with intervals; reference policies in grey.

    metrics: None = those of ``waypoints_hit, success, normalised_score, return, goal_distance`` that are there, at most three.
    """
    present = list(dict.fromkeys(r.metric for r in results))
    usual = [m for m in ("waypoints_hit", "success", "normalised_score", "return", "goal_distance") if m in present][:3]
    metrics = list(metrics) if metrics is not None else usual
    if not metrics or not set(metrics) <= set(present):
        raise ConfigError(f"cannot draw the metrics {metrics}; found {present}")
    queries = list(dict.fromkeys(r.query for r in results))
    keys = list(dict.fromkeys((r.query, r.policy) for r in results))
    found = {(r.query, r.policy, r.metric): r for r in results}
    with canvas(theme, 2.0 + 2.9 * len(metrics), 1.1 + 0.36 * len(keys)) as figure:
        panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            set_title(axes, metric.replace("_", " "))
            values = [found.get((*key, metric)) for key in keys]
            colours = [theme.muted if p in REFERENCES else theme.palette[queries.index(q) % 6] for q, p in keys]
            axes.barh(range(len(keys)), [0 if r is None else r.value for r in values], height=0.56, color=colours)
            whiskers(axes, [(math.nan,) * 3 if r is None else (r.value, r.low, r.high) for r in values], theme)
            horizontal(axes, [f"{query}  ·  {policy}" if policy else query for query, policy in keys])
            if metric == "success" or metric.startswith(("event:", "mode:")):
                axes.set_xlim(0, 1.02)
            if any(r is not None and r.value < 0 for r in values):
                axes.axvline(0, color=theme.muted, lw=0.8)
    return figure


def grouped_bars(
    title: str,
    values: Mapping[tuple[str, str], Measured],
    theme: Theme = LIGHT,
    *,
    marks: Mapping[tuple[str, str], Measured] | None = None,
    mark_label: str = "",
    unit: str = "",
) -> Figure:
    """One panel a column, one bar a row, with intervals; ``marks`` (published values) as upright strokes."""
    rows, columns = (list(dict.fromkeys(key[i] for key in values)) for i in (0, 1))
    if not rows:
        raise ConfigError(f"no values to draw for '{title}'")
    with canvas(theme, 2.2 + 2.1 * len(columns), 1.4 + 0.34 * len(rows)) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        panels = figure.subplots(1, len(columns), squeeze=False, sharey=True, sharex=True)[0]
        for i, (axes, column) in enumerate(zip(panels, columns, strict=True)):
            set_title(axes, column)
            found = [values.get((row, column)) for row in rows]
            colour = theme.palette[i % len(theme.palette)]
            axes.barh(range(len(rows)), [0 if m is None else m.value for m in found], height=0.6, color=colour, alpha=0.85)
            whiskers(axes, [(math.nan,) * 3 if m is None else (m.value, m.low, m.high) for m in found], theme)
            known = [(at, mark.value) for at, row in enumerate(rows) if (mark := (marks or {}).get((row, column))) is not None]
            if known:
                at, mark_at = np.array(known).T
                axes.vlines(
                    mark_at, at - 0.4, at + 0.4, color=theme.ink, lw=1.8, zorder=4, label=mark_label if i == 0 else None
                )
            horizontal(axes, rows)
            axes.set_xlabel(unit)
        if any(axes.get_legend_handles_labels()[1] for axes in panels):
            beside_title = len(columns) > 2
            figure.legend(loc="outside upper right" if beside_title else "outside lower right")
    return figure


def horizontal(axes: Axes, names: Sequence[str]) -> None:
    """Named rows, first on top, with vertical grid lines only."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", length=0)


def whiskers(axes: Axes, measured: Sequence[tuple[float, float, float]], theme: Theme) -> None:
    """Intervals over horizontal bars: ``(value, low, high)`` of each, from the first; NaN bounds draw nothing."""
    for place, (value, low, high) in enumerate(measured):
        if math.isfinite(low) and math.isfinite(high):
            reach = [[max(value - low, 0)], [max(high - value, 0)]]
            axes.errorbar(value, place, xerr=reach, color=theme.ink, lw=1.3, capsize=2.5, zorder=3)


def _digits(value: float) -> str:
    """Three significant digits; four where the value has four before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def _thousands(value: float, _: object) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"
