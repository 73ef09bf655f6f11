"""``eval.py`` for a text run: what the model foretells of held-out episodes beside what happened (TTM spec 3.4, 5.2 and 7)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console

from maskbench.app.config.schema import EvalConfig
from maskbench.app.experiment import pick_device
from maskbench.app.tasks import TaskRow, write_task_losses
from maskbench.app.text_stream import build_source
from maskbench.app.text_train import TextModel, load_text_model
from maskbench.policies.text_expectation import Foretold, foretell
from maskbench.reports.html import write_report
from maskbench.reports.tables import Measured, Table
from maskbench.rollout.metrics import bootstrap_mean
from maskbench.text.rollout import TextRollout
from maskbench.training.bank import TaskLoss

#: Share of observations that surprise less than ``policy.surprise`` should be (spec 3.4).
GATE = 90


def run_text_eval(config: EvalConfig, run_dir: Path) -> float:
    """Writes ``evaluation/expectations.{csv,md}``, ``foretold.jsonl`` and ``task_losses.csv``; returns the sum of the totals.

    ``part=train`` asks about training episodes, any other part about those of the run's validation.
    """
    model = load_text_model(config.model.load_dir, config.model.which, pick_device(config.experiment.device))
    source, held_out = build_source(model.config)
    episodes = [source.rollout(i) for i in range(len(held_out))] if config.part == "train" else held_out
    folder = run_dir / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    found = ask(model, episodes[: config.evaluation.num_windows])
    losses = [row for name, spans in found.items() for row in _losses(name, spans)]
    write_task_losses([TaskRow(row, None) for row in losses], folder / "task_losses.csv")
    with (folder / "foretold.jsonl").open("w", encoding="utf-8") as file:
        for name, spans in found.items():
            file.writelines(json.dumps({"scheme": name, **asdict(s)}, ensure_ascii=False) + "\n" for s in spans)
    table = tabulate(found)
    table.save(folder / "expectations")
    console = Console(stderr=True)
    console.print(table.to_rich())
    console.print(f"report: {write_report(run_dir)}", soft_wrap=True)
    return sum(row.loss for row in losses if row.factor == "total")


def ask(model: TextModel, episodes: Sequence[TextRollout]) -> dict[str, list[Foretold]]:
    """What the model says about ``episodes``, by the name of each of its schemes that reads whole episodes."""
    whole = [scheme for _, scheme in model.schemes if scheme.format is None]
    return {scheme.name: foretell(model.network, model.encoding, scheme, episodes) for scheme in whole}


def tabulate(found: dict[str, list[Foretold]]) -> Table:
    """Of each predicted factor: nats per token, and how often and how far what was written is what stood there."""
    rows, notes = [], []
    for name, spans in found.items():
        for factor in dict.fromkeys(s.factor for s in spans if s.factor != "obs"):
            own = [s for s in spans if s.factor == factor]
            nats, exact, f1 = (_mean([getattr(s, key) for s in own]) for key in ("nats", "exact", "f1"))
            rows.append((name, factor, len(own), nats, exact, f1))
        read = [s.nats for s in spans if s.factor == "obs"]
        if read:
            limit = np.percentile(read, GATE)
            notes.append(
                f"{name}: observations surprise by {np.mean(read):.2f} nats a token, {GATE} % by less than {limit:.2f}"
            )
    return Table("Foretold and actual", ("scheme", "factor", "spans", "nats", "exact", "token F1"), tuple(rows), tuple(notes))


def _losses(name: str, spans: Sequence[Foretold]) -> list[TaskLoss]:
    factors = list(dict.fromkeys(s.factor for s in spans if s.factor != "obs"))
    parts = {factor: [s.nats for s in spans if s.factor == factor] for factor in factors}
    parts["total"] = [s.nats for s in spans if s.factor != "obs"]
    rows = []
    for factor, nats in parts.items():
        mean = _mean(nats)
        rows.append(TaskLoss(name, factor, mean.value, mean.low, mean.high, len(nats)))
    return rows


def _mean(values: Sequence[float]) -> Measured:
    found = bootstrap_mean(np.asarray(values, float))
    return Measured(found.value, found.low, found.high)
