"""One self-contained page for a run: no script, no network, light and dark."""

from __future__ import annotations

import base64
import html
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskbench.reports import figures
from maskbench.reports.collect import Run, collect
from maskbench.reports.style import DARK, LIGHT, Theme, png
from maskbench.reports.tables import Cell, Table, metric_table, occurrence_tables, rollout_table, show, task_loss_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Keys of the data card that are of interest where they are plain values, in this order; other plain keys follow.
_CARD_FIRST = ("name", "title", "source", "licence", "license", "episodes", "steps", "hash")


def write_report(folder: Path | str, path: Path | str | None = None) -> Path:
    """Writes ``report.html`` into the run folder (or to ``path``) and returns its path. A run lacks what it lacks: missing
    pieces are left out of the page. Raises DataError where the folder does not exist or a file of it is malformed."""
    run = collect(folder)
    path = Path(path) if path is not None else run.folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".part.{path.name}")
    temporary.write_text(render(run), encoding="utf-8")
    os.replace(temporary, path)
    return path


def render(run: Run) -> str:
    """The page as text."""
    sections = [(title, body) for title, make in _SECTIONS if (body := "".join(make(run)))]
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title, _ in sections)
    content = "".join(f'<section id="{_anchor(title)}"><h2>{title}</h2>{body}</section>' for title, body in sections)
    name = html.escape(run.name)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{name} · maskbench</title><style>{_STYLE}</style></head><body>"
        f'<header><p class="kind">maskbench run</p><h1>{name}</h1>{_tiles(run)}<nav>{links}</nav></header>'
        f"<main>{content}</main></body></html>\n"
    )


def _setup(run: Run) -> Iterator[str]:
    parts = {key: value for key, value in run.config.items() if isinstance(value, Mapping)}
    experiment = parts.pop("experiment", {})
    rows: list[tuple[Cell, ...]] = []
    for group, node in parts.items():
        plain = {k: v for k, v in _flat(node).items() if k.rpartition(".")[2] not in ("_target_", "name")}
        target = node.get("train", node) if group == "masking" else node
        kind = str(node.get("name") or target.get("_target_", "")).rpartition(".")[2]
        if kind or plain:
            rows.append((group, kind, ", ".join(f"{k} = {_plain(v)}" for k, v in plain.items())))
    if rows:
        yield Table("Composition", ("part", "choice", "settings"), tuple(rows)).to_html()
    top = {k: v for k, v in (*experiment.items(), *run.config.items()) if not isinstance(v, Mapping | list)}
    if top:
        yield _facts("Experiment", top)
    card = {k: run.card[k] for k in (*_CARD_FIRST, *run.card) if k in run.card and not isinstance(run.card[k], Mapping | list)}
    if card:
        yield _facts("Data set", card)
    if run.config_text:
        yield f"<details><summary>Full configuration</summary><pre>{html.escape(run.config_text)}</pre></details>"


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _tasks(run: Run) -> Iterator[str]:
    if run.task_losses:
        if any(x.factor == "total" for x in run.task_losses):
            yield _figure("loss of every task", lambda theme: figures.task_bars(run.task_losses, theme))
        yield task_loss_table(run.task_losses).to_html()


def _curves(run: Run) -> Iterator[str]:
    if run.curves:
        shown = {n: c for n, c in run.curves.items() if n.rpartition("/")[2] in ("loss", "total")}
        yield _figure("learning curves", lambda theme: figures.learning_curves(shown or run.curves, theme, most=9))
    if run.timing:
        rows = tuple((name, float(c.values[-1]), float(sum(c.values) / len(c.values))) for name, c in run.timing.items())
        yield Table("Timing", ("quantity", "last", "mean"), rows).to_html()


def _rollouts(run: Run) -> Iterator[str]:
    if run.rollouts:
        metrics = {r.metric for r in run.rollouts}
        if metrics & {"success", "normalised_score", "return", "goal_distance"}:
            yield _figure("rollout results with intervals", lambda theme: figures.rollout_bars(run.rollouts, theme=theme))
        wide, tall = rollout_table(run.rollouts, "Results"), metric_table(run.rollouts, "Results")
        yield (wide if len(wide.rows) >= len(tall.rows) else tall).to_html()
        for table in occurrence_tables(run.rollouts):
            yield f"<details><summary>{html.escape(table.title)}</summary>{table.to_html()}</details>"
    if run.films:
        films = (
            f'<figure><img class="film" alt="episodes asked by {html.escape(query)}" src="{_data("gif", path.read_bytes())}">'
            f"<figcaption>{html.escape(query)}</figcaption></figure>"
            for query, path in run.films.items()
        )
        yield f'<div class="films">{"".join(films)}</div>'


def _files(run: Run) -> Iterator[str]:
    listed = [(name, size) for name, size in run.files() if name != "report.html"]
    if listed:
        yield Table("Files", ("path", "size"), tuple((name, _size(size)) for name, size in listed)).to_html()


_SECTIONS: tuple[tuple[str, Callable[[Run], Iterator[str]]], ...] = (
    ("Task losses", _tasks),
    ("Rollouts", _rollouts),
    ("Learning curves", _curves),
    ("What was run", _setup),
    ("Files", _files),
)


def _tiles(run: Run) -> str:
    """The few numbers that a reader looks for first."""
    tiles: list[tuple[str, str, str]] = []
    if run.curves:
        tiles.append(("steps", f"{max(float(c.steps[-1]) for c in run.curves.values()):,.0f}", ""))
    if "validation/loss" in run.curves:
        curve = run.curves["validation/loss"]
        if not all(math.isnan(v) for v in curve.values):
            best = min((v, s) for v, s in zip(curve.values, curve.steps, strict=True) if not math.isnan(v))
            tiles.append(("best validation loss", show(float(best[0])), f"at step {best[1]:,.0f}"))
    for metric in ("success", "normalised_score", "return"):
        ours = [r for r in run.rollouts if r.metric == metric and r.policy not in figures.REFERENCES]
        if ours:
            r = ours[0]
            interval = "" if math.isnan(r.low) else f"{show(r.low)} to {show(r.high)}, "
            tiles.append((f"{metric.replace('_', ' ')}, {r.query}", show(r.value), f"{interval}n = {r.n}"))
    boxes = (f"<div><dt>{html.escape(a)}</dt><dd>{b}</dd><small>{html.escape(c)}</small></div>" for a, b, c in tiles[:4])
    return f'<dl class="tiles">{"".join(boxes)}</dl>' if tiles else ""


def _facts(title: str, values: Mapping[str, Any]) -> str:
    items = "".join(f"<div><dt>{html.escape(str(k))}</dt><dd>{html.escape(_plain(v))}</dd></div>" for k, v in values.items())
    return f'<h3>{html.escape(title)}</h3><dl class="facts">{items}</dl>'


def _figure(alt: str, draw: Callable[[Theme], Figure]) -> str:
    light, dark = (_data("png", png(draw(theme))) for theme in (LIGHT, DARK))
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{html.escape(alt)}" src="{light}"></picture></figure>'
    )


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


_STYLE = """
:root{--bg:#fff;--ink:#1c2430;--muted:#6b7585;--line:#e4e8ee;--soft:#f6f8fa;--accent:#2f6fdb}
@media(prefers-color-scheme:dark){:root{--bg:#151a21;--ink:#e6eaf0;--muted:#95a0b0;--line:#2b333e;--soft:#1c222b;--accent:#6ea0ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,main{max-width:1040px;margin:0 auto;padding:0 24px}
header{padding-top:44px}
h1{margin:0 0 20px;font-size:30px;line-height:1.2;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{margin:0 0 16px;font-size:20px;letter-spacing:-.01em}
h3,caption{margin:22px 0 8px;font-size:14px;font-weight:600;text-align:left}
caption{margin:0;padding:12px 0 8px}
section{padding:32px 0;border-top:1px solid var(--line)}
nav{display:flex;flex-wrap:wrap;gap:18px;padding:18px 0}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
.kind{margin:0 0 4px;color:var(--muted);font-size:12px;letter-spacing:.08em;text-transform:uppercase}
dl{margin:0}dd{margin:0}dt,small{color:var(--muted);font-size:12.5px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px}
.tiles div{padding:14px 16px;border:1px solid var(--line);border-radius:10px;background:var(--soft)}
.tiles dd{font-size:26px;font-weight:650;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:10px 24px}
.facts dd{overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-size:13.5px}
th,td{padding:7px 12px 7px 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:baseline}
th{color:var(--muted);font-size:12.5px;font-weight:500}
.num{text-align:right;padding:7px 0 7px 16px;font-variant-numeric:tabular-nums;white-space:nowrap}
.num+.text{padding-left:28px}
.range{margin-left:6px;color:var(--muted);font-size:12px}
.note{margin:8px 0 0;color:var(--muted);font-size:12.5px}
figure{margin:4px 0 18px}
img{display:block;max-width:100%;height:auto}
.films{display:flex;flex-wrap:wrap;gap:20px;margin-top:20px}
.film{border:1px solid var(--line);border-radius:8px}
figcaption{margin-top:6px;color:var(--muted);font-size:13px}
details{margin-top:22px}summary{cursor:pointer;color:var(--accent)}
pre{overflow-x:auto;padding:14px 16px;border:1px solid var(--line);border-radius:10px;background:var(--soft)}
pre{font-size:12.5px;line-height:1.5}
"""
