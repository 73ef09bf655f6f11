"""D4RL HDF5 files: flat arrays over all transitions, cut into episodes at ``terminals`` and ``timeouts``.

Values keep D4RL's own coordinates and order (maze2d positions are (row, column), kitchen observations have 60 entries).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from maskbench.data.importers.base import Imported, provenance, saved_state
from maskbench.data.importers.reading import (
    check_layout,
    finite,
    hdf5_dataset,
    open_hdf5,
    positive,
    read_hdf5,
    require,
    same_rows,
)
from maskbench.errors import DataError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

_REQUIRED = ("observations", "actions", "rewards", "terminals")


class D4rlImporter:
    """Reads one D4RL HDF5 file."""

    format: ClassVar[str] = "d4rl"
    expects: ClassVar[str] = "one .hdf5 file with observations, actions, rewards, terminals and, mostly, timeouts"

    def recognises(self, path: Path) -> bool:
        return path.is_file() and path.suffix in (".hdf5", ".h5")

    def read(
        self, path: Path, *, horizon: int | None = None, simulator: bool = True, goals: bool = False, limit: int | None = None
    ) -> Imported:
        """Opens ``path``.

        horizon:   cuts after so many steps; for files that have no ``timeouts``.
        simulator: keeps ``infos/qpos``, ``infos/qvel`` and where Adroit's objects were put, joined, as the float64 factor
                   ``physics``.
        goals:     keeps ``infos/goal`` as the factor ``goal``.
        limit:     at most so many episodes.

        Factors: ``state``, ``action``, ``reward``, then ``physics`` and ``goal`` as asked and stored. The last row of the
        file ends its episode. The final state is known only where the file holds ``next_observations``: after a timeout
        the next row of a D4RL file belongs to another episode. Raises DataError where arrays are missing or disagree.
        """
        positive("horizon", horizon)
        positive("limit", limit)
        path = Path(path)
        with open_hdf5(path) as file:
            require(path, list(file), _REQUIRED)
            keys = [*_REQUIRED, *(k for k in ("timeouts", "next_observations") if k in file)]
            saved = [f"infos/{k}" for k in saved_state(lambda k: simulator and f"infos/{k}" in file)]
            keys += saved
            keys += ["infos/goal"] if goals else []
            sets = {k: hdf5_dataset(path, file, k) for k in keys}
            flat = ("rewards", "terminals", "timeouts")
            shapes: dict[str, tuple[int | None, ...]] = {k: (None,) if k in flat else (None, None) for k in keys}
            for key, dataset in sets.items():
                check_layout(path, key, dataset, shapes[key])
            rows = sets["observations"].shape[0]
            same_rows(path, sets, rows, "observations")
            if "next_observations" in sets:
                check_layout(path, "next_observations", sets["next_observations"], sets["observations"].shape)
            if rows == 0:
                raise DataError(f"{path}: key 'observations': expected at least one row; found none")
            width = {k: d.shape[1] for k, d in sets.items() if len(d.shape) == 2}
            terminals = read_hdf5(path, file, "terminals").astype(bool)
            timeouts = read_hdf5(path, file, "timeouts").astype(bool) if "timeouts" in sets else np.zeros(rows, bool)
        ends = _ends(terminals | timeouts, horizon)[:limit]
        spec = _spec(width, saved)

        def episodes() -> Iterator[Episode]:
            return _episodes(path, keys, saved, spec, ends, terminals)

        made_by = provenance(self.format, path, horizon=horizon, simulator=simulator, goals=goals, limit=limit)
        return Imported(spec, episodes, len(ends), path.stem, "unknown", made_by)


def _ends(done: np.ndarray, horizon: int | None) -> np.ndarray:
    """Row after the last of each episode, increasing."""
    ends = np.union1d(np.flatnonzero(done) + 1, [len(done)])
    if horizon is None:
        return ends
    starts = np.concatenate([[0], ends[:-1]])
    cuts = [np.append(np.arange(a + horizon, b, horizon), b) for a, b in zip(starts, ends, strict=True)]
    return np.concatenate(cuts)


def _spec(width: dict[str, int], saved: list[str]) -> TrajectorySpec:
    factors = [
        Factor("state", "continuous", "state", (width["observations"],)),
        Factor("action", "continuous", "action", (width["actions"],)),
        Factor("reward", "continuous", "reward", (1,)),
    ]
    if saved:
        factors.append(Factor("physics", "continuous", "simulator", (sum(width[k] for k in saved),)))
    if "infos/goal" in width:
        factors.append(Factor("goal", "continuous", "goal", (width["infos/goal"],)))
    return TrajectorySpec(tuple(factors))


def _episodes(
    path: Path, keys: list[str], saved: list[str], spec: TrajectorySpec, ends: np.ndarray, terminals: np.ndarray
) -> Iterator[Episode]:
    last = int(ends[-1])
    with open_hdf5(path) as file:
        raw = {k: read_hdf5(path, file, k)[:last] for k in keys if k not in ("terminals", "timeouts")}

    def column(key: str, dtype: Any = np.float32) -> np.ndarray:
        return finite(path, key, raw[key], dtype)

    values = {"state": column("observations"), "action": column("actions"), "reward": column("rewards")[:, None]}
    if "physics" in spec:
        values["physics"] = np.concatenate([column(k, np.float64) for k in saved], axis=1)
    if "goal" in spec:
        values["goal"] = column("infos/goal")
    after = column("next_observations") if "next_observations" in raw else None
    start = 0
    for end in ends.tolist():
        final = {} if after is None else {"state": after[end - 1]}
        yield Episode({k: v[start:end] for k, v in values.items()}, final, bool(terminals[end - 1]), {"row": start})
        start = end
