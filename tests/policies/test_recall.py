"""Memory-based policies: exact recall, beginnings compared with beginnings, and the same bits for any batch."""

from __future__ import annotations

import numpy as np
import pytest

from maskbench.data.store import EpisodeStore
from maskbench.envs.doorkey import DoorKey
from maskbench.envs.pointmass import PointMass
from maskbench.errors import DataError
from maskbench.policies.recall import Memory, RecallPolicy
from maskbench.rollout.plan import EpisodePlan, PlanRow
from maskbench.rollout.runner import RolloutRunner
from maskbench.trajectory import Episode, Factor, TrajectorySpec

SPEC = TrajectorySpec((Factor("state", "continuous", "state", (1,)), Factor("action", "continuous", "action", (1,))))


def store(*pairs: tuple[list[float], list[float]]) -> EpisodeStore:
    def column(x: list[float]) -> np.ndarray:
        return np.array(x, np.float32)[:, None]

    return EpisodeStore.from_episodes(SPEC, [Episode({"state": column(s), "action": column(a)}) for s, a in pairs])


def acts(policy: RecallPolicy, states: list[float]) -> list[float]:
    policy.reset(np.array([0]), [PlanRow(0, 0, 0)])
    return [float(policy.act({"state": np.array([[s]], np.float32)}, np.array([0]))[0, 0]) for s in states]


def test_the_most_similar_history_decides_not_the_most_similar_observation() -> None:
    episodes = store(([0, 1, 2, 3], [1, 2, 3, 4]), ([9, 8, 2, 1], [-1, -2, -3, -4]))
    memory = Memory.fit(episodes, np.arange(2), 2)
    assert acts(RecallPolicy(memory, "nearest"), [0, 1, 2.2, 3]) == [1, 2, 3, 4]
    assert acts(RecallPolicy(memory, "nearest"), [9, 8, 2.2, 1]) == [-1, -2, -3, -4]


def test_the_first_step_is_compared_with_first_steps_only() -> None:
    memory = Memory.fit(store(([0, 5, 5], [1, 2, 3]), ([1, 5, 5], [4, 5, 6])), np.arange(2), 3)
    assert acts(RecallPolicy(memory, "nearest"), [5])[0] in (1, 4)
    assert [t.n for t in memory.trees] == [2, 2, 2]


def test_weighted_actions_lean_towards_the_nearer_history() -> None:
    memory = Memory.fit(store(([-1.0], [0.0]), ([1.0], [10.0])), np.arange(2), 1)
    distance = np.abs(np.array([-1.0, 1.0]) - 0.4)  # the deviation of the states is 1
    expected = 10 * np.exp(-distance[1]) / np.exp(-distance).sum()
    assert acts(RecallPolicy(memory, "lwr"), [0.4])[0] == pytest.approx(expected, rel=1e-5)
    assert acts(RecallPolicy(memory, "nearest"), [0.4]) == [10.0]


def test_only_the_given_episodes_are_remembered() -> None:
    episodes = store(([0, 0], [1, 1]), ([0, 0], [2, 2]))
    assert set(acts(RecallPolicy(Memory.fit(episodes, np.array([1]), 1), "nearest"), [0, 0])) == {2}
    with pytest.raises(DataError, match="no training episode"):
        Memory.fit(episodes, np.array([], np.int64), 1)


@pytest.mark.parametrize("kind", ["nearest", "lwr"])
@pytest.mark.parametrize("env", [PointMass(), DoorKey()], ids=lambda e: e.name)
def test_records_are_the_same_bits_for_any_batch_size(env, kind: str) -> None:
    episodes = EpisodeStore.from_episodes(env.spec, env.generate(50, 0))
    memory, seen = Memory.fit(episodes, np.arange(50), 4), []
    for slots in (1, 3, 9):
        runner = RolloutRunner(env, lambda: RecallPolicy(memory, kind), num_slots=slots, progress=False)
        seen.append([r.to_json() for r in runner.run(EpisodePlan.build(9, 0))])
    assert seen[0] == seen[1] == seen[2]
    if env.name == "pointmass1" and kind == "nearest":
        assert all(r["success"] for r in seen[0])
