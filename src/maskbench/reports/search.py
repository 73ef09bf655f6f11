"""Trials of a search: what was tried, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskbench.errors import ConfigError
from maskbench.reports.style import LIGHT, Theme, canvas, set_title
from maskbench.reports.tables import Cell, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Ratio of largest to smallest value from which a setting is drawn along a logarithmic axis.
_WIDE = 30


@dataclass(frozen=True)
class Trial:
    """One trial: its settings by key, and what the search minimises."""

    number: int
    settings: Mapping[str, object]
    value: float


def trials_table(title: str, trials: Sequence[Trial], told: str) -> Table:
    """One row a trial, the best first. told: the name of what was minimised."""
    keys = tuple(dict.fromkeys(key for trial in trials for key in trial.settings))
    ranked = sorted(trials, key=lambda trial: trial.value)
    rows = tuple((str(t.number), t.value, *(_cell(t.settings.get(key, "")) for key in keys)) for t in ranked)
    return Table(title, ("trial", told, *map(_short, keys)), rows)


def trials_figure(title: str, trials: Sequence[Trial], told: str, theme: Theme = LIGHT) -> Figure:
    """What was minimised by each setting, one panel a setting: later trials darker, the best ringed."""
    if not trials:
        raise ConfigError(f"no trials to draw for '{title}'")
    keys = tuple(dict.fromkeys(key for trial in trials for key in trial.settings))
    best = min(trials, key=lambda trial: trial.value)
    with canvas(theme, 0.9 + 2.1 * len(keys), 3.3) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        row = figure.subplots(1, len(keys), squeeze=False, sharey=True)[0]
        for axes, key in zip(row, keys, strict=True):
            found = [t for t in trials if key in t.settings]
            values = [t.settings[key] for t in found]
            numbers = [float(v) for v in values if isinstance(v, int | float)]
            few = len(set(map(str, values))) <= 4 or len(numbers) < len(values)
            places = {name: i for i, name in enumerate(dict.fromkeys(map(str, sorted(values, key=_order))))}
            x = [float(places[str(v)]) for v in values] if few else numbers
            shade = [0.25 + 0.75 * (i + 1) / len(found) for i in range(len(found))]
            axes.scatter(x, [t.value for t in found], s=26, color=theme.palette[0], alpha=shade, lw=0, zorder=2)
            if best in found:
                ring = x[found.index(best)]
                axes.scatter([ring], [best.value], s=95, facecolors="none", edgecolors=theme.palette[1], lw=1.6, zorder=3)
            if few:
                axes.set_xticks(range(len(places)), list(places))
                axes.set_xlim(-0.6, len(places) - 0.4)
            elif min(x) > 0 and max(x) / min(x) >= _WIDE:
                axes.set_xscale("log")
            set_title(axes, _short(key))
        row[0].set_ylabel(told)
    return figure


def _short(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")


def _cell(value: object) -> Cell:
    return value if isinstance(value, float) else str(value)


def _order(value: object) -> tuple[bool, float, str]:
    """Numbers by size, before words."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (not number, float(value) if number else 0.0, str(value))  # type: ignore[arg-type]
