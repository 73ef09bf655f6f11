"""Trajectories of VIMA-Bench as released (VIMA spec 1.9): pictures as JPEG, the rest as pickles of dictionaries.

<root>/<task>/<000000>/rgb_front/{0..T}.jpg, rgb_top/{0..T}.jpg   256 x 128 pictures
                      /obs.pkl         segm: front, top (T+1, 128, 256) uint8; ee (T+1,)
                      /action.pkl      pose0_position, pose0_rotation, pose1_position, pose1_rotation
                      /trajectory.pkl  prompt, prompt_assets, obj_id_to_info, seed, steps, success ...
Pickles are read through an allow-list: objects of the simulator and of omegaconf become inert stubs.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import imageio.v3 as imageio
import numpy as np

from maskbench.data.importers.base import Imported, provenance
from maskbench.data.importers.reading import positive
from maskbench.data.unpickle import Stub, read_pickle
from maskbench.errors import DataError, did_you_mean
from maskbench.objects import OBJECT_BYTES, VIEWS, Order, observation_cells, permuted, slot_order, small_pictures
from maskbench.prompt import Prompt, PromptedEpisode, PromptImage, PromptObject
from maskbench.trajectory import Episode, Factor, TrajectorySpec

#: What a state of an episode is.
Observe = Literal["views", "objects", "pictures"]
PICTURE = (128, 256)
#: Parts of an action, in the order in which they are joined.
POSES = ("pose0_position", "pose0_rotation", "pose1_position", "pose1_rotation")
#: Workspace in metres: x, y, z.
BOUNDS = np.array([[0.25, -0.5, 0.0], [0.75, 0.5, 0.32]], np.float32)
#: Effectors by number.
EFFECTORS = ("suction", "spatula")
#: Names of older releases.
LEGACY_TASKS = {
    "same_color": "same_texture",
    "same_profile": "same_shape",
    "sweep": "sweep_without_exceeding",
    "simple_manipulation": "visual_manipulation",
}
#: Packages whose objects lie in the pickles.
_STUBS = ("vimasim", "vima_bench", "omegaconf")
_NAMES = ("typing.Any",)


def action_factor(z: bool = False) -> Factor:
    """The two poses of an action joined, metres and quaternions (x, y, z, w): 12 numbers, or 14 with the heights that the
    released data hold and today's benchmark ignores."""
    widths = (2 + z, 4, 2 + z, 4)
    stops = np.cumsum(widths).tolist()
    parts = tuple((n, stop - w, stop) for n, w, stop in zip(POSES, widths, stops, strict=True))
    return Factor("action", "continuous", "action", (stops[-1],), parts=parts)


def picture_spec(z: bool = False) -> TrajectorySpec:
    """Factors of a trajectory: pictures and object ids of both views, the effector, the action."""
    pictures = [Factor(f"rgb_{v}", "image", "state", (3, *PICTURE)) for v in VIEWS]
    ids = [Factor(f"segm_{v}", "image", "state", PICTURE) for v in VIEWS]
    effector = Factor("ee", "discrete", "state", (), len(EFFECTORS))
    return TrajectorySpec((*pictures, *ids, effector, action_factor(z)))


def cut_spec(observe: Observe, slots: int, z: bool = False) -> TrajectorySpec:
    """Factors of a trajectory whose pictures are cut into objects, or halved."""
    if observe == "objects":
        seen = Factor("objects", "objects", "state", (len(VIEWS), slots, OBJECT_BYTES))
    else:
        seen = Factor("pictures", "image", "state", (len(VIEWS), 3, PICTURE[0] // 2, PICTURE[1] // 2))
    return TrajectorySpec((seen, Factor("ee", "discrete", "state", (), len(EFFECTORS)), action_factor(z)))


@dataclass(frozen=True)
class VimaTrajectory:
    """One recorded episode of ``T`` actions.

    rgb:     per view ``(T + 1, 3, 128, 256)`` uint8; segm: per view ``(T + 1, 128, 256)`` uint8; effector: ``(T + 1,)`` int64.
    actions: ``(T, 12)`` float32, or ``(T, 14)`` with heights (``action_factor``).
    objects: body id -> name and texture, in spawn order.
    meta:    task, seed, difficulty, steps, success, failure, end_effector_type: plain values.
    """

    prompt: Prompt
    rgb: Mapping[str, np.ndarray]
    segm: Mapping[str, np.ndarray]
    effector: np.ndarray
    actions: np.ndarray
    objects: tuple[PromptObject, ...]
    meta: Mapping[str, Any]

    def episode(self) -> PromptedEpisode:
        """Pictures, effector and action of each step, the pictures after the last one, and the prompt."""
        return self._episode({f"rgb_{v}": self.rgb[v] for v in VIEWS} | {f"segm_{v}": self.segm[v] for v in VIEWS})

    def cut(self, observe: Observe, slots: int, order: Order, number: int) -> PromptedEpisode:
        """The same with pictures cut as ``VimaImporter.read`` says."""
        if observe == "pictures":
            return self._episode({"pictures": small_pictures(self.rgb)})
        if len(self.objects) > slots:
            raise DataError(f"a scene of '{self.meta['task']}' has {len(self.objects)} objects; slots={slots} is too few")
        cells = observation_cells(self.rgb, self.segm, self.effector, slots)
        arranged = slot_order(cells[0], order, np.random.default_rng(number))
        return self._episode({"objects": permuted(cells, arranged)})

    def _episode(self, pictures: Mapping[str, np.ndarray]) -> PromptedEpisode:
        states = {**pictures, "ee": self.effector}
        values = {name: value[:-1] for name, value in states.items()} | {"action": self.actions}
        final = {name: value[-1] for name, value in states.items()}
        return PromptedEpisode(values, final, bool(self.meta["success"]), self.meta, self.prompt)


class VimaImporter:
    """Reads released trajectories, and those that today's benchmark writes."""

    format: ClassVar[str] = "vima"
    expects: ClassVar[str] = "a folder <task>/<000000>/ with obs.pkl, action.pkl, trajectory.pkl, rgb_front and rgb_top"

    def recognises(self, path: Path) -> bool:
        return next(_folders(path), None) is not None

    def read(
        self,
        path: Path,
        *,
        tasks: Sequence[str] | None = None,
        z: bool = False,
        limit: int | None = None,
        observe: Observe = "views",
        slots: int = 16,
        order: Order = "shuffle",
    ) -> Imported:
        """Opens ``path``: a trajectory, a task or the folder of all tasks. One trajectory is in memory at a time.

        tasks:   names of those to read. z: keep heights. limit: at most so many trajectories a task.
        observe: what a state is: ``views`` as recorded, ``objects`` cut into ``slots`` objects in this ``order`` (episode ``i``
                 draws it from ``i``), ``pictures`` at half size.
        Episodes come with their prompts. Raises DataError for unknown tasks, empty folders, and scenes of more objects.
        """
        folders = chosen_folders(Path(path), tasks, limit)
        spec = picture_spec(z) if observe == "views" else cut_spec(observe, slots, z)

        def episodes() -> Iterator[Episode]:
            for i, folder in enumerate(folders):
                recorded = read_trajectory(folder, z)
                yield recorded.episode() if observe == "views" else recorded.cut(observe, slots, order, i)

        cut = {} if observe == "views" else {"observe": observe, "slots": slots, "order": order}
        made_by = provenance(self.format, Path(path), tasks=tuple(tasks or ()), z=z or None, limit=limit, **cut)
        return Imported(spec, episodes, len(folders), "vima", "CC BY 4.0", made_by, "published")


def trajectories(
    path: str | Path, tasks: Sequence[str] | None = None, *, z: bool = False, limit: int | None = None
) -> Iterator[VimaTrajectory]:
    """Recorded episodes with their prompts, one in memory at a time."""
    return (read_trajectory(f, z) for f in chosen_folders(Path(path), tasks, limit))


def chosen_folders(path: Path, tasks: Sequence[str] | None = None, limit: int | None = None) -> list[Path]:
    """Folders of the trajectories at ``path``, task after task in alphabetical order."""
    positive("limit", limit)
    by_task: dict[str, list[Path]] = {}
    for folder in _folders(path):
        by_task.setdefault(task_of(folder), []).append(folder)
    if not by_task:
        raise DataError(f"{path}: expected {VimaImporter.expects}")
    unknown = [t for t in tasks or () if t not in by_task]
    if unknown:
        raise DataError(f"{path} has no task '{unknown[0]}'. {did_you_mean(unknown[0], by_task)}")
    return [f for task in (tasks or by_task) for f in by_task[task][:limit]]


def _folders(path: Path) -> Iterator[Path]:
    for pattern in ("", "*/", "*/*/"):
        found = sorted(p.parent for p in path.glob(f"{pattern}trajectory.pkl"))
        if found:
            yield from found
            return


def task_of(folder: Path) -> str:
    """Today's name of the task that a trajectory's folder lies in."""
    return LEGACY_TASKS.get(folder.parent.name, folder.parent.name)


def read_trajectory(folder: Path, z: bool = False) -> VimaTrajectory:
    """One trajectory. Raises DataError naming file, found and expected for everything that is not as published, and for
    pickles that would build anything else than plain values."""
    about = _mapping(folder / "trajectory.pkl", ("prompt", "prompt_assets", "obj_id_to_info", "end_effector_type"))
    actions = _actions(folder / "action.pkl", z)
    steps = len(actions)
    obs = _mapping(folder / "obs.pkl", ("segm", "ee"))
    segm = {v: _array(folder / "obs.pkl", f"segm {v}", obs["segm"].get(v), (steps + 1, *PICTURE), np.uint8) for v in VIEWS}
    effector = _array(folder / "obs.pkl", "ee", obs["ee"], (steps + 1,), np.int64)
    rgb = {v: np.stack([_picture(folder / f"rgb_{v}" / f"{t}.jpg") for t in range(steps + 1)]) for v in VIEWS}
    plain = ("seed", "difficulty", "steps", "success", "failure", "end_effector_type", "n_objects")
    meta = {"task": task_of(folder)} | {k: about[k] for k in plain if k in about and not isinstance(about[k], Stub)}
    meta.setdefault("success", True)
    objects = [PromptObject(int(i), str(o["obj_name"]), str(o["texture_name"])) for i, o in about["obj_id_to_info"].items()]
    prompt = Prompt(str(about["prompt"]), {n: _image(folder, n, a) for n, a in about["prompt_assets"].items()})
    return VimaTrajectory(prompt, rgb, segm, effector, actions, tuple(objects), meta)


def _mapping(path: Path, keys: Sequence[str]) -> Mapping[str, Any]:
    value = read_pickle(path, stubs=_STUBS, names=_NAMES)
    missing = [k for k in keys if not isinstance(value, Mapping) or k not in value]
    if missing:
        raise DataError(f"{path}: expected a dictionary with {', '.join(keys)}; it lacks {', '.join(missing)}")
    return dict(value)


def _array(path: Path, key: str, value: Any, shape: tuple[int | None, ...], dtype: Any) -> np.ndarray:
    array = np.asarray(value)
    fits = array.ndim == len(shape) and all(w in (None, n) for n, w in zip(array.shape, shape, strict=True))
    if not fits or not np.can_cast(array.dtype, dtype, "same_kind"):
        raise DataError(f"{path}: '{key}' must be {np.dtype(dtype)} {shape}; found {array.dtype} {array.shape}")
    return array.astype(dtype)


def _actions(path: Path, z: bool) -> np.ndarray:
    """``(T, 12 or 14)`` float32; without heights where they are not wanted."""
    found = _mapping(path, POSES)
    steps = len(np.asarray(found[POSES[0]]))
    columns = []
    for name in POSES:
        rotation = name.endswith("rotation")
        value = _array(path, name, found[name], (steps, 4 if rotation else None), np.float32)
        if not rotation:
            if value.shape[1] not in (2, 3) or (z and value.shape[1] == 2):
                expected = "3 columns (x, y, z)" if z else "2 or 3 columns"
                raise DataError(f"{path}: '{name}' must have {expected}; found {value.shape[1]}")
            value = value[:, : 2 + z]
        columns.append(value)
    return np.concatenate(columns, 1)


def _picture(path: Path) -> np.ndarray:
    """``(3, 128, 256)`` uint8."""
    if not path.is_file():
        raise DataError(f"{path}: the picture does not exist; every observation has one")
    picture = np.asarray(imageio.imread(path))
    if picture.shape != (*PICTURE, 3) or picture.dtype != np.uint8:
        raise DataError(f"{path}: expected a picture (128, 256, 3) of bytes; found {picture.dtype} {picture.shape}")
    return picture.transpose(2, 0, 1)


def _image(folder: Path, name: str, asset: Mapping[str, Any]) -> PromptImage:
    path = folder / "trajectory.pkl"
    kind = asset["placeholder_type"]
    if kind not in ("object", "scene"):
        raise DataError(f"{path}: placeholder '{name}' must show an object or a scene; found '{kind}'")
    listed = asset["segm"]["obj_info"]
    listed = [listed] if isinstance(listed, Mapping) else listed
    objects = tuple(PromptObject(int(o["obj_id"]), str(o["obj_name"]), str(o["obj_color"])) for o in listed)
    rgb = {v: _array(path, f"{name} rgb {v}", asset["rgb"].get(v), (3, *PICTURE), np.uint8) for v in VIEWS}
    segm = {v: _array(path, f"{name} segm {v}", asset["segm"].get(v), PICTURE, np.uint8) for v in VIEWS}
    return PromptImage(kind, rgb, segm, objects)


def write_trajectories(root: str | Path, recorded: Iterable[VimaTrajectory], quality: int = 95) -> int:
    """Writes episodes in the released layout, as plain dictionaries that any reader opens; returns how many.

    Positions get the columns that ``actions`` have (today's benchmark: 2). ``metadata.pkl`` of a task sums it up. Raises
    DataError where a trajectory's folder exists.
    """
    steps: dict[str, list[int]] = {}
    seeds: dict[str, list[int]] = {}
    for item in recorded:
        task = str(item.meta["task"])
        done = steps.setdefault(task, [])
        _write(Path(root) / task / f"{len(done):06d}", item, quality)
        done.append(len(item.actions))
        seeds.setdefault(task, []).append(int(item.meta.get("seed", 0)))
    for task, counts in steps.items():
        about = {"n_steps_min": min(counts), "n_steps_max": max(counts), "n_steps_mean": float(np.mean(counts))}
        _dump(Path(root) / task / "metadata.pkl", about | {"seed_min": min(seeds[task]), "seed_max": max(seeds[task])})
    return sum(map(len, steps.values()))


def _write(folder: Path, item: VimaTrajectory, quality: int) -> None:
    if folder.exists():
        raise DataError(f"{folder} already exists. Delete it or choose another folder.")
    for view in VIEWS:
        (folder / f"rgb_{view}").mkdir(parents=True)
        for t, picture in enumerate(item.rgb[view]):
            imageio.imwrite(folder / f"rgb_{view}" / f"{t}.jpg", picture.transpose(1, 2, 0), quality=quality)
    _dump(folder / "obs.pkl", {"segm": {v: item.segm[v] for v in VIEWS}, "ee": item.effector})
    factor = action_factor(item.actions.shape[1] == 14)
    _dump(folder / "action.pkl", {name: item.actions[:, a:b] for name, a, b in factor.parts})
    plain = {k: v for k, v in item.meta.items() if k != "task"}
    info = {o.id: {"obj_name": o.name, "texture_name": o.texture} for o in item.objects}
    effector = EFFECTORS[int(item.effector[0])]
    bounds = dict(zip(("low", "high"), BOUNDS, strict=True))
    content = {
        "end_effector_type": effector,
        "n_objects": len(item.objects),
        "views": list(VIEWS),
        "action_bounds": bounds,
        **plain,
        "obj_id_to_info": info,
        "prompt": item.prompt.text,
        "prompt_assets": {name: _asset(image) for name, image in item.prompt.images.items()},
        "steps": len(item.actions),
    }
    _dump(folder / "trajectory.pkl", content)


def _asset(image: PromptImage) -> dict[str, Any]:
    listed = [{"obj_id": o.id, "obj_name": o.name, "obj_color": o.texture} for o in image.objects]
    shown = {v: np.asarray(image.segm[v]) for v in VIEWS} | {"obj_info": listed[0] if image.kind == "object" else listed}
    return {"rgb": {v: np.asarray(image.rgb[v]) for v in VIEWS}, "segm": shown, "placeholder_type": image.kind}


def _dump(path: Path, value: Any) -> None:
    path.write_bytes(pickle.dumps(value, protocol=4))
