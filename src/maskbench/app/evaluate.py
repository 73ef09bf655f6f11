"""``eval.py``: the losses of a trained run on held-out windows, task by task."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.schema import EvalConfig
from maskbench.app.experiment import build_dataset, build_sampler, load_model, pick_device
from maskbench.app.results import write_results
from maskbench.app.tasks import build_bank, measure, possible_tasks
from maskbench.errors import ConfigError


def run(config: EvalConfig, run_dir: Path) -> float | None:
    """Prints and writes every task's loss with its interval and floor; returns the sum of the totals."""
    console = Console(stderr=True)
    device = pick_device(config.experiment.device)
    model = load_model(config.model.load_dir, config.model.which, device)
    environment = instantiate(config.env)
    data = build_dataset(config.dataset, environment, config.experiment.data_root)
    names = list(config.tasks or model.config.masking.tasks)
    possible = possible_tasks(model, names)
    if config.tasks is not None and len(possible) < len(names):
        refused = [n for n in names if n not in possible]
        raise ConfigError(f"tasks={refused} cannot be answered by this model. Possible here: {possible}")
    if not len(getattr(data.split, config.part)):
        raise ConfigError(f"part={config.part} holds no episodes: raise dataset.split.{config.part} or choose another part")
    sampler = build_sampler(model.config, data, config.part, model.layout, device)
    window = sampler.fixed(config.evaluation.num_windows, config.evaluation.seed + 1)
    rows = measure(model, build_bank(model, window, names, config.evaluation.seed + 1))
    write_results(console, run_dir, model, data, rows, [])
    return sum(r.loss.loss for r in rows if r.loss.factor == "total")
