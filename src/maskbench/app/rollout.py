"""``run_on_env.py``: a trained run acts in its environment."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from maskbench.app.acting import FILMED, Played, play_model, rollout_name, why_no_films
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.schema import EvalExperiment, RolloutConfig
from maskbench.app.config.schema_model import LoadedModel
from maskbench.app.config.schema_play import FAIR, Metrics, Protocol, Query
from maskbench.app.experiment import Model, build_dataset, load_model, pick_device
from maskbench.app.results import write_results
from maskbench.app.seeds import for_each_seed
from maskbench.data.dataset import Dataset, environment_options
from maskbench.envs.base import Environment
from maskbench.errors import EnvError
from maskbench.models.cross import CrossDecoder


def run(config: RolloutConfig, run_dir: Path) -> float | None:
    """Rolls out beside reference policies, each seed of the run; returns the mean return of the model, negated: what a sweep
    minimises. Text games are played by ``maskbench.app.text_rollout``."""
    if config.env.text:
        from maskbench.app.text_rollout import run_text

        return run_text(config, run_dir)
    return for_each_seed(config, run_dir, _run_once)


def _run_once(config: RolloutConfig, run_dir: Path) -> float | None:
    settings = config.experiment
    model = load_model(config.model.load_dir, config.model.which, pick_device(settings.device))
    environment = instantiate(config.env)
    # models of instructions go to worlds that they have not seen (partitions, difficulties): no data are made of these
    elsewhere = isinstance(model.network, CrossDecoder) and environment_options(environment) != environment_options(
        model.environment
    )
    data = build_dataset(config.dataset, model.environment if elsewhere else environment, settings.data_root)
    known = None if elsewhere else data
    played = play_query(model, environment, known, config.query, settings, config.model, config.metrics, config.protocol)
    write_results(Console(stderr=True), run_dir, model, data, [], [played], video=settings.record_video)
    returns = [r.episode_return for r in played.records]
    return -sum(returns) / len(returns)


def play_query(
    model: Model,
    environment: Environment,
    data: Dataset | None,
    query: Query,
    settings: EvalExperiment,
    loaded: LoadedModel,
    metrics: Metrics,
    protocol: Protocol = FAIR,
) -> Played:
    """Rollouts of one query as configured. Raises EnvError where films are asked for and cannot be made."""
    blind = why_no_films(environment) if settings.record_video else None
    if blind is not None:
        raise EnvError(f"experiment.record_video: {blind}")
    films = FILMED if settings.record_video else 0
    where = (served(settings), Path(loaded.load_dir), loaded.which, metrics)
    return play_model(model, environment, data, query, rollout_name(query), *where, films=films, protocol=protocol)


def served(settings: EvalExperiment) -> EvalExperiment:
    """``vectorized_env`` and ``async_envs`` of the reproducibility study as numbers of environments and processes."""
    envs = settings.num_envs if settings.vectorized_env else 1
    workers = settings.num_workers or (min(settings.num_envs, os.cpu_count() or 1) if settings.async_envs else 0)
    return replace(settings, num_envs=envs, num_workers=workers)
