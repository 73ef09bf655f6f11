"""``run_on_env.py``: a trained run acts in its environment."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from maskbench.app.acting import FILMED, play_model, rollout_name, why_no_films
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.schema import RolloutConfig
from maskbench.app.experiment import build_dataset, load_model, pick_device
from maskbench.app.results import write_results
from maskbench.errors import EnvError


def run(config: RolloutConfig, run_dir: Path) -> float | None:
    """Rolls out beside reference policies; returns the mean return of the model, negated: what a sweep minimises."""
    console = Console(stderr=True)
    settings = config.experiment
    model = load_model(config.model.load_dir, config.model.which, pick_device(settings.device))
    environment = instantiate(config.env)
    blind = why_no_films(environment) if settings.record_video else None
    if blind is not None:
        raise EnvError(f"experiment.record_video: {blind}")
    data = build_dataset(config.dataset, environment, settings.data_root)
    played = play_model(
        model,
        environment,
        data,
        config.query,
        rollout_name(config.query),
        settings,
        Path(config.model.load_dir),
        config.model.which,
        films=FILMED if settings.record_video else 0,
    )
    write_results(console, run_dir, model, data, [], [played], video=settings.record_video)
    returns = [r.episode_return for r in played.records]
    return -sum(returns) / len(returns)
