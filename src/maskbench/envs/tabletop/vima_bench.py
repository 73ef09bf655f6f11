"""The real VIMA-Bench behind the interface of ``TabletopEnv``, where it is installed (VIMA specification 4.7).

Two interfaces exist: the published one (gym 0.21: ``reset`` gives the observation, ``step`` four values) and that of CoGeLoT's
fork (``reset`` gives nothing, the first observation is that of ``step(None)``, ``step`` gives five).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from maskbench.envs.tabletop.actions import HIGHEST, LOWEST, PARTS
from maskbench.envs.tabletop.partitions import check_partition
from maskbench.envs.tabletop.picture import Frame
from maskbench.envs.tabletop.tabletop_env import BONUS_STEPS, ObjectOrder, arranged, picture_space
from maskbench.envs.tabletop.tasks import TASKS, find_task
from maskbench.envs.tabletop.trial import Pick
from maskbench.errors import EnvError
from maskbench.prompt import Prompt, PromptImage, PromptObject

#: Seeds that are tried where the benchmark's rejection sampling fails.
_RETRIES = 300


class VimaBenchEnv(gymnasium.Env[Any, Any]):
    """One episode after the other of one task; observations, actions and ``info`` as ``TabletopEnv`` has them. ``info["seed"]``
    is the seed that was used: one whose scene cannot be drawn is followed by the next. It has no scripted oracle.

    Raises EnvError where ``vima_bench`` is not installed, and for a cell that it does not hold.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(
        self,
        task: str = "visual_manipulation",
        partition: str = "train",
        difficulty: str = "easy",
        *,
        order: ObjectOrder = "shuffle",
        hide_arm: bool = True,
        stop_on_failure: bool = True,
    ) -> None:
        check_partition(partition)
        self.task = find_task(task)
        bench = _vima_bench()
        self._env = bench.make(
            task_name=self.task.name,
            task_kwargs=_specification(bench, partition, self.task.name),
            modalities=["rgb", "segm"],
            seed=0,
            hide_arm_rgb=hide_arm,
        )
        self._difficulty, self._order, self._stop = difficulty, order, stop_on_failure
        self._prepared: Any = None
        self.observation_space = picture_space()
        self.action_space = gymnasium.spaces.Box(LOWEST, HIGHEST)
        self.render_mode = "rgb_array"
        self._limit = self.task.oracle_max_steps + BONUS_STEPS
        self._steps = -1
        self._about: dict[str, Any] = {}
        self._seen: dict[str, Any] = {}
        self.objects: tuple[PromptObject, ...] = ()
        self.prompt = Prompt("")

    @property
    def frame(self) -> Frame:
        """What the cameras see now."""
        return Frame(self._seen["rgb"], self._seen["segm"])

    @property
    def ee(self) -> int:
        """0 suction, 1 spatula."""
        return int(self._seen["ee"])

    def expert(self, rng: np.random.Generator, pick: Pick = "centroid") -> np.ndarray | None:
        """Raises EnvError: the benchmark's oracle sees more than this interface shows."""
        raise EnvError("env.backend=vima_bench has no scripted oracle: make the demonstrations with env.backend=kinematic")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        asked = find_task((options or {}).get("task", self.task.name)).name
        if asked != self.task.name:
            raise EnvError(f"vima_bench was made for task={self.task.name}; it cannot play task={asked}")
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        for used in range(seed, seed + _RETRIES):
            self._env.seed(used)  # before the reset, which draws from it
            self._prepare()
            try:
                observation = self._env.reset()
            except ValueError:  # its rejection sampling found no room
                continue
            break
        else:
            raise EnvError(f"task={self.task.name} of vima_bench draws no scene from seeds {seed} to {seed + _RETRIES - 1}")
        if observation is None:
            observation = self._env.step(None)[0]
        self._steps = 0
        seen = self._observed(observation)
        bodies = self._env.meta_info["obj_id_to_info"].items()
        objects = [PromptObject(int(i), str(o["obj_name"]), str(o["texture_name"])) for i, o in bodies]
        self.objects = arranged(objects, self.frame, self._order, np.random.default_rng(used))
        self.prompt = prompt_of_assets(self._env.prompt, self._env.prompt_assets)
        self._about = {"prompt": self.prompt, "objects": self.objects, "seed": used}
        return seen, {**self._about, "success": False, "events": ()}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        if self._steps < 0:
            raise EnvError("'vima_bench' must be reset before its first step")
        answer = self._env.step(pose_dictionary(action))
        observation, info = answer[0], answer[-1]
        self._steps += 1
        success, failed = bool(info.get("success", False)), bool(info.get("failure", False))
        events = ("success",) * success + ("failure",) * failed
        ended = success or (failed and self._stop)
        truncated = not ended and (self._steps >= self._limit or (len(answer) == 5 and bool(answer[3])))
        about = {**self._about, "success": success, "failed": failed, "events": events}
        return self._observed(observation), float(success), ended, truncated, about

    def render(self) -> np.ndarray:  # type: ignore[override]
        """``(128, 512, 3)`` uint8: both views side by side."""
        return np.concatenate([self._seen["rgb"][v].transpose(1, 2, 0) for v in ("front", "top")], 1)

    def close(self) -> None:
        self._env.close()

    def _prepare(self) -> None:
        """Sets the difficulty once per task object: the benchmark adds up what it is told twice."""
        task = self._env.task
        if task is not self._prepared:
            task.set_difficulty(self._difficulty)
            self._prepared = task

    def _observed(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        views = {k: {v: np.asarray(observation[k][v], np.uint8) for v in ("front", "top")} for k in ("rgb", "segm")}
        self._seen = {**views, "ee": int(observation["ee"])}
        return self._seen


def pose_dictionary(action: np.ndarray) -> dict[str, np.ndarray]:
    """``(12,)`` as the benchmark's four float32 arrays; positions inside of the bounds, quaternions of unit length."""
    flat = np.asarray(action, np.float64)
    if flat.shape != LOWEST.shape or not np.isfinite(flat).all():
        raise EnvError(f"'vima_bench' takes {len(LOWEST)} finite numbers; found {action!r}")
    parts = {}
    for name, first, last in PARTS:
        value = np.clip(flat[first:last], LOWEST[first:last], HIGHEST[first:last])
        if name.endswith("rotation"):
            length = np.linalg.norm(value)
            value = value / length if length > 1e-6 else np.array((0.0, 0.0, 0.0, 1.0))
        parts[name] = value.astype(np.float32)
    return parts


def prompt_of_assets(text: str, assets: Mapping[str, Any]) -> Prompt:
    """The benchmark's ``prompt`` and ``prompt_assets`` as a ``Prompt``."""
    images = {}
    for name, asset in assets.items():
        segm = dict(asset["segm"])
        listed = segm.pop("obj_info")
        listed = [listed] if isinstance(listed, Mapping) else listed
        objects = tuple(PromptObject(int(o["obj_id"]), str(o["obj_name"]), str(o["obj_color"])) for o in listed)
        rgb = {v: np.asarray(p, np.uint8) for v, p in asset["rgb"].items()}
        images[name] = PromptImage(
            asset["placeholder_type"], rgb, {v: np.asarray(s, np.uint8) for v, s in segm.items()}, objects
        )
    return Prompt(text, images)


def _vima_bench() -> ModuleType:
    try:
        return importlib.import_module("vima_bench")
    except ImportError as error:
        raise EnvError(
            "env.backend=vima_bench needs the original benchmark, which is not installed: follow "
            "https://github.com/vimalabs/VIMABench (gym 0.21, PyBullet). env.backend=kinematic plays the same tasks without it"
        ) from error


def _specification(bench: ModuleType, partition: str, task: str) -> Mapping[str, Any] | None:
    """What the benchmark's own table says of a cell. Training is a level of it, tests lie one level deeper."""
    table = bench.PARTITION_TO_SPECS
    cells = table["train"] if partition == "train" else table["test"][partition]
    if task not in cells:
        raise EnvError(
            f"partition={partition} of vima_bench does not hold task={task}; it holds {sorted(set(cells) & set(TASKS))}"
        )
    found: Mapping[str, Any] | None = cells[task]
    return found
