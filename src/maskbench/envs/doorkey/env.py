"""The key-door gridworld as an environment family: specification, lock-step simulation and data generation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from maskbench.envs.base import BatchEnv, Environment, Observation, Start, StepBatch, numbered
from maskbench.envs.doorkey.picture import draw
from maskbench.envs.doorkey.world import EVENTS, World, build_world
from maskbench.errors import EnvError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

if TYPE_CHECKING:
    import gymnasium

#: Interior size -> (return-to-go classes, class of return-to-go 0).
RTG_CLASSES = {4: (17, 6), 14: (21, 10)}
_EVENT_NAMES = tuple((name,) if name else () for name in EVENTS)
_CHUNK = 4096


class DoorKey(Environment):
    """Fetch the key, open the door, walk to the goal; episodes have a fixed length and reaching the goal ends nothing.

    size:    interior cells a side: 4 (``doorkey``) or 14 (``doorkey16``, the 16 x 16 grid of the original).
    horizon: steps of an episode; 10 in the paper for both sizes, and all that the published return-to-go classes can hold
             (a longer horizon clips returns-to-go into the first and last class).
    beta:    inverse temperature of the Boltzmann data policy: 1 in the paper for size 4; undocumented for size 14, where the
             published losses are near those of beta 2.

    Factors: ``state`` and ``state_key`` (positions of agent and key; equal once the key is held), ``action`` (right, down,
    left, up), ``rtg`` (sum of the rewards from here on, the last action's included) and ``reward`` (decrease of the path
    distance to the goal). Whether the door is open stays hidden. Source: uniMASK section 5, appendix E.
    """

    queries: ClassVar[tuple[str, ...]] = ("bc", "return", "goal")
    events = tuple(name for name in EVENTS if name)

    def __init__(self, size: int = 4, horizon: int = 10, beta: float = 1.0) -> None:
        self.world = build_world(size)
        if horizon < 1:
            raise EnvError(f"doorkey needs a horizon of at least 1 step; found {horizon}")
        self.name = "doorkey" if size == 4 else "doorkey16"
        self.size = size
        self.horizon = horizon
        self.beta = beta
        classes, offset = RTG_CLASSES[size]
        self.spec = TrajectorySpec(
            (
                Factor("state", "discrete", "state", classes=size * size),
                Factor("state_key", "discrete", "state", classes=size * size),
                Factor("action", "discrete", "action", classes=4),
                Factor("rtg", "discrete", "return", classes=classes, offset=offset),
                Factor("reward", "continuous", "reward", shape=(1,)),
            )
        )

    def make(self) -> gymnasium.Env[Any, Any]:
        import gymnasium

        from maskbench.envs.single import SingleEnv

        return SingleEnv(self.make_batch(1), self.spec, gymnasium.spaces.Discrete(4), success_event="goal")

    def make_batch(self, num_slots: int) -> DoorKeyBatch:
        return DoorKeyBatch(self.world, self.horizon, num_slots)

    def generate(self, episodes: int | range, seed: int, beta: float | None = None, **options: Any) -> Iterator[Episode]:
        """Episodes of the Boltzmann policy; ``meta["env_seed"]`` resets an environment to the same start.

        beta: overrides the family's own inverse temperature.
        """
        if options:
            raise EnvError(f"doorkey data takes the option 'beta'; found {sorted(options)}")
        beta = self.beta if beta is None else beta
        wanted = numbered(episodes)
        for first in range(0, len(wanted), _CHUNK):
            yield from self._generate(wanted[first : first + _CHUNK], seed, beta)

    def goal(self, env_seed: int) -> Mapping[str, np.ndarray]:
        """Agent and key on the goal cell, whatever the seed."""
        cell = np.array(self.world.goal, np.int64)
        return {"state": cell, "state_key": cell}

    def floor(
        self, values: Mapping[str, np.ndarray], visible: np.ndarray, predict: np.ndarray, factors: Sequence[str]
    ) -> Mapping[str, float] | None:
        """Exact inference over whole episodes of the data policy (``doorkey.oracle``); None for shorter windows."""
        from maskbench.envs.doorkey.oracle import Oracle

        return Oracle(self).floor(values, visible, predict, factors) if visible.shape[1] == self.horizon else None

    def rtg_class(self, value: np.ndarray) -> np.ndarray:
        """Class index of a return-to-go, clipped into range."""
        classes, offset = RTG_CLASSES[self.size]
        return np.clip(np.asarray(value, np.int64) + offset, 0, classes - 1)

    def _generate(self, indices: range, seed: int, beta: float) -> Iterator[Episode]:
        tables, count = self.world, len(indices)
        thresholds = tables.policy(beta).cumsum(1)[:, :-1]
        env_seeds, uniform = np.empty(count, np.int64), np.empty((self.horizon, count))
        for row, episode in enumerate(indices):
            generator = np.random.Generator(np.random.Philox(key=np.array([seed, episode], np.uint64)))
            env_seeds[row] = generator.integers(2**31)
            uniform[:, row] = generator.random(self.horizon)
        joint = np.empty((self.horizon + 1, count), np.int64)
        action = np.empty((self.horizon, count), np.int64)
        joint[0] = [start_state(tables, s) for s in env_seeds.tolist()]
        for t in range(self.horizon):
            action[t] = (uniform[t][:, None] >= thresholds[joint[t]]).sum(1)
            joint[t + 1] = tables.successor[joint[t], action[t]]
        distance = tables.distance[joint]
        values = {
            "state": tables.agent[joint[:-1]],
            "state_key": tables.key[joint[:-1]],
            "action": action,
            "rtg": self.rtg_class(distance[:-1] - distance[-1]),
            "reward": (distance[:-1] - distance[1:]).astype(np.float32)[..., None],
        }
        values = {name: np.ascontiguousarray(v.swapaxes(0, 1)) for name, v in values.items()}
        final = {"state": tables.agent[joint[-1]], "state_key": tables.key[joint[-1]]}
        for row in range(count):
            yield Episode(
                values={name: v[row] for name, v in values.items()},
                final={name: v[row] for name, v in final.items()},
                meta={"env_seed": int(env_seeds[row]), "beta": beta},
            )


def start_state(tables: World, seed: int) -> int:
    """Joint state in which the episode of ``seed`` begins: uniform over the starts."""
    return int(tables.starts[np.random.Generator(np.random.Philox(seed)).integers(len(tables.starts))])


class DoorKeyBatch(BatchEnv):
    """``num_slots`` worlds stepped by one table look-up. Stepping past the horizon goes on, truncated."""

    def __init__(self, tables: World, horizon: int, num_slots: int) -> None:
        self.num_slots = num_slots
        self._world = tables
        self._horizon = horizon
        self._reward = tables.reward.astype(np.float32)
        self._joint = np.zeros(num_slots, np.int64)
        self._elapsed = np.zeros(num_slots, np.int64)

    def reset(self, slots: Sequence[int], seeds: Sequence[int], starts: Sequence[Start | None] | None = None) -> Observation:
        if starts is not None and any(s is not None for s in starts):
            raise EnvError("doorkey begins where its seed says; it has no saved simulator state to start from")
        where = np.asarray(slots, np.int64)
        self._joint[where] = [start_state(self._world, int(s)) for s in seeds]
        self._elapsed[where] = 0
        return self._observe(where)

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        where, action = np.asarray(slots, np.int64), np.asarray(actions)
        if action.shape != where.shape or not np.issubdtype(action.dtype, np.integer) or ((action < 0) | (action > 3)).any():
            raise EnvError(f"doorkey needs {len(where)} integer actions in 0..3; found {action.dtype} {action.tolist()}")
        before = self._joint[where]
        self._joint[where] = self._world.successor[before, action]
        self._elapsed[where] += 1
        return StepBatch(
            observation=self._observe(where),
            reward=self._reward[before, action],
            terminated=np.zeros(len(where), bool),
            truncated=self._elapsed[where] >= self._horizon,
            events=tuple(_EVENT_NAMES[e] for e in self._world.event[before, action]),
        )

    def render(self, slot: int) -> np.ndarray:
        return draw(self._world, int(self._joint[slot]))

    def _observe(self, where: np.ndarray) -> Observation:
        joint = self._joint[where]
        return {"state": self._world.agent[joint], "state_key": self._world.key[joint]}
