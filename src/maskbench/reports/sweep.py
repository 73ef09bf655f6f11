"""The jobs of a multirun side by side: what each was, how well it learned, how well it acted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskbench.errors import DataError
from maskbench.reports.collect import Run, collect, find_runs
from maskbench.reports.cross import Bar, bars_by_world
from maskbench.reports.style import png
from maskbench.reports.tables import Cell, Measured, Table, show

#: What publications report of an environment's rollouts, and what any environment has. Shown where they were measured.
PUBLISHED = ("p_1", "p_2", "p_3", "p_4", "R1", "R2", "P1", "P2")
COMMON = ("return", "success", "normalised_score", "goal_distance")
#: Policies that are the same for every job of an environment.
REFERENCES = {"random": "random actions", "data": "demonstrations"}
NOTE = "Losses compare within one masking scheme, rollouts within one environment and query."


@dataclass(frozen=True)
class Job:
    """One finished run of a multirun. ``settings``: those of its overrides that differ between jobs, without ``env``."""

    name: str
    world: str
    settings: Mapping[str, str]
    run: Run

    @property
    def label(self) -> str:
        return " ".join(self.settings.values()) or self.name

    @property
    def loss(self) -> float | None:
        curve = self.run.curves.get("validation/loss")
        return None if curve is None else float(min(curve.values))

    @property
    def minutes(self) -> float | None:
        """Training by the clock, validation included."""
        curve = self.run.timing.get("time/seconds")
        return None if curve is None else float(curve.values[-1]) / 60

    def played(self, policy: str = "model") -> dict[str, dict[str, Measured]]:
        """Query -> metric -> value, of the metrics worth a column."""
        found: dict[str, dict[str, Measured]] = {}
        for r in self.run.rollouts:
            wanted = r.metric in PUBLISHED or (
                r.metric in COMMON and (r.metric != "goal_distance" or r.query.startswith("goal"))
            )
            if r.policy == policy and wanted:
                found.setdefault(r.query, {})[r.metric] = Measured(r.value, r.low, r.high)
        return found


def read_jobs(folder: Path | str) -> list[Job]:
    """The finished jobs of the multirun in ``folder``, in order. Raises DataError where there is none."""
    folder = Path(folder)
    paths = sorted(find_runs(folder), key=lambda p: (len(p.name), p.name))
    if not paths:
        raise DataError(f"{folder} holds no finished run")
    given = {path: _overrides(path) for path in paths}
    keys = tuple(dict.fromkeys(k for s in given.values() for k in s))
    differing = [k for k in keys if k != "env" and len({s.get(k) for s in given.values()}) > 1]
    jobs = []
    for path in paths:
        run = collect(path)
        world: Any = run.config.get("env")
        name = str(world["name"]) if isinstance(world, Mapping) and "name" in world else given[path].get("env", "")
        settings = {k: given[path].get(k, "") for k in differing}
        jobs.append(Job(path.relative_to(folder).as_posix(), name, settings, run))
    return jobs


def sweep_table(jobs: Sequence[Job], title: str) -> Table:
    """One row a job and query; then, for each environment, what random actions and the demonstrations do. For readers."""
    settings = tuple(jobs[0].settings)
    rows: list[tuple[tuple[Cell, ...], Mapping[str, Measured]]] = []
    for job in jobs:
        head = (job.name, job.world, *job.settings.values(), job.loss, job.minutes)
        rows += [((*head, query), values) for query, values in (job.played() or {"": {}}).items()]
    for world, query, name, values in _references(jobs):
        rows.append(((name, world, *("" for _ in settings), None, None, query), values))
    metrics = [m for m in (*PUBLISHED, *COMMON) if any(m in values for _, values in rows)]
    worlds = {job.world for job in jobs}
    columns = ("job", "env", *settings, "validation loss", "minutes", "query", *metrics)
    cells = [(*head, *(values.get(m) for m in metrics)) for head, values in rows]
    if len(worlds) == 1:  # the title says it
        columns, cells = _without(columns, cells, 1)
    return Table(title, columns, tuple(cells), (NOTE,))


def _without(columns: tuple[str, ...], rows: list[tuple[Cell, ...]], place: int) -> tuple[tuple[str, ...], list[Any]]:
    def cut(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*row[:place], *row[place + 1 :])

    return cut(columns), [cut(row) for row in rows]


def wide_table(jobs: Sequence[Job], title: str) -> Table:
    """One row a job, one column a query and metric: for programs that read on."""
    played = [
        {f"{q} {m.replace('_', ' ')}": v for q, values in job.played().items() for m, v in values.items()} for job in jobs
    ]
    names = tuple(dict.fromkeys(name for found in played for name in found))
    columns = ("job", "env", *jobs[0].settings, "validation loss", "minutes", *names)
    rows = tuple(
        (job.name, job.world, *job.settings.values(), job.loss, job.minutes, *map(found.get, names))
        for job, found in zip(jobs, played, strict=True)
    )
    return Table(title, columns, rows)


def brief_table(jobs: Sequence[Job], title: str) -> Table:
    """One row a job, all of its rollouts in one cell, so that the table fits a terminal."""
    several = len({job.world for job in jobs}) > 1
    columns = ("job", *(("env",) if several else ()), *jobs[0].settings, "validation loss", "return (success)")
    rows = []
    for job in jobs:
        shown = []
        for query, values in job.played().items():
            text = f"{query} {show(values['return'].value)}" if "return" in values else query
            shown.append(f"{text} ({values['success'].value:.0%})" if "success" in values else text)
        rows.append((job.name, *((job.world,) if several else ()), *job.settings.values(), job.loss, ", ".join(shown)))
    return Table(title, columns, tuple(rows), (NOTE,))


def write_sweep(folder: Path | str) -> Table:
    """Writes ``summary.csv`` (one row a job), ``summary.md`` (one table an environment) and, where jobs acted, ``summary.png``.

    Returns the brief table.
    """
    folder, jobs = Path(folder), read_jobs(folder)
    worlds = dict.fromkeys(job.world for job in jobs)
    title = f"{len(jobs)} jobs of {folder}"
    parts = {world: [job for job in jobs if job.world == world] for world in worlds}
    text = "\n".join(sweep_table(part, f"{world}: {len(part)} jobs of {folder}").to_markdown() for world, part in parts.items())
    bars = {world: _bars(part) for world, part in parts.items()}
    drawn = {world: found for world, found in bars.items() if found}
    files = {"summary.csv": wide_table(jobs, title).to_csv().encode(), "summary.md": text.encode()}
    if drawn:
        files["summary.png"] = png(bars_by_world(drawn))
    for name, content in files.items():
        temporary = folder / f".{name}"
        temporary.write_bytes(content)
        os.replace(temporary, folder / name)
    return brief_table(jobs, title)


def _bars(jobs: Sequence[Job]) -> list[Bar]:
    """What a figure shows of one environment: its published numbers, or the common ones."""
    found = [Bar(job.label, query, values) for job in jobs for query, values in job.played().items()]
    found += [Bar(name, query, values, reference=True) for _, query, name, values in _references(jobs)]
    chosen = PUBLISHED if any(m in bar.values for bar in found for m in PUBLISHED) else COMMON
    kept = [Bar(b.label, b.query, {m: b.values[m] for m in chosen if m in b.values}, b.reference) for b in found]
    return [bar for bar in kept if bar.values]


def _references(jobs: Sequence[Job]) -> list[tuple[str, str, str, Mapping[str, Measured]]]:
    """World, query, name and values of the policies that need no model; those of the first job that has them."""
    found: dict[tuple[str, str], tuple[str, str, str, Mapping[str, Measured]]] = {}
    for job in jobs:
        for policy, name in REFERENCES.items():
            for query, values in job.played(policy).items():
                found.setdefault((job.world, name), (job.world, query, name, values))
    return list(found.values())


def _overrides(path: Path) -> dict[str, str]:
    """The command line of a job."""
    from omegaconf import OmegaConf

    saved = path / ".hydra" / "overrides.yaml"
    lines: Any = OmegaConf.to_container(OmegaConf.load(saved), resolve=False) if saved.is_file() else []
    pairs = (str(line).lstrip("+").split("=", 1) for line in lines)
    return {k: v for k, v in pairs if not k.startswith("hydra.")}
