"""Schemes across environments: one row of panels an environment, one bar a scheme and query."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskbench.errors import ConfigError
from maskbench.reports.figures import horizontal, whiskers
from maskbench.reports.style import LIGHT, Theme, canvas, set_title
from maskbench.reports.tables import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Metrics that are no share of episodes.
_UNBOUNDED = ("return", "normalised_score", "goal_distance")


@dataclass(frozen=True)
class Bar:
    """What one policy reaches under one query, by metric. ``reference``: it needed no training, and is drawn in grey."""

    label: str
    query: str
    values: Mapping[str, Measured]
    reference: bool = False


def bars_by_world(worlds: Mapping[str, Sequence[Bar]], theme: Theme = LIGHT) -> Figure:
    """One row of panels an environment, one panel a metric of it, with intervals; shares of episodes end at one."""
    metrics = {world: list(dict.fromkeys(m for bar in bars for m in bar.values)) for world, bars in worlds.items()}
    if not any(metrics.values()):
        raise ConfigError(f"no rollouts to draw for {list(worlds)}")
    wide = max(len(found) for found in metrics.values())
    queries = list(dict.fromkeys(bar.query for bars in worlds.values() for bar in bars if not bar.reference))
    heights = [0.8 + 0.27 * len(bars) for bars in worlds.values()]
    with canvas(theme, 2.2 + 2.0 * wide, 0.5 + sum(heights)) as figure:
        grid = figure.subplots(len(worlds), wide, squeeze=False, sharey="row", height_ratios=heights)
        for panels, (world, bars) in zip(grid, worlds.items(), strict=True):
            for axes in panels[len(metrics[world]) :]:
                axes.set_visible(False)
            colours = [theme.muted if b.reference else theme.palette[queries.index(b.query) % 6] for b in bars]
            for i, (axes, metric) in enumerate(zip(panels, metrics[world], strict=False)):
                name = metric.replace("_", " ")
                set_title(axes, f"{world}: {name}" if i == 0 else name)
                found = [bar.values.get(metric) for bar in bars]
                axes.barh(range(len(bars)), [0 if m is None else m.value for m in found], height=0.62, color=colours)
                whiskers(axes, [(math.nan,) * 3 if m is None else (m.value, m.low, m.high) for m in found], theme)
                horizontal(axes, [b.label if b.reference else f"{b.label}  ·  {b.query}" for b in bars])
                if metric not in _UNBOUNDED:
                    axes.set_xlim(0, 1.02)
    return figure
