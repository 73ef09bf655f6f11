"""Models that embed the timestep refuse episodes that outlast their table, recorded or played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from maskbench.app.config.compose import load
from maskbench.app.config.instantiate import instantiate
from maskbench.app.experiment import build_dataset, build_model, build_sampler
from maskbench.errors import ConfigError
from maskbench.policies.queries import Query

SMALL = ["dataset.generate.episodes=20", "dataset.split.train=10", "dataset.split.validation=5", "dataset.split.test=5"]


def test_longer_episodes_are_refused_wherever_they_come_from(tmp_path: Path) -> None:
    config = load("train", ["masking=decision_transformer", "model.max_timesteps=10", *SMALL])
    environment = instantiate(config.env)
    data = build_dataset(config.dataset, environment, str(tmp_path))
    model = build_model(config, environment, data)
    window = build_sampler(config, data, "train", model.layout, "cpu").batch(0)
    assert window.start is not None
    model.policy(Query(), 2)
    with pytest.raises(ConfigError, match="last 30 timesteps, but the model has embeddings for 10"):
        model.policy(Query(), 2, instantiate(replace(config.env, horizon=30)))
    tight = replace(config, model=replace(config.model, max_timesteps=9))
    with pytest.raises(ConfigError, match="max_timesteps=9, but the longest episode has 10 timesteps"):
        build_sampler(tight, data, "train", model.layout, "cpu")
