"""Curves and beliefs drawn in the plane that an agent moves in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from maskbench.reports.style import LIGHT, Theme, canvas, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def trajectories(
    paths: Mapping[str, Sequence[np.ndarray]],
    theme: Theme = LIGHT,
    *,
    behind: Sequence[np.ndarray] = (),
    title: str = "",
    jitter: float = 0.0,
) -> Figure:
    """Plane curves ``(length, 2)``, one colour a group (a mode), each with a dot where it ends; ``behind`` = demonstrations.

    jitter: how far each curve is moved at random, so that equal ones stay apart.
    """
    rng = np.random.default_rng(0)
    with canvas(theme, 5.2, 4.6) as figure:
        axes = figure.subplots()
        set_title(axes, title)
        for path in behind:
            axes.plot(*path.T, color=theme.muted, lw=0.8, alpha=0.35, zorder=1)
        for i, (name, group) in enumerate(paths.items()):
            colour = theme.palette[i % len(theme.palette)]
            fade = max(0.25, min(0.9, 12 / max(len(group), 1)))
            for path in group:
                moved = path + jitter * rng.uniform(-1, 1, 2)
                axes.plot(*moved.T, color=colour, lw=1.3, alpha=fade, zorder=2)
                axes.plot(*moved[-1], "o", color=colour, ms=3, alpha=fade, zorder=3)
            axes.plot([], [], color=colour, lw=2.4, label=f"{name} ({len(group)})")
        axes.set_aspect("equal")
        if len(paths) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def action_bins(
    actions: np.ndarray,
    bins: np.ndarray,
    centres: np.ndarray,
    clouds: Mapping[str, np.ndarray] | None = None,
    theme: Theme = LIGHT,
    *,
    title: str = "",
    labels: tuple[str, str] = ("x", "y"),
) -> Figure:
    """Actions of the plane in k-means bins, a cross at each centre; then one panel a state, the actions that a policy draws
    there (BeT, its figure of bins and offsets). A bin and its offset are one point, as large as it is often drawn.

    actions: ``(n, 2)`` demonstrated ones, with their ``bins`` ``(n,)`` of ``centres`` ``(K, 2)``. clouds: name -> ``(m, 2)``.
    """
    clouds = clouds or {}
    with canvas(theme, 3.4 * (1 + len(clouds)) + 0.4, 3.5) as figure:
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        panels = figure.subplots(1, 1 + len(clouds), squeeze=False, sharex=True, sharey=True)[0]
        colours = [theme.palette[k % len(theme.palette)] for k in range(len(centres))]
        set_title(panels[0], f"{len(actions):,} demonstrated actions, {len(centres)} bins")
        panels[0].scatter(*actions.T, s=2.5, c=[colours[b] for b in bins], alpha=0.35, lw=0, zorder=2, rasterized=True)
        for axes, (name, cloud) in zip(panels[1:], clouds.items(), strict=True):
            set_title(axes, name)
            axes.scatter(*actions.T, s=1.5, color=theme.grid, lw=0, zorder=1, rasterized=True)
            drawn, counts = np.unique(cloud.round(6), axis=0, return_counts=True)
            axes.scatter(*drawn.T, s=10 + 150 * counts / len(cloud), color=theme.palette[1], alpha=0.7, lw=0, zorder=3)
        for axes in panels:
            axes.plot(*centres.T, "+", color=theme.ink, ms=6, mew=1.1, zorder=4)
            axes.set_aspect("equal")
            axes.set_xlabel(labels[0])
            axes.margins(0.15)
            axes.locator_params(nbins=4)
        panels[0].set_ylabel(labels[1])
    return figure


def grid_paths(
    panels: Mapping[str, Sequence[np.ndarray]],
    walls: np.ndarray,
    marks: Mapping[str, np.ndarray] | None = None,
    theme: Theme = LIGHT,
    jitter: float = 0.16,
) -> Figure:
    """Walks over a gridworld, one panel a query, each walk moved a little so that equal ones stay apart (uniMASK Figure 4).

    panels: per panel walks ``(length, 2)`` of integer (x, y) from 0, y downwards; darker is later.
    walls:  ``(width, height)`` bool.
    marks:  per panel the cells ``(n, 2)`` that were asked for.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    rng, wide = np.random.default_rng(0), len(panels)
    shades = LinearSegmentedColormap.from_list("time", [theme.palette[5], theme.palette[0], theme.palette[3]])
    with canvas(theme, 2.3 * max(wide, 2), 2.7) as figure:
        for axes, (name, walks) in zip(figure.subplots(1, wide, squeeze=False)[0], panels.items(), strict=True):
            _cells(axes, walls, theme)
            set_title(axes, name)
            for walk in walks:
                path = np.asarray(walk, float) + rng.uniform(-jitter, jitter, 2) + rng.uniform(-0.05, 0.05, np.shape(walk))
                lines = LineCollection(list(np.stack([path[:-1], path[1:]], 1)), cmap=shades, lw=1.0, alpha=0.6)
                lines.set_array(np.arange(len(path) - 1))
                axes.add_collection(lines)
                axes.plot(*path[0], "o", color=theme.muted, ms=2.5)
                axes.plot(*path[-1], "o", color=theme.palette[3], ms=2.5)
            for x, y in (marks or {}).get(name, ()):
                _frame(axes, x, y, theme)
    return figure


def grid_beliefs(
    rows: Mapping[str, Sequence[np.ndarray]],
    columns: Sequence[str],
    walls: np.ndarray,
    given: Mapping[str, tuple[int, int]] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Distributions over the cells of a gridworld, one row a source, one column a timestep (uniMASK Figure 6).

    rows:  per source one ``(width, height)`` distribution a column; probabilities from 0.05 on are written out.
    walls: ``(width, height)`` bool.
    given: labelled cells that were known, drawn as rings in every panel.
    """
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("mass", [theme.background, theme.palette[0]])
    with canvas(theme, 0.6 + 1.9 * len(columns), 0.3 + 2.1 * len(rows)) as figure:
        grid = figure.subplots(len(rows), len(columns), squeeze=False)
        for i, (name, beliefs) in enumerate(rows.items()):
            for axes, column, belief in zip(grid[i], columns, beliefs, strict=True):
                _cells(axes, walls, theme)
                axes.imshow(np.ma.masked_array(belief.T, walls.T), cmap=shades, vmin=0, vmax=1, zorder=0)
                for x, y in np.argwhere(belief >= 0.05):
                    ink = theme.background if belief[x, y] > 0.6 else theme.ink
                    axes.text(x, y, f"{belief[x, y]:.2f}", ha="center", va="center", fontsize=7.5, color=ink)
                for label, (x, y) in (given or {}).items():
                    _frame(axes, x, y, theme)
                    axes.text(x - 0.34, y - 0.34, label, fontsize=7, color=theme.palette[1], ha="left", va="top")
                if i == 0:
                    set_title(axes, column)
            grid[i, 0].set_ylabel(name, labelpad=8)
    return figure


def _frame(axes: Axes, x: int, y: int, theme: Theme) -> None:
    """A square just inside one cell."""
    near, far = -0.42, 0.42
    axes.plot(
        x + np.array([near, far, far, near, near]), y + np.array([near, near, far, far, near]), color=theme.palette[1], lw=1.8
    )


def _cells(axes: Axes, walls: np.ndarray, theme: Theme) -> None:
    """An empty grid: its walls filled, y downwards."""
    wide, high = walls.shape
    axes.set(xlim=(-0.5, wide - 0.5), ylim=(high - 0.5, -0.5), aspect="equal")
    axes.set_xticks(np.arange(wide + 1) - 0.5, [])
    axes.set_yticks(np.arange(high + 1) - 0.5, [])
    axes.tick_params(length=0)
    for x, y in np.argwhere(walls):
        axes.fill([x - 0.5, x + 0.5, x + 0.5, x - 0.5], [y - 0.5, y - 0.5, y + 0.5, y + 0.5], color=theme.muted, zorder=1)
