"""Franka kitchen behind the observation of RPL, D4RL and BeT (BeT study 2.3, facts 3.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np

from maskbench.envs.base import Environment, LoopedBatch, Measure, MetricsVersion, numbered
from maskbench.envs.kitchen.measures import measures
from maskbench.envs.kitchen.simulator import AMPLITUDE, SECONDS, START, Simulator
from maskbench.envs.kitchen.tasks import GOALS, TASKS, completed
from maskbench.errors import ConfigError, EnvError, did_you_mean
from maskbench.trajectory import Episode, EpisodeRecord, Factor, TrajectorySpec

# Layout of a saved state: positions, velocities, the solver's warm start, noise key and index, which tasks are done.
_EDGES = np.cumsum([30, 29, 29, 1, 1, 7])


class Kitchen(Environment):
    """The kitchen of ``FrankaKitchen-v1`` with the observation and the noise of ``kitchen-all-v0``.

    tasks:   what counts: names of ``TASKS``. A chosen task earns reward 1 in the step that first completes it; an episode
             terminates when all of them are done.
    noise:   reading error of all positions in units of the published amplitudes (+-0.01 rad for joints at 0.1, as in
             RPL and BeT). It is uniform, and it moves the arm: targets count from the last reading.
    horizon: steps of 0.08 s after which an episode is truncated.
    height, width: size of pictures.

    Factors: ``state`` = noisy joint positions of the robot (9) and of the objects (21), then 30 goal values that are
    always zero (BeT's goal masking); ``action`` = joint velocities in [-1, 1] (1 = 2 rad/s); ``reward`` = number of newly
    completed tasks; ``physics`` = the full simulator state, its noise and its list of done tasks, from which an episode
    continues exactly.
    Events of a step that completes a task for the first time, judged on true positions: ``task:<name>``,
    ``route:<letter>`` (so that the mode of an episode is its sequence of tasks) and ``tasks:<n>`` (n tasks done so far).
    Success means four tasks, what every demonstration does; where fewer are chosen, nothing counts as success.
    Raises ConfigError for unknown or repeated tasks and impossible numbers.
    """

    queries: ClassVar[tuple[str, ...]] = ("bc", "return", "goal")
    success_events: ClassVar[tuple[str, ...]] = ("tasks:4",)

    def __init__(
        self,
        horizon: int = 280,
        tasks: Sequence[str] = tuple(TASKS),
        noise: float = 0.1,
        height: int = 240,
        width: int = 320,
    ) -> None:
        for task in tasks:
            if task not in TASKS:
                raise ConfigError(f"the kitchen has no task '{task}'. {did_you_mean(task, TASKS)}")
        if not tasks or len(set(tasks)) < len(tasks):
            raise ConfigError(f"tasks must name at least one task, and each once; found {list(tasks)}")
        if horizon < 1:
            raise ConfigError(f"horizon must be at least 1; found {horizon}")
        if noise < 0:
            raise ConfigError(f"noise must be at least 0; found {noise}")
        self.name, self.horizon, self.noise = "kitchen", horizon, noise
        self.tasks = tuple(name for name in TASKS if name in tasks)
        self.height, self.width = height, width
        self.events = tuple(f"task:{name}" for name in self.tasks)
        self._letters = {i: task.letter for i, (name, task) in enumerate(TASKS.items()) if name in self.tasks}
        parts = (("robot", 0, 9), ("objects", 9, 30), ("goal", 30, 60))
        self.spec = TrajectorySpec(
            (
                Factor("state", "continuous", "state", (60,), parts=parts),
                Factor("action", "continuous", "action", (9,)),
                Factor("reward", "continuous", "reward", (1,)),
                Factor("physics", "continuous", "simulator", (int(_EDGES[-1]),)),
            )
        )

    def make(self) -> KitchenEnv:
        """One environment; raises MissingExtraError where mujoco or gymnasium-robotics is not installed."""
        return KitchenEnv(self, Simulator())

    def make_batch(self, num_slots: int) -> LoopedBatch:
        """Slots that share one compiled model, each with its own simulation state."""
        first = Simulator()
        others = [Simulator(first.model) for _ in range(num_slots - 1)]
        return LoopedBatch([KitchenEnv(self, simulator) for simulator in (first, *others)])

    def generate(  # type: ignore[override]  # named options: a misspelt one is refused
        self,
        episodes: int | range,
        seed: int,
        orders: Mapping[str, float] | Sequence[str] | None = None,
        action_noise: float = 0.02,
        jitter: float = 0.01,
        slowest: float = 0.85,
        max_length: int | None = None,
        attempts: int = 10,
    ) -> Iterator[Episode]:
        """Demonstrations of the scripted expert that do everything their order asks for, and end with it.

        orders:       which tasks in which order, as letters (``"mkls"``): a list, or a mapping to relative frequencies;
                      None takes those of ``expert.ORDERS`` that hold chosen tasks only.
        action_noise: standard deviation of Gaussian noise on actions, which are cut to [-1, 1] again and stored as executed.
        jitter:       half width of the uniform noise on way-points, metres; one draw an episode.
        slowest:      the pace of an episode is drawn from [slowest, 1].
        max_length:   longer episodes are rejected; None takes the horizon. Human recordings have 161 to 409 steps.
        attempts:     an order is tried so often with other noise, jitter and pace before EnvError says that it fails.
        Raises ConfigError for options that cannot be.
        """
        from maskbench.envs.kitchen.expert import Recipe, choose_orders, demonstrate

        length = self.horizon if max_length is None else max_length
        recipe = Recipe(action_noise, jitter, slowest, length)
        names, chances = choose_orders(orders, self.tasks)
        env = Kitchen(length, self.tasks, self.noise).make()
        for i in numbered(episodes):
            order = names[np.random.default_rng([seed, i]).choice(len(names), p=chances)]
            for attempt in range(1, attempts + 1):
                episode = demonstrate(env, self.spec, order, recipe, np.random.default_rng([seed, i, attempt]))
                if episode is not None:
                    break
            else:
                raise EnvError(
                    f"the expert failed at the order '{order}' in {attempts} attempts of at most {length} steps. "
                    "Raise max_length or attempts, or leave this order out"
                )
            yield episode

    def goal(self, env_seed: int) -> Mapping[str, np.ndarray]:
        """Positions that complete the chosen tasks, the same for every seed; nothing is asked of the rest."""
        wanted = np.full(60, np.nan, np.float32)
        for name in self.tasks:
            wanted[TASKS[name].joints] = GOALS[TASKS[name].joints]
        return {"state": wanted}

    def measures(self, records: Sequence[EpisodeRecord], version: MetricsVersion) -> Iterator[Measure]:
        return measures(records, version, len(self.tasks))

    def mode(self, episode: Episode) -> str:
        """Letters of the tasks in the order of their completion, judged on the recorded (noisy) positions where ``meta`` does
        not say it; without the state after the last action, the task that it completed is missing."""
        completions = episode.meta.get("completions")
        if completions is None:
            states = np.stack((*episode.values["state"], *episode.final.values()))[:, :30].astype(np.float64)
            table = completed(states)
            completions = {name: int(table[:, i].argmax()) for i, name in enumerate(TASKS) if table[:, i].any()}
        ordered = sorted((t, i) for i, name in enumerate(TASKS) if (t := completions.get(name)) is not None)
        return ">".join(self._letters[i] for _, i in ordered if i in self._letters)

    def score(self, episode_return: float) -> Mapping[str, float]:
        """D4RL's normalised score, which is defined for four chosen tasks."""
        return {"normalised_score": 25.0 * float(episode_return)} if len(self.tasks) == 4 else {}


class KitchenEnv(gymnasium.Env[Any, Any]):
    """One kitchen. ``reset(options={"simulator": row})`` restarts the step count, then continues from a saved state.

    Every episode starts from the same positions; a seed chooses the noise.
    """

    def __init__(self, family: Kitchen, simulator: Simulator) -> None:
        self._family = family
        self.simulator = simulator
        self.observation_space = gymnasium.spaces.Dict({"state": gymnasium.spaces.Box(-np.inf, np.inf, (60,), np.float32)})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (9,), np.float32)
        self.render_mode = "rgb_array"
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / SECONDS)}
        self._chosen = np.array([name in family.tasks for name in TASKS])
        self._amplitude = family.noise * AMPLITUDE
        self._names = list(TASKS.values())
        self._steps = -1
        self._noise_key = self._noise_index = 0
        #: Which of the seven tasks have been completed in this episode, ``(7,)`` bool.
        self.done = np.zeros(7, bool)
        #: The last noisy positions, ``(30,)`` float64: what is observed and what the next action counts from.
        self.reading = START.copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        row = (options or {}).get("simulator")
        if row is None:
            self.simulator.set(START, np.zeros(29))
            self._noise_key, self._noise_index = int(self.np_random.integers(2**53)), 0
            self.done = np.zeros(7, bool)
        else:
            positions, velocities, warmstart, key, index, done = np.split(self._checked(row), _EDGES[:-1])
            self.simulator.set(positions, velocities, warmstart)
            self._noise_key, self._noise_index = int(key[0]), int(index[0])
            self.done = done != 0
        self._steps = 0
        return self._observe(), {"events": ()}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        if self._steps < 0:
            raise EnvError("'kitchen' must be reset before its first step")
        command = np.asarray(action, np.float64)
        if command.shape != (9,) or not np.isfinite(command).all():
            raise EnvError(f"'kitchen' takes 9 finite joint velocities; found {action}")
        self.simulator.step(command, self.reading)
        self._steps += 1
        self._noise_index += 1
        new = completed(self.simulator.data.qpos) & self._chosen & ~self.done
        count = int(self.done.sum())
        events: list[str] = []
        for order, task in enumerate((self._names[i] for i in np.flatnonzero(new)), start=count + 1):
            events += [f"task:{task.name}", f"route:{task.letter}", f"tasks:{order}"]
        self.done = self.done | new
        terminated = bool((self.done == self._chosen).all())
        truncated = self._steps >= self._family.horizon
        return self._observe(), float(new.sum()), terminated, truncated, {"events": tuple(events)}

    def physics(self) -> np.ndarray:
        """``(97,)`` float64 state, from which ``reset(options={"simulator": row})`` continues."""
        data = self.simulator.data
        noise = (self._noise_key, self._noise_index)
        return np.concatenate((data.qpos, data.qvel, data.qacc_warmstart, noise, self.done))

    def render(self) -> np.ndarray:  # type: ignore[override]
        """``(height, width, 3)`` uint8; raises EnvError where no OpenGL library is installed."""
        return self.simulator.picture(self._family.height, self._family.width)

    def close(self) -> None:
        self.simulator.close()

    def _observe(self) -> dict[str, np.ndarray]:
        self.reading = self.simulator.data.qpos.copy()
        if self._family.noise:
            # Addressed by (key, index), not drawn in turn: a restored state reads what the recorded one read.
            noise = np.random.Generator(np.random.Philox(key=self._noise_key, counter=[0, self._noise_index, 0, 0]))
            self.reading += self._amplitude * noise.uniform(-1.0, 1.0, 30)
        state = np.zeros(60, np.float32)
        state[:30] = self.reading
        return {"state": state}

    @staticmethod
    def _checked(row: Any) -> np.ndarray:
        physics = np.asarray(row, np.float64)
        if physics.shape != (_EDGES[-1],) or not np.isfinite(physics).all():
            raise EnvError(f"'kitchen' starts from {_EDGES[-1]} finite numbers; found an array {physics.shape}")
        if (physics[_EDGES[2] : _EDGES[4]] < 0).any():
            raise EnvError(f"'kitchen' addresses its noise by two numbers >= 0; found {physics[_EDGES[2] : _EDGES[4]]}")
        return physics
