"""Recorded episodes with the rewards of another task (MaskDP study 1.7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskbench.collect.validate import family_of
from maskbench.data.importers.maskdp import MaskdpImporter, write_maskdp
from maskbench.envs.dmc import DMControl
from maskbench.errors import DataError
from maskbench.trajectory import Episode


def relabel_episode(episode: Episode, family: DMControl) -> Episode:
    """The same recording as ``family``'s task would have paid it; needs ``physics`` and its final row."""
    physics = np.concatenate([episode.values["physics"][1:], episode.final["physics"][None]])
    return replace(episode, values={**episode.values, "reward": family.relabel(physics)[:, None]})


def relabel_tree(source: Path, target: Path, task: str) -> Iterator[tuple[Path, float]]:
    """Writes every episode below ``source`` into the same place below ``target`` with the rewards of ``task``.

    Yields each file and its return. Raises ConfigError for a task that the episodes' domain does not have, DataError where
    ``target`` is ``source``, which stays as it is.
    """
    if source.resolve() == target.resolve():
        raise DataError(f"{target}: relabelled episodes need a folder of their own")
    family = None
    for file in sorted(source.rglob("episode_*.npz")):
        imported = MaskdpImporter().read(file)
        family = family or family_of(imported.spec, task)
        episode = relabel_episode(next(imported.episodes()), family)
        index = int(episode.meta["index"])
        written = write_maskdp(target / file.parent.relative_to(source), [episode], first_index=index)
        yield written[0], float(episode.values["reward"].sum(dtype=np.float64))
    if family is None:
        raise DataError(f"{source} holds no episode_<index>_<length>.npz")
