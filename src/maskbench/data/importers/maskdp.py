"""MaskDP and ExoRL trees of ``episode_<index>_<length>.npz`` files (specification of MaskDP, section 1).

An episode file holds ``N + 1`` rows for ``N`` actions, and row 0 of everything but the observation is a dummy: the
action taken *at* observation row ``i`` is action row ``i + 1``, and so are its reward and discount.

::

    observation  s0   s1   s2  ...  sN        state  = rows 0..N-1, final = row N
    action       --   a0   a1  ...  aN-1      action = rows 1..N
    reward        0   r0   r1  ...  rN-1      reward = rows 1..N
    physics      x0   x1   x2  ...  xN        physics = rows 0..N-1, final = row N
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from maskbench.data.importers.base import Imported, provenance
from maskbench.data.importers.reading import check_layout, finite, load_npz, positive, same_rows
from maskbench.errors import DataError, did_you_mean
from maskbench.trajectory import Episode, Factor, TrajectorySpec

QUALITIES = ("expert", "sup", "semi", "unsup")
_DOMAINS = ("walker", "cheetah", "quadruped")
_FILE = re.compile(r"episode_(\d+)_(\d+)\.npz")
_REQUIRED = ("observation", "action", "reward", "discount")

#: dm_control observation entries by observation size: walker, cheetah, quadruped (section 1.3).
_PARTS: dict[int, tuple[tuple[str, int], ...]] = {
    24: (("orientations", 14), ("height", 1), ("velocity", 9)),
    17: (("position", 8), ("velocity", 9)),
    78: (("egocentric_state", 44), ("torso_velocity", 3), ("torso_upright", 1), ("imu", 6), ("force_torque", 24)),
}


class MaskdpImporter:
    """Reads MaskDP / ExoRL episode trees."""

    format: ClassVar[str] = "maskdp"
    expects: ClassVar[str] = "a folder (searched recursively) or one file of episode_<index>_<length>.npz"

    def recognises(self, path: Path) -> bool:
        if path.is_file():
            return _FILE.fullmatch(path.name) is not None
        return any(_FILE.fullmatch(p.name) for p in path.rglob("episode_*.npz"))

    def read(
        self,
        path: Path,
        *,
        tasks: Sequence[str] = (),
        qualities: Sequence[str] = (),
        limit: int | None = None,
        domain: str | None = None,
    ) -> Imported:
        """Opens the episodes below ``path``, sorted by path.

        tasks:     keeps episodes below a folder of these names. ``unsup`` episodes have no task; with ``tasks`` they are
                   kept only where ``qualities`` asks for them by name.
        qualities: keeps ``expert``, ``sup``, ``semi`` or ``unsup`` episodes, as named by the folders of the release.
        limit:     at most so many episodes.
        domain:    leaves out episodes that the folders give to another body (walker, cheetah, quadruped).

        Factors: ``state``, ``action``, ``reward`` and, where stored, ``physics`` (float64). An episode ended by the task
        itself (last discount 0) is ``terminated``. Raises DataError for wrong filters, an empty selection or a bad file.
        """
        positive("limit", limit)
        for q in qualities:
            if q not in QUALITIES:
                raise DataError(f"no data quality is called '{q}'. {did_you_mean(q, QUALITIES)}")
        path = Path(path)
        found = [path] if path.is_file() else sorted(p for p in path.rglob("episode_*.npz") if _FILE.fullmatch(p.name))
        wanted = [p for p in found if _selected(p, tasks, qualities) and (domain is None or _domain(p) in (domain, None))]
        files = wanted[:limit]
        if not files:
            raise DataError(
                f"{path}: none of {len(found)} episode files is left by tasks={list(tasks)}, qualities={list(qualities)}, "
                f"domain={domain}; expected folders <domain>/<quality>/<task>"
            )
        spec = _spec(files[0])

        def episodes() -> Iterator[Episode]:
            return (read_episode(p, spec) for p in files)

        options = {"tasks": list(tasks), "qualities": list(qualities), "limit": limit, "domain": domain}
        made_by = provenance(self.format, path, **options)
        return Imported(spec, episodes, len(files), path.stem if path.is_file() else path.name, "unknown", made_by)


def read_episode(path: Path, spec: TrajectorySpec) -> Episode:
    """One file as an episode of ``spec``; raises DataError where it does not fit."""
    arrays = load_npz(path, _REQUIRED, ("physics",))
    index, length = (int(n) for n in _FILE.fullmatch(path.name).groups())  # type: ignore[union-attr]
    keys = {"observation": "state", "action": "action", "reward": "reward", "physics": "physics"}
    for key, name in keys.items():
        if name in spec and key not in arrays:
            raise DataError(f"{path}: missing key '{key}', which the first episode has; import the two kinds apart")
        if name in spec:
            check_layout(path, key, arrays[key], (None, *spec[name].shape))
    check_layout(path, "discount", arrays["discount"], (None, 1))
    if len(arrays["observation"]) != length + 1:
        raise DataError(
            f"{path}: key 'observation': expected {length + 1} rows, from the file name; found {len(arrays['observation'])}"
        )
    same_rows(path, arrays, length + 1, "observation")
    values, final = {}, {}
    for key, name in keys.items():
        if name not in spec:
            continue
        rows = finite(path, key, arrays[key], spec[name].dtype)
        if spec[name].role in ("state", "simulator"):
            values[name], final[name] = rows[:-1], rows[-1]
        else:
            values[name] = rows[1:]
    quality, task = _labels(path)
    meta: dict[str, Any] = {"file": path.name, "index": index, "quality": quality, "task": task}
    return Episode(values, final, bool(arrays["discount"][-1, 0] == 0), {k: v for k, v in meta.items() if v is not None})


def write_maskdp(path: str | Path, episodes: Iterable[Episode], *, first_index: int = 0) -> list[Path]:
    """Writes episodes with factors ``state``, ``action``, ``reward`` (and ``physics``) in the published format.

    Files are ``<path>/episode_<index:06d>_<length>.npz``, each written whole or not at all. Row 0 of action and reward
    is zero, discounts are 1 but for the last row of a terminated episode. Returns the files.
    Raises DataError where a factor or the final state is missing, which the format cannot leave out.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index, episode in enumerate(episodes, start=first_index):
        target = folder / f"episode_{index:06d}_{len(episode)}.npz"
        temporary = target.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **_rows(episode, index))
        os.replace(temporary, target)
        written.append(target)
    return written


def write_tree(root: str | Path, episodes: Iterable[Episode], domain: str, task: str, quality: str | None = None) -> list[Path]:
    """Writes episodes as a tree of the release: ``<root>/<domain>/<quality>/<task>/episode_*.npz``, ``unsup`` without a task.

    An episode's own ``meta`` (``quality``, ``task``) goes before the arguments; ``expert`` where neither says. Indices of a
    folder go on behind the files that it holds. Returns the files. Raises DataError for a quality that the release does not
    have, and as ``write_maskdp`` does.
    """
    written, next_index = [], {}
    for episode in episodes:
        kind = episode.meta.get("quality") if episode.meta.get("quality") in QUALITIES else quality or "expert"
        if kind not in QUALITIES:
            raise DataError(f"no data quality is called '{kind}'. {did_you_mean(str(kind), QUALITIES)}")
        name = str(episode.meta.get("task") or task)
        name = name if name.startswith(f"{domain}_") else f"{domain}_{name}"
        folder = Path(root) / domain / kind / ("" if kind == "unsup" else name)
        if folder not in next_index:
            found = [int(m[1]) for p in folder.glob("episode_*.npz") if (m := _FILE.fullmatch(p.name))]
            next_index[folder] = max(found, default=-1) + 1
        written += write_maskdp(folder, [episode], first_index=next_index[folder])
        next_index[folder] += 1
    return written


def _rows(episode: Episode, index: int) -> dict[str, np.ndarray]:
    values, final, n = episode.values, episode.final, len(episode)
    missing = [name for name in ("state", "action", "reward") if name not in values]
    if missing:
        raise DataError(f"episode {index}: the MaskDP format needs the factor '{missing[0]}'; found {sorted(values)}")
    if "state" not in final:
        raise DataError(f"episode {index}: the MaskDP format needs the state after the last action; it is unknown")
    discount = np.ones((n + 1, 1), np.float32)
    discount[-1] = 0.0 if episode.terminated else 1.0
    rows = {
        "observation": np.concatenate([values["state"], final["state"][None]]).astype(np.float32),
        "action": _after_dummy(values["action"]),
        "reward": _after_dummy(np.reshape(values["reward"], (n, 1))),
        "discount": discount,
    }
    if "physics" in values and "physics" in final:
        rows["physics"] = np.concatenate([values["physics"], final["physics"][None]]).astype(np.float64)
    return rows


def _after_dummy(array: np.ndarray) -> np.ndarray:
    """Rows shifted down by one, behind a row of zeros."""
    return np.concatenate([np.zeros_like(array[:1]), array]).astype(np.float32)


def _spec(path: Path) -> TrajectorySpec:
    arrays = load_npz(path, _REQUIRED, ("physics",))
    for key in arrays:
        check_layout(path, key, arrays[key], (None, None) if key not in ("reward", "discount") else (None, 1))
    size = arrays["observation"].shape[1]
    parts, start = [], 0
    for name, width in _PARTS.get(size, ()):
        parts.append((name, start, start + width))
        start += width
    factors = [
        Factor("state", "continuous", "state", (size,), parts=tuple(parts)),
        Factor("action", "continuous", "action", arrays["action"].shape[1:]),
        Factor("reward", "continuous", "reward", (1,)),
    ]
    if "physics" in arrays:
        factors.append(Factor("physics", "continuous", "simulator", arrays["physics"].shape[1:]))
    return TrajectorySpec(tuple(factors))


def _labels(path: Path) -> tuple[str | None, str | None]:
    """Quality and task of an episode file, read from the folder names nearest to it."""
    folders = path.absolute().parts[:-1]
    at = max((i for i, name in enumerate(folders) if name in QUALITIES), default=None)
    if at is None:
        return None, None
    task = _task(folders[at + 1]) if folders[at] != "unsup" and at + 1 < len(folders) else None
    return folders[at], task


def _domain(path: Path) -> str | None:
    """The body that an episode was recorded with, by the nearest folder that is called after one or one of its tasks."""
    for name in reversed(path.absolute().parts[:-1]):
        found = next((d for d in _DOMAINS if name == d or name.startswith(f"{d}_")), None)
        if found is not None:
            return found
    return None


def _task(name: str) -> str:
    """The environment's name of a task; the release's own page spells one of them with a plural."""
    return "cheetah_run_backward" if name == "cheetah_run_backwards" else name


def _selected(path: Path, tasks: Sequence[str], qualities: Sequence[str]) -> bool:
    quality, _ = _labels(path)
    if qualities and quality not in qualities:
        return False
    if not tasks or (quality == "unsup" and qualities):
        return True
    return bool({_task(t) for t in tasks} & {_task(p) for p in path.absolute().parts[:-1]})
