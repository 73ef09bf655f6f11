"""``eval.py``: what a trained run knows of held-out windows, task by task, or all about one query."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from maskbench.app.acting import make_query
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.schema import EvalConfig
from maskbench.app.experiment import build_dataset, build_sampler, load_model, pick_device
from maskbench.app.results import write_results
from maskbench.app.rollout import play_query
from maskbench.app.seeds import for_each_seed
from maskbench.app.tasks import build_bank, measure, possible_tasks
from maskbench.errors import ConfigError
from maskbench.masking.tasks import TASKS
from maskbench.policies.queries import QUERIES


def run(config: EvalConfig, run_dir: Path) -> float | None:
    """Prints and writes every task's loss with its interval and floor, for each seed of the run; returns the sum of the totals.

    Of a text run: what it foretells, and what happened. With ``config.query`` the loss of that task alone, and rollouts
    under it beside reference policies where it can be acted by.
    """
    if config.env.text:
        from maskbench.app.text_eval import run_text_eval

        return run_text_eval(config, run_dir)
    return for_each_seed(config, run_dir, _run_once)


def _run_once(config: EvalConfig, run_dir: Path) -> float | None:
    console = Console(stderr=True)
    settings, query = config.experiment, config.query
    device = pick_device(settings.device)
    model = load_model(config.model.load_dir, config.model.which, device)
    environment = instantiate(config.env)
    acts = query is not None and query.name in QUERIES
    if query is not None and acts:
        model.policy(make_query(query, query.name), 1, environment)  # refuses before any work starts
    data = build_dataset(config.dataset, environment, settings.data_root)
    asked = config.tasks if query is None else (query.name,) if query.name in TASKS else ()
    names = list(asked or model.config.masking.tasks)
    possible = possible_tasks(model, names)
    if asked is not None and len(possible) < len(names):
        refused = [n for n in names if n not in possible]
        key, others = ("tasks", possible) if query is None else ("query", possible_tasks(model, list(TASKS)))
        raise ConfigError(f"{key}={refused} cannot be answered by this model. Possible here: {others}")
    if not len(getattr(data.split, config.part)):
        raise ConfigError(f"part={config.part} holds no episodes: raise dataset.split.{config.part} or choose another part")
    sampler = build_sampler(model.config, data, config.part, model.layout, device, network=model.network)
    window = sampler.fixed(config.evaluation.num_windows, config.evaluation.seed + 1)
    rows = measure(model, build_bank(model, window, names, config.evaluation.seed + 1))
    played = []
    if query is not None and acts:
        played = [play_query(model, environment, data, query, settings, config.model, config.metrics, config.protocol)]
    write_results(console, run_dir, model, data, rows, played, video=settings.record_video)
    return sum(r.loss.loss for r in rows if r.loss.factor == "total")
