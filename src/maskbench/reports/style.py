"""One style for all figures, for light and dark pages."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Theme:
    """Colours of one page background. ``palette`` tells series apart, also for colour-blind readers (Okabe-Ito, adjusted)."""

    background: str
    ink: str
    muted: str
    grid: str
    palette: tuple[str, ...]


LIGHT = Theme("#ffffff", "#1c2430", "#6b7585", "#e4e8ee", ("#2f6fdb", "#d9622b", "#1f9373", "#a9489b", "#b98a11", "#55a3d8"))
DARK = Theme("#151a21", "#e6eaf0", "#95a0b0", "#2b333e", ("#6ea0ff", "#f08a57", "#4cc5a0", "#d67fca", "#dcb54a", "#86c8f0"))


def png(figure: Figure, dpi: int = 160) -> bytes:
    """The figure as a PNG file."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, facecolor=figure.get_facecolor())
    return out.getvalue()


@contextmanager
def canvas(theme: Theme, wide: float, high: float) -> Iterator[Figure]:
    """A figure of the house style (inches); no pyplot, hence no global state and no display."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "figure.constrained_layout.w_pad": 0.12,
        "figure.constrained_layout.h_pad": 0.1,
        "figure.constrained_layout.wspace": 0.04,
        "figure.facecolor": theme.background,
        "axes.facecolor": theme.background,
        "axes.edgecolor": theme.grid,
        "axes.labelcolor": theme.muted,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "text.color": theme.ink,
        "xtick.color": theme.grid,
        "ytick.color": theme.grid,
        "xtick.labelcolor": theme.muted,
        "ytick.labelcolor": theme.muted,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "font.family": "sans-serif",
        "font.size": 9,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "legend.labelcolor": theme.muted,
        "lines.solid_capstyle": "round",
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(wide, high), layout="constrained")
        yield figure
        figure.draw_without_rendering()  # ticks are made when drawn: make them while the style holds


def set_title(axes: Axes, text: str) -> None:
    """Titles one panel, at its left edge."""
    axes.set_title(text, loc="left", fontsize=10.5, fontweight="bold", pad=9)
