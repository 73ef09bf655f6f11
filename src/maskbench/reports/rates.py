"""Shares of episodes as a heat map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from maskbench.errors import ConfigError
from maskbench.reports.style import LIGHT, Theme, canvas, set_title
from maskbench.reports.tables import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rate_map(
    title: str, values: Mapping[tuple[str, str], Measured], theme: Theme = LIGHT, *, reference: str | None = None
) -> Figure:
    """Rows x columns of shares between 0 and 1, bright = 1; blank where nothing was measured.

    reference: a row; cells of the others also say by how much they differ from it, in the same column.
    """
    rows, columns = (list(dict.fromkeys(key[i] for key in values)) for i in (0, 1))
    if not rows:
        raise ConfigError(f"no values to draw for '{title}'")
    if reference is not None and reference not in rows:
        raise ConfigError(f"reference='{reference}' is no row of '{title}'; expected one of {rows}")
    shares = np.array([[values[r, c].value if (r, c) in values else math.nan for c in columns] for r in rows])
    base = None if reference is None else shares[rows.index(reference)]
    with canvas(theme, 3.2 + 1.1 * len(columns), 1.3 + 0.4 * len(rows)) as figure:
        import matplotlib

        axes = figure.subplots()
        colours = matplotlib.colormaps["viridis"]
        image = axes.imshow(shares, cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
        for i, j in np.argwhere(np.isfinite(shares)):
            r, g, b, _ = colours(shares[i, j])
            ink = "white" if 0.299 * r + 0.587 * g + 0.114 * b < 0.55 else "#10161f"
            text = f"{shares[i, j]:.2f}"
            if base is not None and rows[i] != reference and math.isfinite(base[j]):
                text += f"  ({shares[i, j] - base[j]:+.2f})"
            axes.text(j, i, text, ha="center", va="center", fontsize=8.5, color=ink)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        set_title(axes, title)
        bar = figure.colorbar(image, ax=axes, pad=0.02, fraction=0.04)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(length=0)
        bar.set_label("share of episodes", color=theme.muted, labelpad=8)
    return figure
