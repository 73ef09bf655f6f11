"""Writes episodes as a Minari data set, from which ``importers.minari`` reads equal arrays back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from maskbench.errors import DataError, MissingExtraError
from maskbench.trajectory import Episode, Factor, TrajectorySpec


def export_minari(
    spec: TrajectorySpec,
    episodes: Iterable[Episode],
    dataset_id: str,
    *,
    root: str | Path | None = None,
    env: str | None = None,
    algorithm: str | None = None,
    author: str | None = None,
    author_email: str | None = None,
    code_permalink: str | None = None,
    description: str | None = None,
) -> Path:
    """Creates the Minari data set ``dataset_id`` (``namespace/name-v0``) and returns its folder.

    root: where Minari data sets live; ``MINARI_DATASETS_PATH`` or Minari's own default where None.
    env:  a registered gymnasium id to store beside the data; without it only the spaces are stored.

    One state factor called ``state`` becomes a flat observation, anything else a dictionary of state factors. Observations
    take ``N + 1`` rows, so every episode must know its final state. Rewards are zero where there is no reward factor;
    return, goal, prompt and simulator factors are not written. An episode that is not terminated ends truncated.
    Raises DataError for a missing final state, an existing data set, a bad id or several action factors.
    """
    try:
        from minari.data_collector.episode_buffer import EpisodeBuffer
        from minari.utils import create_dataset_from_buffers
    except ImportError as error:
        raise MissingExtraError("minari", "data", "Writing Minari data sets") from error
    states, actions, rewards = spec.with_role("state"), spec.with_role("action"), spec.with_role("reward")
    if not states or len(actions) != 1 or len(rewards) > 1:
        raise DataError(f"Minari needs state factors, one action and at most one reward factor; found {spec.names}")
    flat = [f.name for f in states] == ["state"]
    action = actions[0]

    def buffer(index: int, episode: Episode) -> EpisodeBuffer:
        missing = [f.name for f in states if f.name not in episode.final]
        if missing:
            raise DataError(f"episode {index}: Minari needs the state after the last action; '{missing[0]}' has no final value")
        n = len(episode)
        rows = {
            f.name: _values(f, np.concatenate([episode.values[f.name], np.asarray(episode.final[f.name])[None]]))
            for f in states
        }
        reward = np.reshape(episode.values[rewards[0].name], n) if rewards else np.zeros(n, np.float32)
        ended = np.zeros(n, bool)
        ended[-1] = True
        return EpisodeBuffer(
            id=index,
            seed=episode.meta.get("seed"),
            observations=rows["state"] if flat else rows,
            actions=_values(action, episode.values[action.name]),
            rewards=reward,
            terminations=ended & episode.terminated,
            truncations=ended & (not episode.terminated),
        )

    buffers = [buffer(i, e) for i, e in enumerate(episodes)]
    if not buffers:
        raise DataError(f"{dataset_id}: expected at least one episode to export; found none")
    with _minari_root(root) as folder:
        if (folder / dataset_id).exists():
            raise DataError(f"{folder / dataset_id}: the data set exists already; choose a new version or remove it")
        try:
            create_dataset_from_buffers(
                dataset_id,
                buffers,
                env=env,
                algorithm_name=algorithm,
                author=author,
                author_email=author_email,
                code_permalink=code_permalink,
                description=description,
                observation_space=_space(states[0]) if flat else spaces.Dict({f.name: _space(f) for f in states}),
                action_space=_space(action),
            )
        except ValueError as error:
            raise DataError(f"Minari refuses the data set '{dataset_id}': {error}") from error
        return folder / dataset_id


def _values(factor: Factor, array: np.ndarray) -> np.ndarray:
    """Class indices go back to the integers that they stand for."""
    return array - factor.offset if factor.kind == "discrete" else array.astype(np.float32, copy=False)


def _space(factor: Factor) -> spaces.Space[Any]:
    if factor.kind == "discrete":
        return spaces.Discrete(factor.width, start=-factor.offset)
    return spaces.Box(-np.inf, np.inf, factor.shape, np.float32)


@contextmanager
def _minari_root(root: str | Path | None) -> Iterator[Path]:
    """Minari finds its folder through one environment variable; it is set for the call alone."""
    name = "MINARI_DATASETS_PATH"
    before = os.environ.get(name)
    folder = Path(root or before or Path.home() / ".minari" / "datasets").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[name] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
