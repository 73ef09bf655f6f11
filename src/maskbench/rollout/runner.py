"""Plays an episode plan: one batched forward for all live environments of a process, finished slots refilled at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from maskbench.envs.base import Environment, Observation
from maskbench.errors import ConfigError, EnvError
from maskbench.memory import keep_freed_memory
from maskbench.rollout.invariant import PackedWeights, batch_invariant
from maskbench.rollout.metrics import MODE_PREFIX
from maskbench.rollout.plan import EpisodePlan, PlanRow
from maskbench.rollout.policy import Annotated, Instructed, Policy
from maskbench.trajectory import EpisodeRecord

PolicyFactory = Callable[[], Policy]
#: Starts before this timestep of their episode lie in the phase in which a body gets up (MaskDP spec 4.3, 5.3).
EARLY = 100


@dataclass
class RolloutRunner:
    """Policy x environment. The same plan gives bit-identical records with any ``workers`` and ``num_slots`` (CPU).

    policy_factory: builds the policy, once in every process.
    workers:        1 plays here; more are spawned processes, for slow simulators: both the environment and the factory must
                    then be picklable, and a script needs the ``if __name__ == "__main__"`` guard.
    num_slots:      environments alive at once in a process.
    record_trajectories: keep states, actions and rewards of every episode, and ``final.<factor>``, the state after the
                    last action; also the ``notes`` of an annotated policy.
    frames:         plan rows to film; ``films`` holds their pictures after a run.
    frame_every:    steps between pictures; the first and the last state are always filmed.
    invariant:      run the policy under ``batch_invariant``.
    spreads:        per state factor its deviations ``(*shape)``: distances to goals are then also told in these.
    progress:       a bar on stderr where a human watches.
    """

    environment: Environment
    policy_factory: PolicyFactory
    workers: int = 1
    num_slots: int = 64
    record_trajectories: bool = False
    frames: Collection[int] = ()
    frame_every: int = 1
    progress: bool = True
    invariant: bool = True
    spreads: Mapping[str, np.ndarray] | None = None
    #: Row -> ``(pictures, H, W, 3)`` uint8 of the last run, the first one before any action.
    films: dict[int, np.ndarray] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.workers < 1 or self.num_slots < 1:
            raise ConfigError(f"workers and num_slots must be at least 1; found {self.workers} and {self.num_slots}")

    def run(self, plan: EpisodePlan) -> list[EpisodeRecord]:
        """Records in the order of the plan.

        Raises whatever the environment or the policy raised, with a note that names the rows then alive.
        """
        unknown = sorted(set(self.frames) - {r.row for r in plan})
        if unknown:
            raise ConfigError(f"cannot film rows {unknown[:5]}: the plan has no such rows")
        workers = min(self.workers, len(plan))
        records: dict[int, EpisodeRecord] = {}
        self.films = {}
        with _progress(len(plan), self.progress) as advance:
            for record, film in self._spawned(plan, workers) if workers > 1 else self._play(plan.rows):
                records[record.row] = record
                if film is not None:
                    self.films[record.row] = film
                advance()
        return [records[r.row] for r in plan]

    def _play(self, rows: Sequence[PlanRow]) -> Iterator[tuple[EpisodeRecord, np.ndarray | None]]:
        yield from play(
            self.environment,
            self.policy_factory(),
            rows,
            num_slots=self.num_slots,
            record_trajectories=self.record_trajectories,
            frames=frozenset(self.frames),
            frame_every=self.frame_every,
            invariant=self.invariant,
            spreads=self.spreads,
        )

    def _spawned(self, plan: EpisodePlan, workers: int) -> Iterator[tuple[EpisodeRecord, np.ndarray | None]]:
        from maskbench.rollout.workers import play_in_workers

        options = {
            "num_slots": self.num_slots,
            "record_trajectories": self.record_trajectories,
            "frames": frozenset(self.frames),
            "frame_every": self.frame_every,
            "invariant": self.invariant,
            "spreads": self.spreads,
        }
        dealt = [plan.rows[i::workers] for i in range(workers)]
        return play_in_workers(self.environment, self.policy_factory, dealt, options)


@dataclass
class _Episode:
    """What is known of an episode while it is alive."""

    row: PlanRow
    limit: int
    length: int = 0
    total: float = 0.0
    nearest: float = np.inf
    nearest_scaled: float = np.inf
    distance: float = np.inf
    gaps: list[float] = field(default_factory=list)
    passed: list[float] = field(default_factory=list)
    events: list[tuple[int, str]] = field(default_factory=list)
    steps: list[dict[str, np.ndarray]] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)

    def wanted_next(self) -> Observation | None:
        """The waypoint of the state that the next action leads to, if it is one."""
        points, passed = self.row.waypoints, len(self.gaps)
        if points is None or passed == len(points.times) or points.times[passed] != self.length + 1:
            return None
        return {name: value[passed] for name, value in points.states.items()}

    def pass_by(self, environment: Environment, state: Observation) -> None:
        """Keeps the smallest distance to each waypoint, where the plan judges these."""
        points = self.row.waypoints
        if points is None or points.judged is None:
            return
        self.passed = self.passed or [np.inf] * len(points.times)
        here = {name: np.repeat(state[name][None], len(points.times), 0) for name in points.states}
        distances = np.where(points.counts(self.length), environment.goal_distance(here, points.states), np.inf)
        self.passed = np.minimum(self.passed, distances).tolist()


def play(
    environment: Environment,
    policy: Policy,
    rows: Sequence[PlanRow],
    *,
    num_slots: int,
    record_trajectories: bool = False,
    frames: Collection[int] = (),
    frame_every: int = 1,
    invariant: bool = True,
    spreads: Mapping[str, np.ndarray] | None = None,
) -> Iterator[tuple[EpisodeRecord, np.ndarray | None]]:
    """Plays ``rows`` in this process; yields each record, with its pictures where filmed, as its episode ends.

    An episode ends when the environment says terminated or truncated, or when the row's budget (the horizon, where it has
    none) is spent. Nothing resets by itself: the observation after the last action is that of the same episode.
    """
    keep_freed_memory()
    batch = environment.make_batch(min(num_slots, len(rows)))
    waiting = list(reversed(rows))
    free = list(range(batch.num_slots))
    live: dict[int, _Episode] = {}
    states: dict[str, np.ndarray] = {}
    action_factors = environment.spec.with_role("action")
    action_name = action_factors[0].name if len(action_factors) == 1 else "action"
    careful = partial(batch_invariant, PackedWeights()) if invariant else contextlib.nullcontext
    try:
        while live or waiting:
            if waiting and free:
                began = [(free.pop(0), waiting.pop()) for _ in range(min(len(free), len(waiting)))]
                live.update({slot: _Episode(row, row.budget or environment.horizon) for slot, row in began})
                slots = np.array([slot for slot, _ in began], np.int64)
                began_rows = [row for _, row in began]
                first = batch.reset(slots.tolist(), [r.env_seed for r in began_rows], [r.start for r in began_rows])
                policy.reset(slots, began_rows)
                if isinstance(policy, Instructed):
                    with careful():
                        policy.instruct(slots, batch.prompts(slots.tolist()) or ())
                _store(states, first, slots, batch.num_slots)
                for slot, row in began:
                    if row.row in frames:
                        live[slot].pictures.append(batch.render(slot))

            order = sorted(live)
            slots = np.array(order, np.int64)
            before = {name: value[slots] for name, value in states.items()}
            with careful():
                actions = policy.act(before, slots)
            if len(actions) != len(slots):
                raise ConfigError(f"the policy must answer {len(slots)} slots with as many actions; found {len(actions)}")
            notes = policy.notes(slots) if record_trajectories and isinstance(policy, Annotated) else None
            after = batch.step(order, actions)
            policy.record(slots, after.reward)
            _store(states, after.observation, slots, batch.num_slots)
            episodes = [live[s] for s in order]
            goals = [e.row.goal for e in episodes]
            distances = _distances(environment, after.observation, goals)
            scaled = _distances(environment, after.observation, goals, spreads) if spreads else distances
            gaps = _distances(environment, after.observation, [e.wanted_next() for e in episodes])

            for i, slot in enumerate(order):
                episode = live[slot]
                episode.events += [(episode.length, name) for name in after.events[i]]
                episode.length += 1
                episode.total += float(after.reward[i])
                episode.distance = float(distances[i])
                episode.nearest = min(episode.nearest, episode.distance)
                episode.nearest_scaled = min(episode.nearest_scaled, float(scaled[i]))
                if np.isfinite(gaps[i]):
                    episode.gaps.append(float(gaps[i]))
                episode.pass_by(environment, {name: value[i] for name, value in after.observation.items()})
                if record_trajectories:
                    cells = {name: value[i] for name, value in before.items()}
                    episode.steps.append({**cells, action_name: np.array(actions[i]), "reward": after.reward[i]})
                    if notes is not None:
                        episode.steps[-1]["notes"] = np.array(notes[i])
                ended = bool(after.terminated[i] or after.truncated[i] or episode.length >= episode.limit)
                if episode.row.row in frames and (ended or episode.length % frame_every == 0):
                    episode.pictures.append(batch.render(slot))
                if ended:
                    final = {name: value[i] for name, value in after.observation.items()}
                    yield _record(environment, episode, bool(after.terminated[i]), final, scaled=spreads is not None)
                    del live[slot]
                    free.append(slot)
    except Exception as error:
        rows_alive = ", ".join(f"{e.row.row} (env_seed {e.row.env_seed}, step {e.length})" for e in live.values())
        error.add_note(f"while rolling out rows: {rows_alive}")
        raise
    finally:
        batch.close()


def _store(states: dict[str, np.ndarray], fresh: Observation, slots: np.ndarray, num_slots: int) -> None:
    """Writes the newest state factors of ``slots`` into arrays ``(num_slots, *shape)``."""
    for name, value in fresh.items():
        value = np.asarray(value)
        if name not in states:
            states[name] = np.zeros((num_slots, *value.shape[1:]), value.dtype)
        states[name][slots] = value


def _distances(
    environment: Environment,
    after: Observation,
    wanted: Sequence[Observation | None],
    spreads: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """``(n,)`` distance to the state that each slot wants, in ``spreads`` of its factors; infinite where it wants none."""
    units = spreads or {}
    distances = np.full(len(wanted), np.inf)
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, state in enumerate(wanted):
        if state is not None:
            groups.setdefault(tuple(sorted(state)), []).append(i)
    for names, members in groups.items():
        missing = [name for name in names if name not in after]
        if missing:
            raise EnvError(f"the plan asks for {missing}; the environment observes {sorted(after)}")
        goals = {name: np.stack([np.asarray((wanted[i] or {})[name]) for i in members]) for name in names}
        here = {name: value[members] for name, value in after.items()}
        for name in units.keys() & goals.keys():
            here[name], goals[name] = here[name] / units[name], goals[name] / units[name]
        distances[members] = environment.goal_distance(here, goals)
    return distances


def _record(
    environment: Environment, episode: _Episode, terminated: bool, final: Observation, scaled: bool
) -> tuple[EpisodeRecord, np.ndarray | None]:
    metrics = {name: float(value) for name, value in environment.score(episode.total).items()}
    if episode.row.goal is not None:
        metrics |= {"goal_distance": episode.nearest, "final_goal_distance": episode.distance}
        if scaled:
            metrics["goal_distance_scaled"] = episode.nearest_scaled
        if episode.row.moment is not None:
            metrics["goal_distance_early" if episode.row.moment < EARLY else "goal_distance_late"] = episode.nearest
        if episode.row.mode is not None:
            wanted = {f"{MODE_PREFIX}{part}" for part in episode.row.mode.split(">")}
            metrics["goal_parts"] = len(wanted & {name for _, name in episode.events})
    metrics |= {f"waypoint_{i}": distance for i, distance in enumerate(episode.passed, 1)}
    if episode.row.waypoints is not None:
        hit = sum(gap <= environment.reach for gap in episode.gaps)
        metrics["waypoints_hit"] = hit / len(episode.row.waypoints.times)
        if episode.gaps:
            metrics["waypoint_distance"] = float(np.mean(episode.gaps))
    wins = environment.success_events
    trajectory = None
    if episode.steps:
        trajectory = {name: np.stack([step[name] for step in episode.steps]) for name in episode.steps[0]}
        trajectory |= {f"final.{name}": np.array(value) for name, value in final.items()}
    record = EpisodeRecord(
        row=episode.row.row,
        env=environment.name,
        env_seed=episode.row.env_seed,
        policy_seed=episode.row.policy_seed,
        query=episode.row.query,
        episode_return=episode.total,
        length=episode.length,
        success=any(name in wins for _, name in episode.events) if wins else None,
        terminated=terminated,
        metrics=metrics,
        events=tuple(episode.events),
        trajectory=trajectory,
    )
    return record, np.stack(episode.pictures) if episode.pictures else None


@contextlib.contextmanager
def _progress(total: int, show: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr that counts episodes; silent where stderr is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not (show and console.is_terminal):
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("rollout"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("rollout", total=total)
        yield lambda: bar.advance(task)
