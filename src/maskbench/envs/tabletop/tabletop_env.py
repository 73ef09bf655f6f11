"""The benchmark's own interface: pictures in, poses out, an instruction of text and pictures per episode."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np

from maskbench.envs.tabletop import kinematics
from maskbench.envs.tabletop.actions import HIGHEST, LOWEST, decode, encode
from maskbench.envs.tabletop.layout import Layout, NoRoomError
from maskbench.envs.tabletop.partitions import pools, settings
from maskbench.envs.tabletop.picture import HEIGHT, VIEWS, WIDTH, Frame, photograph
from maskbench.envs.tabletop.tasks import find_task
from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.trial import Pick, Primitives, Trial
from maskbench.errors import EnvError
from maskbench.prompt import Prompt, PromptObject

ObjectOrder = Literal["shuffle", "spawn", "spatial"]

#: Scenes that are drawn for one seed before its task is blamed.
_DRAWS = 300
#: Actions that evaluations grant beyond the oracle's limit.
BONUS_STEPS = 2


class TabletopEnv(gymnasium.Env[Any, Any]):
    """One table. ``reset(seed=..., options=...)`` draws an episode from the seed and from the task, partition and difficulty,
    which ``options`` may name.

    Observation: ``rgb`` and ``segm`` hold per view (``front``, ``top``) ``(3, 128, 256)`` and ``(128, 256)`` uint8; ``ee`` is 0
    for suction, 1 for the spatula. ``segm`` holds body ids: 0 ground, 1 mat, then those of ``info["objects"]``.
    Actions: ``(12,)``, metres and quaternions (``actions.PARTS``). ``info["prompt"]`` is the ``Prompt``; ``info["objects"]``
    what is on the table, in slot order; ``info["events"]`` holds ``success``, ``strict_success`` (within
    ``info["minimum_steps"]``) and ``failure`` when they happen.

    order:  of slots: ``shuffle`` draws it per episode, ``spawn`` is that of the original (base, dragged, distractors), which
            tells a model what to move without any instruction, ``spatial`` goes from left to right.
    stop_on_failure: whether a spoilt episode ends, as in the benchmark; CoGeLoT goes on, but nothing makes good what is spoilt.
    rest:    actions that an episode goes on after its success.
    horizon: actions per episode; None grants the oracle's limit, two more, and ``rest``.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(
        self,
        task: str = "visual_manipulation",
        partition: str = "train",
        difficulty: str = "easy",
        *,
        order: ObjectOrder = "shuffle",
        primitives: Primitives = kinematics.KINEMATIC,
        stop_on_failure: bool = True,
        rest: int = 0,
        horizon: int | None = None,
        overrides: dict[str, Any] | None = None,
    ) -> None:
        self.observation_space = picture_space()
        self.action_space = gymnasium.spaces.Box(LOWEST, HIGHEST)
        self.render_mode = "rgb_array"
        self._choice = {"task": task, "partition": partition, "difficulty": difficulty}
        self._order, self._primitives = order, primitives
        self._stop, self._rest, self._horizon, self._overrides = stop_on_failure, rest, horizon, overrides or {}
        self._trial: Trial | None = None
        self._steps = self._limit = self._rested = self._minimum = 0
        self._objects: tuple[PromptObject, ...] = ()
        self._frame: Frame | None = None

    @property
    def trial(self) -> Trial:
        """The running episode; raises EnvError before the first reset."""
        if self._trial is None:
            raise EnvError("'tabletop' must be reset before its first step")
        return self._trial

    @property
    def prompt(self) -> Prompt:
        """What the running episode asks for."""
        return self.trial.prompt

    @property
    def objects(self) -> tuple[PromptObject, ...]:
        """What is on the table, in slot order."""
        return self._objects

    @property
    def frame(self) -> Frame:
        """What the cameras see now."""
        if self._frame is None:
            self._frame = photograph(self.trial.scene)
        return self._frame

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        choice = {**self._choice, **{k: v for k, v in (options or {}).items() if k in self._choice}}
        task, self._trial, rng = draw_trial(seed, **choice, overrides=self._overrides)
        self._steps, self._limit, self._rested = 0, self._horizon or task.oracle_max_steps + BONUS_STEPS + self._rest, 0
        self._frame, self._minimum = None, self._trial.minimum
        self._objects = arranged([b.described for b in self._trial.scene], self.frame, self._order, rng)
        return self._observe(), {**choice, **self._about(), "minimum_steps": self._minimum, "events": ()}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        trial = self.trial
        won, lost, before = trial.success, trial.failed, list(trial.scene)
        trial.act(decode(action), self._primitives)
        self._steps += 1
        if any(now is not then for now, then in zip(trial.scene, before, strict=True)):
            self._frame = None
        now = trial.success > won
        events = ("success",) * now + ("strict_success",) * (now and self._steps <= self._minimum)
        events += ("failure",) * (trial.failed > lost)
        self._rested += won
        ended = (trial.success and self._rested >= self._rest) or (trial.failed and self._stop)
        truncated = self._steps >= self._limit and not ended
        return self._observe(), float(now), ended, truncated, {**self._about(), "events": events, "failed": trial.failed}

    def expert(self, rng: np.random.Generator, pick: Pick = "centroid") -> np.ndarray | None:
        """The scripted oracle's next action ``(12,)`` float32, or None where it gives up."""
        action = self.trial.expert(rng, pick)
        return None if action is None else encode(action)

    def render(self) -> np.ndarray:  # type: ignore[override]
        """``(128, 512, 3)`` uint8: both views side by side."""
        return np.concatenate([self.frame.rgb[v].transpose(1, 2, 0) for v in VIEWS], 1)

    def _observe(self) -> dict[str, Any]:
        return {"rgb": dict(self.frame.rgb), "segm": dict(self.frame.segm), "ee": self.ee}

    @property
    def ee(self) -> int:
        """0 suction, 1 spatula."""
        return int(self.trial.scene.ee == "spatula")

    def _about(self) -> dict[str, Any]:
        return {"prompt": self.trial.prompt, "objects": self._objects, "success": self.trial.success}


def draw_trial(
    seed: int, task: str, partition: str, difficulty: str, overrides: dict[str, Any] | None = None
) -> tuple[Task, Trial, np.random.Generator]:
    """The episode that a seed begins, its task, and the generator that drew it. Raises EnvError where no draw works out."""
    known = find_task(task)
    fitting = {k: v for k, v in (overrides or {}).items() if hasattr(known, k)}
    known = find_task(task, {**settings(known.name, difficulty), **fitting})
    names = pools(partition, known.name, known.open_textures)
    rng = np.random.default_rng([seed, zlib.crc32(f"{known.name}/{partition}/{difficulty}".encode())])
    for _ in range(_DRAWS):
        layout = Layout(rng, names, known.ee)
        try:
            trial = known.build(layout)
        except NoRoomError:
            continue
        if trial.sound():
            return known, trial, rng
    where = f"task={known.name} partition={partition} difficulty={difficulty}"
    raise EnvError(f"no scene of {where} in {_DRAWS} draws of seed {seed}")


def picture_space() -> gymnasium.spaces.Dict:
    """Of the benchmark's observations."""
    pictures = {"rgb": _per_view((3, HEIGHT, WIDTH)), "segm": _per_view((HEIGHT, WIDTH))}
    return gymnasium.spaces.Dict({**pictures, "ee": gymnasium.spaces.Discrete(2)})


def _per_view(shape: tuple[int, ...]) -> gymnasium.spaces.Dict:
    return gymnasium.spaces.Dict({v: gymnasium.spaces.Box(0, 255, shape, np.uint8) for v in VIEWS})


def arranged(
    objects: Sequence[PromptObject], frame: Frame, order: ObjectOrder, rng: np.random.Generator
) -> tuple[PromptObject, ...]:
    """``objects``, given in spawn order, in the order of their slots; from left to right as seen from above where spatial."""
    if order == "shuffle":
        return tuple(objects[i] for i in rng.permutation(len(objects)))
    if order == "spatial":
        columns = np.arange(WIDTH)
        counts = [(frame.segm["top"] == o.id).sum(0) for o in objects]
        centre = [float(c @ columns / c.sum()) if c.any() else np.inf for c in counts]
        return tuple(objects[i] for i in np.argsort(centre, kind="stable"))
    return tuple(objects)
