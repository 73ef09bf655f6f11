"""``python -m maskbench metrics``: the numbers of a run's rollouts again, from their records and by any definition."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from maskbench.app.acting import judged
from maskbench.app.config.decode import decode
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.runs import saved_config
from maskbench.app.config.schema_env import EnvNode
from maskbench.app.results import MODES
from maskbench.envs.base import MetricsVersion
from maskbench.errors import DataError
from maskbench.reports.tables import Measured, Table
from maskbench.rollout.metrics import MetricRow, mode_of, write_metrics
from maskbench.rollout.records import RECORDS, read_records


def recompute(folder: Path, version: MetricsVersion) -> list[MetricRow]:
    """Metrics of the model's records of every query in ``folder``, the folder of a run or of an evaluation.

    Written to ``evaluation/metrics_<version>.csv`` and ``.json``; the latter also counts the modes that episodes followed.
    Needs neither weights, data nor simulator. Raises DataError where the folder holds no records.
    """
    found = sorted(path.parent for path in (folder / "evaluation").glob(f"*/{RECORDS}"))
    if not found:
        raise DataError(f"no rollout records below {folder / 'evaluation'}: give the folder of a run that acted")
    node = OmegaConf.to_container(saved_config(str(folder), "the run folder").env, resolve=True)
    environment = instantiate(decode(EnvNode, node, "env"))
    rows: list[MetricRow] = []
    followed: dict[str, dict[str, int]] = {}
    for place in found:
        records = read_records(place)
        modes = json.loads((place / MODES).read_text(encoding="utf-8")) if (place / MODES).is_file() else {}
        rows += judged(environment, records, "model", modes, version, config_hash=folder.name)
        names = [mode_of(r) or "none" for r in records]
        followed[place.name] = {name: names.count(name) for name in sorted(set(names), key=lambda n: (-names.count(n), n))}
    stem = folder / "evaluation" / f"metrics_{version}"
    write_metrics(rows, stem.with_suffix(".csv"))
    plain = [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(r).items()} for r in rows]
    content = {"environment": environment.name, "version": version, "metrics": plain, "modes": followed}
    temporary = stem.with_suffix(".json.part")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    os.replace(temporary, stem.with_suffix(".json"))
    return rows


def show_metrics(folder: Path, version: MetricsVersion) -> None:
    """``recompute`` with a table on the console."""
    rows = recompute(folder, version)
    cells = tuple((r.query, r.metric, Measured(r.value, r.low, r.high), r.n) for r in rows)
    console = Console()
    console.print(Table(f"{folder}, version {version}", ("query", "metric", "value", "n"), cells).to_rich())
    console.print(f"{folder}/evaluation/metrics_{version}.csv, .json", soft_wrap=True)
