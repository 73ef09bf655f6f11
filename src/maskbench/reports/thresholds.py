"""How far a metric's threshold decides its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from maskbench.errors import ConfigError
from maskbench.reports.style import LIGHT, Theme, canvas, set_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Lines of a policy, after the order in which a panel names its policies.
_DASHES = ("-", (0, (3, 2)), (0, (1, 1.5)))


def threshold_curves(
    title: str,
    at: np.ndarray,
    panels: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]],
    theme: Theme = LIGHT,
    *,
    x_label: str,
    published: float | None = None,
) -> Figure:
    """Shares of episodes along a threshold, one panel a policy, one colour a metric.

    at:     thresholds ``(n,)``.
    panels: title of a panel -> metric -> policy -> shares ``(n,)``; the first policy solid, the next dashed, then dotted.
    published: the threshold that the publication chose, marked by an upright line.
    """
    from matplotlib.lines import Line2D

    if not panels or not all(panels.values()):
        raise ConfigError(f"no values to draw for '{title}'")
    with canvas(theme, 0.8 + 4.4 * len(panels), 3.7) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        row: Sequence = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, (name, metrics) in zip(row, panels.items(), strict=True):
            set_title(axes, name)
            if published is not None:
                axes.axvline(published, color=theme.muted, lw=1, ls=(0, (4, 3)), zorder=1)
            for i, (metric, policies) in enumerate(metrics.items()):
                colour = (*theme.palette, theme.muted)[i % 7]
                for dashes, shares in zip(_DASHES, policies.values(), strict=False):
                    label = metric if dashes == "-" else None
                    axes.plot(at, shares, color=colour, ls=dashes, lw=1.7, label=label, zorder=2)
            axes.set(xlabel=x_label, ylim=(-0.02, 1.02), xlim=(float(at[0]), float(at[-1])))
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        row[0].set_ylabel("share of episodes")
        named = next(iter(next(iter(panels.values())).values()))
        handles = [Line2D([], [], color=theme.muted, ls=ls, lw=1.7, label=who) for ls, who in zip(_DASHES, named, strict=False)]
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    return figure
