"""``env=tabletop``: VIMA-Bench's tasks as an environment of the workbench (VIMA specification 1 and 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, get_args

import gymnasium
import numpy as np

from maskbench.envs.base import Environment, LoopedBatch, numbered
from maskbench.envs.parallel import in_processes
from maskbench.envs.single import observation_space
from maskbench.envs.tabletop.actions import HIGHEST, LOWEST, NOTHING, PARTS, WIDTH
from maskbench.envs.tabletop.features import Observe, observe_factors, state_factors
from maskbench.envs.tabletop.kinematics import KINEMATIC
from maskbench.envs.tabletop.partitions import pools, settings
from maskbench.envs.tabletop.picture import Frame
from maskbench.envs.tabletop.tabletop_env import BONUS_STEPS, ObjectOrder, TabletopEnv
from maskbench.envs.tabletop.tasks import find_task
from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.trial import Pick, Primitives
from maskbench.envs.tabletop.vima_bench import VimaBenchEnv
from maskbench.errors import ConfigError, EnvError, did_you_mean
from maskbench.prompt import Prompt, PromptedEpisode
from maskbench.trajectory import Episode, Factor, TrajectorySpec

Backend = Literal["kinematic", "mujoco", "vima_bench"]
#: Seeds tried for one demonstration.
_ATTEMPTS = 100


class Tabletop(Environment):
    """Instructions of words and pictures, followed by picking, placing and pushing.

    task:       one of the 17 templates, or several: episode seeds take turns (``tasks[seed % n]``).
    partition:  ``train``, or the test level that objects, textures and tasks are held out for.
    difficulty: ``easy``, ``distracting``, ``extreme``, ``extremely_distracting``.
    observe:    what a step's state is (``features.Observe``).
    order:      of object slots (``TabletopEnv``).
    slots:      objects that an observation has room for; None takes what the tasks need.
    backend:    ``kinematic`` moves objects exactly; ``mujoco`` drops and pushes them as rigid bodies; ``vima_bench`` is the
                original benchmark, where it is installed, for rollouts of one task.
    rearrange:  how many objects tasks 4 and 5 move: 1 to 3 as in the ``original`` code, or ``fixed3`` as CoGeLoT has it.
    stop_on_failure: whether a spoilt episode ends, as in the benchmark.
    rest:       actions that an episode goes on after its success. Demonstrations then do nothing, and recordings show what was
                achieved: 1 gives goal and inverse-dynamics masks the state that they need.
    horizon:    actions an episode; None grants the oracle's limit, the most of the tasks, two more, and ``rest``.

    Factors: the state, ``action`` (12,) in metres and quaternions as in released trajectories, ``reward``, 1 on success.
    Episodes of ``generate`` come with their prompts. Raises ConfigError for unknown names and for tasks that a partition does
    not hold.
    """

    queries: ClassVar[tuple[str, ...]] = ("bc", "goal")
    success_events: ClassVar[tuple[str, ...]] = ("success",)
    events = ("success", "strict_success", "failure")

    def __init__(
        self,
        task: str | Sequence[str] = "visual_manipulation",
        partition: str = "train",
        difficulty: str = "easy",
        observe: Observe = "features",
        order: ObjectOrder = "shuffle",
        slots: int | None = None,
        backend: Backend = "kinematic",
        rearrange: Literal["original", "fixed3"] = "original",
        stop_on_failure: bool = True,
        rest: int = 0,
        horizon: int | None = None,
    ) -> None:
        for key, value, valid in (("observe", observe, Observe), ("order", order, ObjectOrder), ("backend", backend, Backend)):
            if value not in get_args(valid):
                raise ConfigError(f"{key}={value} is unknown. {did_you_mean(str(value), get_args(valid))}")
        self.name = "tabletop"
        self.task = task if isinstance(task, str) else tuple(task)
        self.partition, self.difficulty = partition, difficulty
        self.observe: Observe = observe
        self.order: ObjectOrder = order
        self.backend, self.rearrange, self.stop_on_failure = backend, rearrange, stop_on_failure
        self.tasks = tuple(find_task(t).name for t in ((task,) if isinstance(task, str) else task))
        if not self.tasks:
            raise ConfigError("task names at least one task; found none")
        drawn = [find_task(t, settings(t, difficulty)) for t in self.tasks]
        for one in drawn:
            pools(partition, one.name, one.open_textures)
        if backend == "vima_bench" and len(drawn) > 1:
            raise ConfigError(f"backend=vima_bench plays one task at a time; found {', '.join(self.tasks)}")
        needed = max(t.most_objects for t in drawn)
        if slots is not None and slots < needed:
            raise ConfigError(f"slots={slots} are fewer than the objects of these tasks; expected at least {needed}")
        self.slots = slots or needed
        self.rest = rest
        self.horizon = horizon or max(map(_limit, drawn)) + rest
        parts = tuple(PARTS)
        self.spec = TrajectorySpec(
            (
                *state_factors(observe, self.slots),
                Factor("action", "continuous", "action", (WIDTH,), parts=parts),
                Factor("reward", "continuous", "reward", (1,)),
            )
        )

    def make(self) -> FactorEnv:
        """One table; raises MissingExtraError where ``backend=mujoco`` and mujoco is not installed."""
        return FactorEnv(self, self.table())

    def make_batch(self, num_slots: int) -> TabletopBatch:
        return TabletopBatch([self.make() for _ in range(num_slots)])

    def table(self) -> TabletopEnv | VimaBenchEnv:
        """One table with the benchmark's own interface: pictures and poses."""
        if self.backend == "vima_bench":
            return VimaBenchEnv(
                self.tasks[0], self.partition, self.difficulty, order=self.order, stop_on_failure=self.stop_on_failure
            )
        return TabletopEnv(
            self.tasks[0],
            self.partition,
            self.difficulty,
            order=self.order,
            primitives=self._primitives(),
            stop_on_failure=self.stop_on_failure,
            rest=self.rest,
            horizon=self.horizon,
            overrides={"sampler": self.rearrange},
        )

    def import_options(self, format: str) -> Mapping[str, Any]:
        """Released trajectories are cut into what this environment observes; their spawn order is arranged alike."""
        if format != "vima":
            return {}
        if self.observe == "features":
            raise ConfigError("released trajectories hold pictures: choose env.observe=objects or env.observe=pictures")
        return {"observe": self.observe, "slots": self.slots, "order": self.order}

    def task_of(self, env_seed: int) -> str:
        """The task of the episode that a seed begins."""
        return self.tasks[env_seed % len(self.tasks)]

    def goal(self, env_seed: int) -> Mapping[str, np.ndarray] | None:
        """The state in which the scripted oracle leaves this seed's episode. The end effector is not asked for."""
        if self.backend == "vima_bench":
            return None
        env, rng = self.make(), np.random.default_rng(env_seed)
        observation, _ = env.reset(seed=env_seed)
        for _ in range(self.horizon):
            action = env.table.expert(rng)
            if action is None:
                break
            observation, _, _, _, info = env.step(action)
            if info["success"]:
                break
        if "state" in observation:
            observation["state"][-1] = np.nan
        return {name: value for name, value in observation.items() if name != "ee"}

    def generate(  # type: ignore[override]  # named options: a misspelt one is refused
        self, episodes: int | range, seed: int, pick: Pick = "centroid", prompts: bool | None = None, workers: int = 1
    ) -> Iterator[Episode]:
        """Successful demonstrations of the scripted oracle, tasks in turn; ``meta`` names task, seed and instruction.

        pick:    ``centroid`` takes objects at the visible point nearest to their centre, ``random_pixel`` at any visible one,
                 as the published demonstrations do: the same scene then has many right answers.
        prompts: whether episodes carry their instructions; None = unless ``observe=features``.
        workers: processes; episodes do not depend on their number.
        Raises ConfigError for other values, EnvError where no attempt succeeds.
        """
        if pick not in get_args(Pick) or workers < 1:
            raise ConfigError(f"pick must be one of {get_args(Pick)} and workers at least 1; found {pick} and {workers}")
        keep = self.observe != "features" if prompts is None else prompts
        make = partial(self._demonstration, seed, pick, keep)
        if workers == 1:
            env = self.make()
            yield from (make(i, env) for i in numbered(episodes))
            return
        yield from in_processes(make, numbered(episodes), workers)

    def _demonstration(self, seed: int, pick: Pick, keep_prompt: bool, i: int, env: FactorEnv | None = None) -> Episode:
        env, rng = env or self.make(), np.random.default_rng([seed, i])
        for _ in range(_ATTEMPTS):
            drawn = int(rng.integers(2**31 - len(self.tasks)))
            env_seed = drawn - drawn % len(self.tasks) + i % len(self.tasks)
            found = self._attempt(env, env_seed, rng, pick)
            if found is not None:
                break
        else:
            raise EnvError(f"the oracle of task={self.task_of(i)} failed {_ATTEMPTS} times: partition={self.partition}")
        prompt = env.table.prompt
        meta = {
            "env": self.name,
            "task": self.task_of(env_seed),
            "partition": self.partition,
            "difficulty": self.difficulty,
            "env_seed": env_seed,
            "prompt": prompt.text,
            "objects": [[o.name, o.texture] for o in env.table.objects],
        }
        values, final = found
        return PromptedEpisode(values, final, True, meta, prompt if keep_prompt else None)

    def _attempt(
        self, env: FactorEnv, env_seed: int, rng: np.random.Generator, pick: Pick
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None:
        """Recorded factors and final state, or None where the oracle does not succeed in time."""
        rows: dict[str, list[Any]] = {name: [] for name in self.spec.names}
        observation, info = env.reset(seed=env_seed)
        terminated = False
        for _ in range(self.horizon):
            action = NOTHING if info["success"] else env.table.expert(rng, pick)
            if action is None:
                return None
            for name, value in observation.items():
                rows[name].append(value)
            rows["action"].append(action)
            observation, reward, terminated, truncated, info = env.step(action)
            rows["reward"].append([reward])
            if terminated or truncated:
                break
        if info["success"] and terminated:
            return {n: np.array(row, self.spec[n].dtype) for n, row in rows.items()}, observation
        return None

    def _primitives(self) -> Primitives:
        if self.backend == "kinematic":
            return KINEMATIC
        from maskbench.envs.tabletop.mujoco_world import MujocoWorld

        return MujocoWorld()


class FactorEnv(gymnasium.Env[Any, Any]):
    """A table seen through the factors of ``Tabletop``. ``info`` is that of ``TabletopEnv``; ``table`` is the table itself."""

    metadata = TabletopEnv.metadata

    def __init__(self, family: Tabletop, table: TabletopEnv | VimaBenchEnv) -> None:
        self.family, self.table = family, table
        self.observation_space = observation_space(family.spec)
        self.action_space = gymnasium.spaces.Box(LOWEST, HIGHEST)
        self.render_mode = "rgb_array"
        self._seen: tuple[Frame | None, dict[str, np.ndarray]] = None, {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        _, info = self.table.reset(seed=seed, options={"task": self.family.task_of(seed), **(options or {})})
        return self._observe(), info

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        _, reward, terminated, truncated, info = self.table.step(action)
        return self._observe(), reward, terminated, truncated, info

    def render(self) -> np.ndarray:  # type: ignore[override]
        return self.table.render()

    def _observe(self) -> dict[str, np.ndarray]:
        table = self.table
        if table.frame is not self._seen[0]:
            found = observe_factors(self.family.observe, table.frame, table.objects, table.ee, self.family.slots)
            self._seen = table.frame, found
        return {name: value.copy() for name, value in self._seen[1].items()}


class TabletopBatch(LoopedBatch):
    """Tables in lock step, with what they ask for and what their cameras see."""

    envs: list[FactorEnv]  # type: ignore[assignment]

    def prompts(self, slots: Sequence[int]) -> list[Prompt]:
        """The instructions of running episodes."""
        return [self.envs[s].table.prompt for s in slots]

    def frames(self, slots: Sequence[int]) -> list[Frame]:
        """What the cameras of running episodes see now."""
        return [self.envs[s].table.frame for s in slots]


def _limit(task: Task) -> int:
    return task.oracle_max_steps + BONUS_STEPS
