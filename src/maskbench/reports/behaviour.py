"""What policies do, beside what demonstrations did: orders of tasks, pushes, and results along a swept value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from maskbench.errors import ConfigError
from maskbench.reports.style import LIGHT, Theme, canvas, set_title
from maskbench.reports.tables import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

#: An episode that has done all that it will do.
ENDED = "–"


def sequence_flow(
    panels: Mapping[str, Mapping[str, int]], names: Mapping[str, str], theme: Theme = LIGHT, steps: int = 4, title: str = ""
) -> Figure:
    """Which task follows which, one panel a policy: columns are first, second ... task, heights are shares of episodes, bands
    lead from each task to the next and keep its colour (study, figures of task sequences).

    panels: per panel how many episodes have each order, tasks joined by ``>``; an empty order has none.
    names:  task as orders spell it -> its name, in the order of the columns from the top. At most seven.
    """
    colours = dict(zip(names, (*theme.palette, theme.muted), strict=False))
    ranks = {name: i for i, name in enumerate((*names, ENDED))}
    with canvas(theme, 1.6 + 4.6 * len(panels), 4.3) as figure:
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        for axes, (panel, counts) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            total = sum(counts.values())
            if not total:
                raise ConfigError(f"'{panel}' holds no episodes to draw")
            set_title(axes, f"{panel} ({total:,} episodes)")
            orders: Counter[tuple[str, ...]] = Counter()
            for order, count in counts.items():
                tasks = [t for t in order.split(">") if t]
                orders[tuple((tasks + [ENDED] * steps)[:steps])] += count
            _flow(axes, orders, total, ranks, colours, theme)
            axes.set_xlim(-0.25, steps - 0.75)
        figure.legend(
            handles=[_patch(colours[k], name) for k, name in names.items()] + [_patch(theme.grid, "none")],
            loc="outside right center",
        )
    return figure


def _flow(
    axes: Axes, orders: Counter[tuple[str, ...]], total: int, ranks: Mapping[str, int], colours: Mapping[str, str], theme: Theme
) -> None:
    steps, gap, half = len(next(iter(orders))), 0.018, 0.075
    tops: list[dict[str, float]] = []
    for k in range(steps):
        sizes: Counter[str] = Counter()
        for order, count in orders.items():
            sizes[order[k]] += count
        top, place = 0.0, {}
        for task in sorted(sizes, key=ranks.__getitem__):
            high = sizes[task] / total
            place[task] = top
            axes.fill(
                [k - half, k + half, k + half, k - half],
                [top, top, top + high, top + high],
                color=colours.get(task, theme.grid),
                lw=0,
                zorder=3,
            )
            if high > 0.03 and task in colours:
                axes.text(k, top + high / 2, task, ha="center", va="center", color=theme.background, fontsize=8.5, zorder=4)
            top += high + gap
        tops.append(place)
    for k in range(steps - 1):
        pairs: Counter[tuple[str, str]] = Counter()
        for order, count in orders.items():
            pairs[order[k], order[k + 1]] += count
        left, right = dict(tops[k]), dict(tops[k + 1])
        for (a, b), count in sorted(pairs.items(), key=lambda p: (ranks[p[0][0]], ranks[p[0][1]])):
            high = count / total
            t = np.linspace(0, 1, 30)
            bend = t * t * (3 - 2 * t)
            x = k + half + t * (1 - 2 * half)
            low = left[a] + (right[b] - left[a]) * bend
            axes.fill_between(x, low, low + high, color=colours.get(a, theme.grid), alpha=0.42, lw=0, zorder=2)
            left[a] += high
            right[b] += high
    axes.set_ylim(1 + gap * 8, -0.02)
    axes.set_xticks(range(steps), [f"task {k + 1}" for k in range(steps)])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _patch(colour: str, label: str) -> Patch:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)


def pushes(panels: Mapping[str, Sequence[np.ndarray]], theme: Theme = LIGHT, title: str = "", most: int = 30) -> Figure:
    """Block push from above, one panel a mode: the effector's paths in the mode's colour, the blocks' paths in their own from a
    dot to a square, circles for zones.

    panels: per mode the states ``(length, 16)`` of its episodes, of which the first ``most`` are drawn.
    """
    from matplotlib.patches import Circle

    red, green = ("#c9453c", "#2f9e60")
    wide = len(panels)
    with canvas(theme, 3.1 * max(wide, 2) + 0.4, 2.7 if title else 2.4) as figure:
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        grid = figure.subplots(1, wide, squeeze=False, sharex=True, sharey=True)[0]
        for i, (axes, (name, episodes)) in enumerate(zip(grid, panels.items(), strict=True)):
            set_title(axes, f"{name.replace('>', ', then ')}\n{len(episodes)} episodes")
            axes.title.set_fontsize(8.5)  # type: ignore[attr-defined]
            fade = max(0.2, min(0.8, 8 / max(len(episodes), 1)))
            for states in episodes[:most]:
                for x, colour in ((10, red), (13, green)):
                    zone = (float(states[0, x + 1]), float(states[0, x]))
                    axes.add_patch(Circle(zone, 0.05, fill=False, ec=colour, lw=1.2, alpha=0.3, zorder=1))
                axes.plot(*_turned(states[:, 6:8]), color=theme.palette[i % 6], lw=0.7, alpha=fade, zorder=2)
                for x, colour in ((0, red), (3, green)):
                    path = _turned(states[:, x : x + 2])
                    axes.plot(*path, color=colour, lw=1.6, alpha=fade, zorder=3)
                    axes.plot(*path[:, 0], "o", color=colour, ms=2.2, alpha=fade, zorder=4)
                    axes.plot(*path[:, -1], "s", color=colour, ms=4, alpha=fade, zorder=4)
            axes.set(aspect="equal", xlim=(-0.5, 0.4), ylim=(0.68, 0.15))
            axes.set_xlabel("y, m")
        grid[0].set_ylabel("x, m")
    return figure


def _turned(xy: np.ndarray) -> np.ndarray:
    """``(2, n)``: the table as one stands before it, y to the right and x downwards."""
    return np.asarray(xy[:, ::-1].T)


def swept(
    title: str,
    series: Mapping[str, Mapping[float, Measured]],
    theme: Theme = LIGHT,
    *,
    x_label: str,
    y_label: str,
    published: float | None = None,
    points: Mapping[str, Mapping[float, Sequence[float]]] | None = None,
) -> Figure:
    """Curves over a swept value with their intervals as bands; equal distances between its values.

    published: the value that the publication chose, marked by an upright line. points: single seeds, as dots.
    """
    places = {x: i for i, x in enumerate(sorted({x for values in series.values() for x in values}))}
    if not places:
        raise ConfigError(f"no values to draw for '{title}'")
    with canvas(theme, 5.4, 3.5) as figure:
        axes = figure.subplots()
        set_title(axes, title)
        if published in places:
            axes.axvline(places[published], color=theme.muted, lw=1, ls=(0, (4, 3)), label="published", zorder=1)
        for i, (name, values) in enumerate(series.items()):
            colour = theme.palette[i % len(theme.palette)]
            known = sorted(values)
            at = [places[x] for x in known]
            found = [values[x] for x in known]
            low, high = ([v.value if math.isnan(b) else b for v, b in zip(found, side, strict=True)]
                         for side in ([v.low for v in found], [v.high for v in found]))  # fmt: skip
            axes.fill_between(at, low, high, color=colour, alpha=0.18, lw=0, zorder=2)
            axes.plot(at, [v.value for v in found], "o-", color=colour, lw=1.8, ms=4.5, label=name, zorder=3)
            for x, seeds in ((points or {}).get(name) or {}).items():
                axes.plot([places[x]] * len(seeds), seeds, "o", color=colour, ms=2.5, alpha=0.5, zorder=2)
        axes.set_xticks(list(places.values()), ["∞" if math.isinf(x) else f"{x:g}" for x in places])
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(series) > 1 or published in places:
            axes.legend()
    return figure
