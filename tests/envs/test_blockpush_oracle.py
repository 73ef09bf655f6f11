"""Block push: the scripted expert, its demonstrations and the published metrics of its rollouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from maskbench.envs.base import Observation
from maskbench.envs.blockpush import MODES, BlockPush, Oracle
from maskbench.errors import ConfigError, EnvError
from maskbench.rollout.metrics import mode_of, summarise
from maskbench.rollout.plan import EpisodePlan, PlanRow
from maskbench.rollout.runner import RolloutRunner
from maskbench.trajectory import EpisodeRecord

pytest.importorskip("mujoco")


class Scripted:
    """The expert as a policy: mode by the row of the plan."""

    def __init__(self) -> None:
        self.oracles: dict[int, Oracle] = {}

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        for slot, row in zip(slots.tolist(), rows, strict=True):
            self.oracles[slot] = Oracle(MODES[row.row % 4])

    def act(self, observations: Observation, slots: np.ndarray) -> np.ndarray:
        return np.stack([self.oracles[s].act(o) for s, o in zip(slots.tolist(), observations["state"], strict=True)])

    def record(self, slots: np.ndarray, rewards: np.ndarray) -> None:
        pass


def rollouts(episodes: int) -> list[EpisodeRecord]:
    family = BlockPush()
    plan = EpisodePlan.build(episodes, seed=0)
    return RolloutRunner(family, Scripted, num_slots=8, progress=False).run(plan)


def judge(records: list[EpisodeRecord]) -> None:
    found = {row.metric: row.value for row in summarise(records, known_modes=MODES)}
    assert found["event:R1"] == found["event:R2"] == 1.0
    assert found["event:P1"] >= found["event:P2"] >= 0.95
    assert found["success"] == found["event:success"] >= 0.95
    assert found["mode_coverage"] == 1.0
    assert all(found[f"mode:{mode}"] > 0.2 for mode in MODES)
    assert found["event:first:red"] == pytest.approx(0.5, abs=0.1)
    for record in records:
        names = {name for _, name in record.events}
        assert bool(record.success) == record.terminated == ("success" in names)
        if record.success and sum(name.startswith("entered:") for name in names) == 2:
            assert record.episode_return == pytest.approx(1.0)
        assert record.length <= 300


def test_the_expert_reaches_both_zones_in_all_four_ways() -> None:
    judge(rollouts(24))


@pytest.mark.slow
def test_the_expert_reaches_both_zones_over_200_seeds() -> None:
    records = rollouts(200)
    judge(records)
    assert sum(bool(r.success) for r in records) >= 198
    assert sum(mode_of(r) == MODES[r.row % 4] for r in records) >= 196


def test_balanced_demonstrations_have_published_statistics() -> None:
    episodes = list(BlockPush().generate(40, seed=0))
    lengths = np.array([len(e) for e in episodes])
    actions = np.concatenate([e.values["action"] for e in episodes])
    assert Counter(e.meta["mode"] for e in episodes) == dict.fromkeys(MODES, 10)
    assert lengths.min() >= 78
    assert lengths.max() <= 210
    assert lengths.mean() == pytest.approx(118, abs=12)
    np.testing.assert_allclose(actions.std(0), (0.0094, 0.0171), rtol=0.08)
    assert np.linalg.norm(actions, axis=1).max() == pytest.approx(0.030, abs=1e-6)
    for episode in episodes:
        assert episode.terminated
        assert episode.values["reward"].sum() == pytest.approx(1.0)
        assert episode.values["reward"][-1] == pytest.approx(0.51)
        last = episode.final["state"]
        blocks, zones = last[[0, 1, 3, 4]].reshape(2, 2), last[[10, 11, 13, 14]].reshape(2, 2)
        straight = episode.meta["mode"] in (MODES[0], MODES[3])
        assert (np.linalg.norm(blocks - (zones if straight else zones[::-1]), axis=1) < 0.05).all()


def test_sampled_modes_are_drawn_per_episode() -> None:
    family = BlockPush()
    modes = [e.meta["mode"] for e in family.generate(12, seed=1, modes="sampled")]
    assert modes != [MODES[i % 4] for i in range(12)]
    assert len(set(modes)) >= 3
    assert [e.meta["mode"] for e in family.generate(3, seed=1, modes="sampled")] == modes[:3]


@pytest.mark.parametrize("noise", [0.002, 0.005])
def test_noise_scatters_the_course_and_keeps_the_expert_successful(noise: float) -> None:
    family = BlockPush()
    calm, noisy = (list(family.generate(8, seed=2, action_noise=n)) for n in (0.0, noise))
    assert [e.meta["mode"] for e in noisy] == [e.meta["mode"] for e in calm]
    assert max(map(len, noisy)) <= 210
    jerks = [np.diff(np.concatenate([e.values["action"] for e in es]), axis=0) for es in (calm, noisy)]
    assert np.median(np.abs(jerks[1])) > 3 * np.median(np.abs(jerks[0]))
    assert max(np.linalg.norm(e.values["action"], axis=1).max() for e in noisy) <= 0.035 + 1e-6


def test_demonstrations_are_cut_at_the_longest_allowed() -> None:
    episodes = list(BlockPush().generate(6, seed=0, max_length=110))
    assert max(map(len, episodes)) <= 110
    with pytest.raises(EnvError, match="100 attempts"):
        next(BlockPush().generate(1, seed=0, max_length=5))


def test_the_expert_moves_to_the_far_side_of_its_block_first() -> None:
    state = np.zeros(16, np.float32)
    state[0:2], state[3:5] = (0.35, -0.2), (0.47, -0.2)
    state[6:8] = state[8:10] = (0.3, -0.4)
    state[10:12], state[13:15] = (0.52, 0.2), (0.28, 0.2)
    for mode, block, zone in zip(MODES, (0, 0, 3, 3), (10, 13, 10, 13), strict=True):
        ahead = state[zone : zone + 2] - state[block : block + 2]
        goal = state[block : block + 2] - 0.05 * ahead / np.linalg.norm(ahead) - state[8:10]
        action = Oracle(mode).act(state)
        np.testing.assert_allclose(action, 0.03 * goal / np.linalg.norm(goal), atol=1e-6)


def test_mistakes_name_the_valid_values() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'red-red>green-green'"):
        Oracle("red-red>green-gren")
    with pytest.raises(ConfigError, match="rng="):
        Oracle(MODES[0], noise=0.1)
    with pytest.raises(ConfigError, match="modes must be"):
        next(BlockPush().generate(1, 0, modes="even"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="action_noise"):
        next(BlockPush().generate(1, 0, action_noise=-1.0))
    with pytest.raises(TypeError):
        next(BlockPush().generate(1, 0, noise=0.1))  # type: ignore[call-arg]
