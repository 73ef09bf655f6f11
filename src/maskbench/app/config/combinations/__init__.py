"""Combinations of valid values that cannot be run, each refused by one short function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maskbench.app.config.combinations import asking, data, models, runs, text, windows
from maskbench.app.config.schema import EvalConfig, RolloutConfig, TrainConfig
from maskbench.app.config.schema_collect import CollectConfig

#: Of training on text games, whose episodes are no windows.
TEXT_RULES: list[Callable[[Any], None]] = [
    runs.environment_is_here,
    runs.name_is_a_folder,
    text.text_goes_with_text,
    text.text_can_be_read,
    models.heads_divide_width,
]
RULES: dict[type, list[Callable[[Any], None]]] = {
    TrainConfig: [
        runs.environment_is_here,
        runs.name_is_a_folder,
        text.text_goes_with_text,
        data.data_is_there,
        data.split_fits_episodes,
        data.labels_take_turns,
        data.normalise_fits_factors,
        models.mixture_is_complete,
        models.attention_fits_model,
        models.autoencoder_has_whole_tokens,
        models.goals_come_first,
        models.chunks_are_causal,
        models.heads_divide_width,
        windows.window_fits_episode,
        windows.window_fits_masks,
        windows.index_fits_task,
        windows.timesteps_fit_episodes,
        models.returns_can_be_shown,
        models.tasks_can_be_asked,
        models.tokens_have_inputs,
        models.heads_fit_factors,
        runs.starts_from_one_run,
        runs.seed_is_one_of_the_runs,
        runs.seeds_can_be_stacked,
        asking.query_is_complete,
    ],
    EvalConfig: [
        runs.environment_is_here,
        runs.name_is_a_folder,
        data.data_is_there,
        data.split_fits_episodes,
        asking.query_is_complete,
        asking.one_thing_is_asked,
    ],
    RolloutConfig: [runs.environment_is_here, runs.name_is_a_folder, asking.query_is_complete, asking.policies_play_text],
    CollectConfig: [],  # the environment knows its tasks
}


def check(config: Any) -> None:
    """Raises ``KeyMistake`` for the first combination that cannot be run."""
    game = isinstance(config, TrainConfig) and config.env.text
    for rule in TEXT_RULES if game else RULES[type(config)]:
        rule(config)
