"""Data sets that are not there, or cannot be cut, scaled or drawn as asked."""

from __future__ import annotations

from pathlib import Path

from maskbench.app.config.decode import KeyMistake
from maskbench.app.config.schema import EvalConfig, TrainConfig


def data_is_there(c: TrainConfig | EvalConfig) -> None:
    """Recorded episodes must exist before anything starts."""
    path = c.dataset.path
    if path is not None and not any((Path(folder) / path).exists() for folder in (".", c.experiment.data_root)):
        raise KeyMistake("dataset.path", f"'{path}' does not exist; null generates episodes with the environment's expert")


def normalise_fits_factors(c: TrainConfig) -> None:
    """Classes have no scale."""
    if c.env.discrete:
        for role, kind in c.dataset.normalise.items():
            if kind != "none":
                problem = f"the {role} of env={c.env.name} is discrete; expected none, found {kind}"
                raise KeyMistake(f"dataset.normalise.{role}", problem)


def split_fits_episodes(c: TrainConfig | EvalConfig) -> None:
    """The parts of a split may not exceed the episodes."""
    split, total = c.dataset.split, c.dataset.generate.episodes
    parts = (split.train, split.validation, split.test)
    if parts.count(None) > 1:
        raise KeyMistake("dataset.split", "only one of train, validation and test may be null (the rest)")
    counts = [p if isinstance(p, int) else int(p * total) for p in parts if p is not None]
    if c.dataset.path is None and (sum(counts) > total or (None in parts and sum(counts) == total)):
        raise KeyMistake("dataset.split", f"asks for {sum(counts)} episodes or more of dataset.generate.episodes={total}")
    if sum(p for p in parts if isinstance(p, float)) > 1:
        raise KeyMistake("dataset.split", "fractions add up to more than 1")


def labels_take_turns(c: TrainConfig) -> None:
    """Alternating batches need both kinds of episodes, and no passes over all windows."""
    unlabelled = c.dataset.unlabelled
    if unlabelled.ratio is None:
        return
    if not unlabelled.keep:
        raise KeyMistake("dataset.unlabelled.ratio", "dataset.unlabelled.keep=false leaves nothing to alternate with")
    if c.experiment.num_prior_epochs is not None:
        raise KeyMistake("dataset.unlabelled.ratio", "alternating batches have no epochs; give experiment.num_steps instead")
