"""Transitions are those of the recorded decisions, and only of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskbench.collect.replay import Replay
from maskbench.trajectory import Episode


def episode(index: int, steps: int, repeat: int) -> Episode:
    """State t is (index, t); the action of a decision is its number; the reward of step t is t."""
    t = np.arange(steps, dtype=np.float32)
    values = {
        "state": np.stack([np.full(steps, index, np.float32), t], 1),
        "action": (t // repeat)[:, None].astype(np.float32),
        "reward": t[:, None],
    }
    return Episode(values, {"state": np.array([index, steps], np.float32)})


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(4, 7), st.integers(1, 5), st.integers(1, 9))
def test_transitions_join_decisions_of_one_episode(repeat: int, nstep: int, decisions: int, capacity: int, added: int) -> None:
    steps = decisions * repeat
    replay = Replay(capacity, steps, 2, 1, repeat=repeat, nstep=nstep, gamma=0.9)
    for i in range(added):
        replay.add(episode(i, steps, repeat))
    assert len(replay) == min(capacity, added)
    batch = replay.sample(200, torch.Generator().manual_seed(0))
    index, t = batch.state[:, 0].numpy(), batch.state[:, 1].numpy().astype(int)
    assert set(index) <= set(range(max(0, added - capacity), added))
    assert (t % repeat == 0).all()
    np.testing.assert_array_equal(batch.action[:, 0], t // repeat)
    np.testing.assert_array_equal(batch.next_state[:, 0], index)
    np.testing.assert_array_equal(batch.next_state[:, 1], t + nstep * repeat)
    assert t.max() <= steps - nstep * repeat
    earned = [sum(0.9 ** (k // repeat) * (first + k) for k in range(nstep * repeat)) for first in t]
    np.testing.assert_allclose(batch.reward, earned, rtol=1e-5)
    assert batch.discount == pytest.approx(0.9**nstep)


def test_every_transition_is_drawn_equally_often() -> None:
    replay = Replay(4, 6, 2, 1, nstep=2)
    for i in range(3):
        replay.add(episode(i, 6, 1))
    batch = replay.sample(30_000, torch.Generator().manual_seed(0))
    counts = np.unique(batch.state.numpy(), axis=0, return_counts=True)[1]
    assert len(counts) == 3 * 5
    assert abs(counts / 2000 - 1).max() < 0.1
