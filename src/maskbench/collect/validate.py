"""Do recorded episodes come out of the simulator? One step from each saved state, compared with the next row (study, 8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskbench.data.importers.maskdp import MaskdpImporter, read_episode
from maskbench.envs.dmc import DMControl
from maskbench.envs.dmc.domains import DOMAINS
from maskbench.envs.dmc.simulator import Simulator
from maskbench.errors import DataError
from maskbench.trajectory import Episode, TrajectorySpec

#: Largest deviations of a row that comes out again, in the units of observations and rewards.
STATE_TOLERANCE, REWARD_TOLERANCE = 1e-5, 1e-6
#: Where a contact opens or closes, the solver's result depends on where it started and when it stopped, which no file holds.
#: Such rows are simulated again (``_nearest``). What is left of 40 000 published rows are three, up to 2e-5 away in one
#: joint's velocity; so one row of an episode, or this share of them, may deviate more, up to the limit.
STATE_LIMIT, STATE_SHARE = 1e-4, 0.001


@dataclass(frozen=True)
class Check:
    """Largest deviations of one episode and the rows where they are; ``reward`` is None where the task is not known.

    rows, off: rows that were checked, and those whose observation deviates by more than ``STATE_TOLERANCE``.
    """

    file: str
    task: str | None
    rows: int
    off: int
    state: float
    state_row: int
    reward: float | None
    reward_row: int

    @property
    def fault(self) -> str | None:
        """What does not come out again, or None."""
        if not self.state < STATE_LIMIT:
            return f"the observation after row {self.state_row} differs by {self.state:.3g}"
        if self.off > max(1.0, STATE_SHARE * self.rows):
            return f"{self.off} of {self.rows} observations differ, the one after row {self.state_row} by {self.state:.3g}"
        if self.reward is not None and not self.reward < REWARD_TOLERANCE:
            return f"the reward of row {self.reward_row} differs by {self.reward:.3g} from that of {self.task}"
        return None


def family_of(spec: TrajectorySpec, task: str | None) -> DMControl:
    """The environment that episodes of ``spec`` were recorded in. ``task`` is ``<domain>_<task>`` or the task alone; None takes
    any. Raises DataError where no domain has these sizes or no physics are stored, ConfigError for an unknown task."""
    sizes = tuple(spec[name].shape[0] for name in ("state", "action"))
    found = [d for d in DOMAINS.values() if (d.observation_size, d.action_size) == sizes]
    if not found:
        raise DataError(
            f"no domain has observations and actions of {sizes[0]} and {sizes[1]} numbers; these episodes are foreign"
        )
    if "physics" not in spec:
        raise DataError("the episodes hold no 'physics', from which they could be simulated again")
    domain = found[0]
    return DMControl(domain.name, next(iter(domain.tasks)) if task is None else task.removeprefix(f"{domain.name}_"))


def check_tree(path: Path, *, task: str | None = None, every: int = 1) -> Iterator[Check]:
    """Simulates the episodes below ``path`` again, one ``Check`` a file.

    task:  whose rewards to expect; by default that of the folder (``walker_walk``), and none below ``unsup``.
    every: checks each so many rows.
    """
    spec = MaskdpImporter().read(path).spec
    simulator = Simulator(family_of(spec, task).body)
    for file in [path] if path.is_file() else sorted(path.rglob("episode_*.npz")):
        episode = read_episode(file, spec)
        expected = task or episode.meta.get("task")
        family = family_of(spec, expected)
        check = check_episode(episode, family, simulator, reward=expected is not None, every=every)
        yield replace(check, file=str(file))


def check_episode(episode: Episode, family: DMControl, simulator: Simulator, *, reward: bool = True, every: int = 1) -> Check:
    """One episode with factors state, action, reward and physics, its final state included."""
    values, rows = episode.values, range(0, len(episode), every)
    after = np.concatenate([values["state"][1:], episode.final["state"][None]])
    steps = [_nearest(simulator, values["physics"], values["action"], row, after[row]) for row in rows]
    off = np.array([step.off for step in steps])
    paid = np.abs([family.reward(*step.features) for step in steps] - values["reward"][::every, 0])
    return Check(
        file="",
        task=f"{family.domain}_{family.task}" if reward else None,
        rows=len(rows),
        off=int((off > STATE_TOLERANCE).sum()),
        state=float(off.max()),
        state_row=int(rows[off.argmax()]),
        reward=float(paid.max()) if reward else None,
        reward_row=int(rows[paid.argmax()]),
    )


class _Step(NamedTuple):
    """How far a step's observation lies from the recorded one, and what rewards are computed from."""

    off: float
    features: list[float]


def _nearest(simulator: Simulator, physics: np.ndarray, actions: np.ndarray, row: int, after: np.ndarray) -> _Step:
    """One step from ``row``. Where it does not lead to ``after``: the nearest of this one, of one that the solver begins where
    the row before left it, as in a recording, and of one that it brings to its end."""

    def taken() -> _Step:
        simulator.step(actions[row])
        return _Step(float(np.abs(simulator.observe() - after).max()), simulator.features().tolist())

    simulator.restore(physics[row])
    steps = [taken()]
    if steps[0].off > STATE_TOLERANCE and row:
        simulator.restore(physics[row - 1])
        simulator.step(actions[row - 1])
        simulator.move(physics[row])
        steps.append(taken())
    if min(steps).off > STATE_TOLERANCE:
        with simulator.converged():
            simulator.restore(physics[row])
            steps.append(taken())
    return min(steps)
