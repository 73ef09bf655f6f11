"""Minari data sets, from a folder or from an id below ``MINARI_DATASETS_PATH``.

A Minari episode of ``N`` actions holds ``N + 1`` observations: rows ``0..N-1`` become the state factors, row ``N`` the
final state.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from maskbench.data.importers.base import Imported, provenance, saved_state
from maskbench.data.importers.reading import finite, positive
from maskbench.errors import DataError, MissingExtraError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

_GOAL_ENV = {"observation", "achieved_goal", "desired_goal"}


class MinariImporter:
    """Reads a Minari data set."""

    format: ClassVar[str] = "minari"
    expects: ClassVar[str] = (
        "a Minari data set folder (data/metadata.json), or an id such as D4RL/pointmaze/umaze-v2 stored locally"
    )

    def recognises(self, path: Path) -> bool:
        return _data_folder(path) is not None

    def read(self, path: Path, *, goals: bool = False, skip: Sequence[str] = (), limit: int | None = None) -> Imported:
        """Opens a data set.

        goals: in goal environments keeps ``desired_goal`` as the factor ``goal``.
        skip:  observation entries or factors to leave out (``mission`` texts, say).
        limit: at most so many episodes.

        A flat observation becomes the factor ``state``. A dictionary gives one factor an entry, named after it and
        flattened, nested names joined with ``_``. In goal environments ``observation`` is called ``state`` and
        ``achieved_goal``, a function of it, is dropped. Actions become ``action``, rewards ``reward`` ``(N, 1)``. ``infos``
        with ``qpos`` and ``qvel`` (and where Adroit's objects were put) give the float64 factor ``physics``.
        Raises DataError for spaces other than Box and Discrete and for episodes that do not fit them.
        """
        positive("limit", limit)
        try:
            import minari
        except ImportError as error:
            raise MissingExtraError("minari", "data", "Reading Minari data sets") from error
        folder = _data_folder(Path(path))
        if folder is None:
            raise DataError(f"{path}: expected {self.expects}")
        try:
            dataset = minari.MinariDataset(folder)
        except (ValueError, KeyError, OSError, TypeError) as error:
            raise DataError(f"{folder}: expected a Minari data set; its metadata cannot be read ({error})") from error
        observed = dict(_observed(dataset.observation_space, goals, skip))
        if not any(f.role == "state" for f in observed.values()):
            raise DataError(f"{path}: no observation entry is left; found {dataset.observation_space}, skip={list(skip)}")
        action = _factor("action", dataset.action_space, "action")
        count = min(int(dataset.total_episodes), limit or int(dataset.total_episodes))

        def load(i: int) -> Any:
            try:
                return dataset[i]
            except (ValueError, KeyError, OSError, AssertionError) as error:
                raise DataError(f"{folder}: episode {i}: expected a readable episode; found corrupt data ({error})") from error

        infos = (load(0).infos if count else None) or {}
        saved = saved_state(lambda k: k in infos)
        factors = [*observed.values(), action, Factor("reward", "continuous", "reward", (1,))]
        if saved:
            size = sum(math.prod(np.shape(infos[k])[1:]) for k in saved)
            factors.append(Factor("physics", "continuous", "simulator", (size,)))
        spec = TrajectorySpec(tuple(factors))

        def episodes() -> Iterator[Episode]:
            for i in range(count):
                yield _episode(folder, i, load(i), observed, action, saved)

        stored = dataset.storage.metadata
        made_by = provenance(self.format, path, goals=goals or None, skip=list(skip), limit=limit)
        return Imported(spec, episodes, count, str(stored.get("dataset_id", folder.parent.name)), "unknown", made_by)


def _data_folder(path: Path) -> Path | None:
    """Folder that holds ``metadata.json``, for a folder or an id."""
    root = Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")
    for place in (path, path / "data", root / path / "data"):
        if (place / "metadata.json").is_file() and any(place.glob("main_data.*")):
            return place
    return None


#: Keys from the root of an observation to one of its entries; empty for a flat observation.
_Route = tuple[str, ...]


def _observed(space: spaces.Space[Any], goals: bool, skip: Sequence[str]) -> Iterator[tuple[_Route, Factor]]:
    if not isinstance(space, spaces.Dict):
        yield (), _factor("state", space, "state")
        return
    goal_env = set(space) >= _GOAL_ENV
    renamed = {"observation": "state", "desired_goal": "goal"} if goal_env else {}
    for route, entry in _leaves(space, ()):
        entry_name, name = route[0], "_".join((renamed.get(route[0], route[0]), *route[1:]))
        is_goal = goal_env and entry_name == "desired_goal"
        dropped = goal_env and (entry_name == "achieved_goal" or (is_goal and not goals))
        if not dropped and entry_name not in skip and name not in skip:
            yield route, _factor(name, entry, "goal" if is_goal else "state")


def _leaves(space: spaces.Dict, route: _Route) -> Iterator[tuple[_Route, spaces.Space[Any]]]:
    for key, entry in space.spaces.items():
        if isinstance(entry, spaces.Dict):
            yield from _leaves(entry, (*route, key))
        else:
            yield (*route, key), entry


def _factor(name: str, space: spaces.Space[Any], role: Any) -> Factor:
    if isinstance(space, spaces.Box):
        return Factor(name, "continuous", role, (math.prod(space.shape),))
    if isinstance(space, spaces.Discrete):
        return Factor(name, "discrete", role, classes=int(space.n), offset=-int(space.start))
    hint = "" if role == "action" else f"; leave it out with skip=['{name}']"
    raise DataError(f"Minari entry '{name}': expected a Box or Discrete space; found {space}{hint}")


def _episode(
    path: Path, index: int, episode: Any, observed: Mapping[_Route, Factor], action: Factor, saved: Sequence[str]
) -> Episode:
    n = len(episode.rewards)
    if n == 0:
        raise DataError(f"{path}: episode {index}: expected at least one step; found none")
    values, final = {}, {}
    for route, factor in observed.items():
        entry = episode.observations
        for key in route:
            if key not in entry:
                raise DataError(
                    f"{path}: episode {index}: missing observation entry '{'/'.join(route)}'; found {sorted(entry)}"
                )
            entry = entry[key]
        rows = _rows(path, index, "/".join(("observations", *route)), entry, factor, n + 1)
        values[factor.name] = rows[:-1]
        if factor.role == "state":
            final[factor.name] = rows[-1]
    values["action"] = _rows(path, index, "actions", episode.actions, action, n)
    values["reward"] = finite(path, f"episode {index} rewards", np.reshape(episode.rewards, (n, 1)), np.float32)
    if saved:
        values["physics"] = np.concatenate([_saved(path, index, k, episode.infos or {}, n + 1)[:-1] for k in saved], axis=1)
    return Episode(values, final, bool(episode.terminations[-1]), {"index": index})


def _saved(path: Path, index: int, key: str, infos: Mapping[str, Any], rows: int) -> np.ndarray:
    """``(rows, size)`` float64 of one entry of a saved state, a row an observation."""
    array = np.asarray(infos.get(key, ()))
    if array.dtype.kind not in "biuf" or array.ndim < 2 or len(array) != rows:
        raise DataError(
            f"{path}: episode {index}: key 'infos/{key}': expected {rows} rows of numbers, as many as observations; "
            f"found shape {array.shape}, dtype {array.dtype}"
        )
    return finite(path, f"episode {index} infos/{key}", array.reshape(rows, -1), np.float64)


def _rows(path: Path, index: int, key: str, found: Any, factor: Factor, rows: int) -> np.ndarray:
    array = np.asarray(found)
    if array.dtype.kind not in "biuf" or len(array) != rows or math.prod(array.shape[1:]) != math.prod(factor.shape):
        raise DataError(
            f"{path}: episode {index}: key '{key}': expected {rows} rows of {math.prod(factor.shape)} numbers; "
            f"found shape {array.shape}, dtype {array.dtype}"
        )
    if factor.kind == "continuous":
        return finite(path, f"episode {index} {key}", array.reshape(rows, *factor.shape), np.float32)
    classes = array.reshape(rows).astype(np.int64) + factor.offset
    if classes.min() < 0 or classes.max() >= factor.width:
        found_range = f"{classes.min()}..{classes.max()}"
        raise DataError(f"{path}: episode {index}: key '{key}': expected classes 0..{factor.width - 1}; found {found_range}")
    return classes
