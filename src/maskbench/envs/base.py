"""What an environment gives to the rest of the workbench, and many environments stepped in lock step.

An ``Environment`` (what ``configs/env/<name>.yaml`` instantiates) describes a family of worlds: its trajectory
specification, how to make one (``gymnasium.Env``) or many (``BatchEnv``), and how its own expert generates data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from maskbench.errors import EnvError
from maskbench.trajectory import Episode, EpisodeRecord, TrajectorySpec

if TYPE_CHECKING:
    import gymnasium

    from maskbench.prompt import Prompt

#: Values of the state factors: name -> array, with one leading axis per batch where batched.
Observation = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class StepBatch:
    """What ``n`` environments answered to one action each.

    observation: state factors ``(n, *shape)`` after the step (never that of a following episode: nothing resets by itself).
    reward:      ``(n,)`` float32.
    terminated, truncated: ``(n,)`` bool.
    events:      per environment the names of what happened in this step (``"goal"``, ``"key"`` ...).
    """

    observation: Observation
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    events: tuple[tuple[str, ...], ...]


#: Whose definitions the published numbers of an environment follow: those of the original publication, stricter ones, or
#: those of Behavior Transformers' reproducibility study with their mistakes.
MetricsVersion = Literal["paper", "strict", "repstudy_legacy"]


@dataclass(frozen=True)
class Measure:
    """A published number of an environment, from one entry an episode.

    kind: ``rate``: ``values`` are bools, the fraction of True. ``mean``: numbers, their mean. ``entropy``: per episode the
          symbols that it contributes; Shannon entropy in bits of all of them together. ``subset_entropy``: the mean of that
          entropy over random subsets of 100 episodes.
    """

    name: str
    definition: str
    kind: Literal["rate", "mean", "entropy", "subset_entropy"]
    values: Sequence[Any]


@dataclass(frozen=True)
class Start:
    """Where an episode begins when the seed alone does not say: a saved simulator state, e.g. a dm_control physics row."""

    simulator: np.ndarray


class BatchEnv(ABC):
    """``num_slots`` environments in lock step. A slot's future depends only on its own seed, start and actions."""

    num_slots: int

    @abstractmethod
    def reset(self, slots: Sequence[int], seeds: Sequence[int], starts: Sequence[Start | None] | None = None) -> Observation:
        """Begins new episodes in ``slots``; returns their state factors ``(len(slots), *shape)``."""

    @abstractmethod
    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        """Applies ``actions`` ``(len(slots), *action_shape)`` (class indices where actions are discrete)."""

    @abstractmethod
    def render(self, slot: int) -> np.ndarray:
        """Picture ``(H, W, 3)`` uint8 of one slot."""

    def prompts(self, slots: Sequence[int]) -> Sequence[Prompt] | None:
        """What running episodes are asked for, where the family has instructions."""
        return None

    def close(self) -> None:  # noqa: B027 - most environments hold nothing
        """Frees simulators and renderers."""


class Environment(ABC):
    """A family of worlds. Subclasses are built from YAML with plain arguments and hold no simulator state."""

    #: Conditioned queries for which this environment can say what to ask for (``bc`` needs nothing).
    queries: ClassVar[tuple[str, ...]] = ("bc",)

    #: Events that mean success; empty where the family has no such notion.
    success_events: ClassVar[tuple[str, ...]] = ("goal", "target", "success")

    #: Range of every dimension of a continuous action, from which uniformly random actions are drawn.
    action_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    #: A state counts as reached within this ``goal_distance``: exactly, where all factors are discrete.
    reach: ClassVar[float] = 0.5

    #: Events that have a rate in results, 0 where one never happens; None rates whatever happens. Modes (``route:...``) have
    #: rates of their own.
    events: tuple[str, ...] | None = None

    #: Raised whenever generated data would come out otherwise, so that cached data of an older generator is not reused.
    data_version: ClassVar[int] = 1

    name: str
    #: Steps after which an episode is truncated.
    horizon: int
    #: State and action factors, plus reward, return and simulator factors that generated data carries.
    spec: TrajectorySpec

    @abstractmethod
    def make(self) -> gymnasium.Env[Any, Any]:
        """One environment. Its observation space is a ``Dict`` of the state factors of ``spec``; ``info["events"]`` is a
        tuple of event names; ``reset(seed=..., options={"simulator": row})`` starts from a saved simulator state where
        the specification has a simulator factor."""

    def make_batch(self, num_slots: int) -> BatchEnv:
        """Many environments in lock step; vectorised where the family overrides this, a loop over ``make()`` otherwise."""
        return LoopedBatch([self.make() for _ in range(num_slots)])

    @abstractmethod
    def generate(self, episodes: int | range, seed: int, **options: Any) -> Iterator[Episode]:
        """Episodes of the family's own expert or data policy: so many, or those of the given numbers (``numbered``).

        Episode ``i`` depends on ``(seed, i, options)`` only, so that an interrupted generation goes on where it stopped.
        """

    def goal(self, env_seed: int) -> Mapping[str, np.ndarray] | None:
        """State-factor values that this environment's own task asks to reach, or None. A factor that is left out, or a NaN
        entry, is not asked for."""
        return None

    def return_target(
        self, env_seed: int, observation: Observation, starts: Mapping[str, np.ndarray], returns: np.ndarray
    ) -> float:
        """Return to ask for in the episode that ``env_seed`` begins, in reward units: what the recorded episode earned that
        begins most alike (``goal_distance`` over all state factors; families may know better).

        observation: state factors ``(*shape)`` that the episode begins with.
        starts:  first rows of ``n`` recorded episodes, ``(n, *shape)`` per state and simulator factor.
        returns: ``(n,)`` their returns.
        """
        recorded = {name: starts[name] for name in observation}
        return float(returns[np.argmin(self.goal_distance(recorded, observation))])

    def score(self, episode_return: float) -> Mapping[str, float]:
        """Reference scores derived from a return (D4RL's normalised score), by name."""
        return {}

    def measures(self, records: Sequence[EpisodeRecord], version: MetricsVersion) -> Iterator[Measure]:
        """What publications report of rollouts in this environment beyond returns, events and modes."""
        return iter(())

    def mode(self, episode: Episode) -> str | None:
        """The mode that a demonstration follows, spelt as ``route:`` events joined by ``>`` spell that of a rollout, from its
        ``meta`` or else its values; empty where it follows none, None where the family has no modes."""
        return None

    def recorded_rewards(self, rewards: np.ndarray) -> np.ndarray:
        """What this environment pays for steps for which the published task paid ``rewards`` ``(n, 1)``, as imported data
        holds them. Families with an option that replaces the reward override this."""
        return rewards

    def task_of(self, env_seed: int) -> str:
        """The task of the episode that a seed begins, for families of several."""
        return self.name

    def import_options(self, format: str) -> Mapping[str, Any]:
        """How data of a foreign format are to be read so that they fit: arguments of its importer."""
        return {}

    def floor(
        self, values: Mapping[str, np.ndarray], visible: np.ndarray, predict: np.ndarray, factors: Sequence[str]
    ) -> Mapping[str, float] | None:
        """Lowest expected loss of each predicted factor and their ``total`` for a generator that is known exactly, else None.

        The loss is the negative log-likelihood of classes and the mean squared error of numbers.
        values ``(B, T)`` class indices or ``(B, T, *shape)`` numbers per factor; visible and predict ``(B, T, F)`` bool in the
        order of ``factors``.
        """
        return None

    def goal_distance(self, observation: Observation, goal: Observation) -> np.ndarray:
        """``(n,)`` Euclidean distance over the continuous state factors of ``goal`` plus the count of unequal discrete ones."""
        total = np.zeros(len(next(iter(observation.values()))), dtype=np.float64)
        for name, want in goal.items():
            factor, have = self.spec[name], observation[name]
            if factor.kind == "discrete":
                total += have != want
            else:
                gap = np.nan_to_num(np.asarray(have, np.float64) - np.asarray(want, np.float64))
                total += np.square(gap).reshape(len(total), -1).sum(1)
        continuous = any(self.spec[n].kind == "continuous" for n in goal)
        return np.sqrt(total) if continuous else total


def numbered(episodes: int | range) -> range:
    """The numbers of the episodes that a generator is asked for: of so many, or as they are given."""
    return range(episodes) if isinstance(episodes, int) else episodes


@dataclass
class LoopedBatch(BatchEnv):
    """A plain loop over single environments: the fastest choice for all but slow simulators."""

    envs: list[gymnasium.Env[Any, Any]]
    num_slots: int = field(init=False)

    def __post_init__(self) -> None:
        self.num_slots = len(self.envs)

    def reset(self, slots: Sequence[int], seeds: Sequence[int], starts: Sequence[Start | None] | None = None) -> Observation:
        rows = []
        for i, slot in enumerate(slots):
            start = starts[i] if starts is not None else None
            options = None if start is None else {"simulator": start.simulator}
            rows.append(self.envs[slot].reset(seed=int(seeds[i]), options=options)[0])
        return _stack(rows)

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        if len(actions) != len(slots):
            raise EnvError(f"{len(slots)} slots need {len(slots)} actions; found {len(actions)}")
        rows = [self.envs[s].step(a) for s, a in zip(slots, actions, strict=True)]
        return StepBatch(
            observation=_stack([r[0] for r in rows]),
            reward=np.array([r[1] for r in rows], np.float32),
            terminated=np.array([r[2] for r in rows], bool),
            truncated=np.array([r[3] for r in rows], bool),
            events=tuple(tuple(r[4].get("events", ())) for r in rows),
        )

    def render(self, slot: int) -> np.ndarray:
        frame = self.envs[slot].render()
        if not isinstance(frame, np.ndarray):
            raise EnvError(f"{self.envs[slot]} renders no picture; make it with render_mode='rgb_array'")
        return frame

    def close(self) -> None:
        for env in self.envs:
            env.close()


def _stack(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([np.asarray(r[name]) for r in rows]) for name in rows[0]} if rows else {}
