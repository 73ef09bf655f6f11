"""Goals in hindsight lie later in the same episode, in front of the window, and are a function of seed and step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskbench.data.goals import add_goals
from maskbench.data.store import EpisodeStore
from maskbench.data.windows import WindowSampler
from maskbench.errors import ConfigError, DataError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

SPEC = TrajectorySpec((Factor("state", "continuous", "state", (2,)), Factor("action", "continuous", "action", (1,))))


def store(lengths: tuple[int, ...] = (6, 9, 4), final: bool = True) -> EpisodeStore:
    """States are (episode, timestep)."""

    def episode(e: int, n: int) -> Episode:
        state = np.stack([np.full(n + 1, e), np.arange(n + 1)], 1).astype(np.float32)
        values = {"state": state[:-1], "action": np.ones((n, 1), np.float32)}
        return Episode(values, final={"state": state[-1]} if final else {})

    return EpisodeStore.from_episodes(SPEC, [episode(e, n) for e, n in enumerate(lengths)])


def sampler(frames: int = 2, drop: float = 0.0, **options) -> WindowSampler:
    return WindowSampler(store(), 3 + frames, 200, 0, goal_frames=frames, goal_drop=drop, **options)


@pytest.mark.parametrize("frames", [1, 2])
def test_goals_are_consecutive_later_states_of_the_same_episode(frames: int) -> None:
    window = sampler(frames).batch(0)
    goal, own = window.values["state"][:, :frames], window.values["state"][:, frames:]
    assert (goal[..., 0] == own[:, :1, 0]).all()
    assert (goal[:, 1:, 1] == goal[:, :-1, 1] + 1).all()
    length = torch.tensor([6, 9, 4])[own[:, 0, 0].long()]
    after = own[:, -1, 1] + 1
    assert (goal[:, 0, 1] >= torch.minimum(after, length + 1 - frames)).all()
    assert (goal[:, -1, 1] <= length).all()
    assert (goal[:, -1, 1] == length).any()  # the state after the last action is a goal too
    assert len(torch.unique(goal[(own[:, 0, 0] == 1) & (own[:, 0, 1] == 0)][:, 0, 1])) > 3


def test_no_action_belongs_to_a_goal_and_its_cells_are_not_asked() -> None:
    window = sampler().batch(0)
    assert window.length == 5
    assert window.known[:, :2].tolist() == [[[True, False]] * 2] * 200
    assert window.known[:, 2:].all()
    assert (window.values["action"][:, :2] == 0).all()
    assert (window.start == window.values["state"][:, 2, 1] - 2).all()


def test_a_share_of_the_windows_has_no_goal() -> None:
    window = sampler(drop=0.3).batch(0)
    shown = window.known[:, 0, 0]
    assert float(shown.float().mean()) == pytest.approx(0.7, abs=0.1)
    assert (window.values["state"][~shown, :2] == 0).all()


def test_goals_are_drawn_anew_each_step_and_again_for_the_same_step() -> None:
    a, b = sampler(), sampler()
    assert torch.equal(a.batch(3).values["state"], b.batch(3).values["state"])
    assert not torch.equal(a.batch(3).values["state"], a.batch(4).values["state"])
    first, again, other = (next(a.epoch_batches(e)).values["state"] for e in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first[:, :2].sort(0).values, other[:, :2].sort(0).values)
    assert torch.equal(a.fixed(5, 1).values["state"], a.fixed(5, 1).values["state"])


def test_goals_of_beginnings_may_be_the_very_next_states() -> None:
    window = sampler(1, beginnings=True).batch(0)
    assert window.valid is not None
    goal, last = window.values["state"][:, 0, 1], window.valid.sum(1) - 1
    own = window.values["state"][torch.arange(window.batch), last, 1]
    first = (last == 1) & (window.values["state"][:, 1, 1] == 0)
    assert (goal > own).all()
    assert (goal[first] == 1).any()


def test_goals_in_the_tokens_of_beginnings_may_be_the_very_next_states_too() -> None:
    window = WindowSampler(add_goals(store()), 3, 400, 0, hindsight="later", beginnings=True).batch(0)
    assert window.valid is not None
    goal, length = window.values["goal_state"][:, 0, 1], window.valid.sum(1)
    assert (goal >= window.values["state"][:, 0, 1] + length).all()
    assert (goal[length == 1] == 1).any()


def test_windows_of_short_episodes_are_padded_behind_their_goal() -> None:
    window = WindowSampler(store((2, 6)), 5, 50, 0, goal_frames=1, goal_drop=0.0).batch(0)
    short = window.values["state"][:, 1, 0] == 0
    assert window.valid[short].tolist()[0] == [True, True, True, False, False]
    assert (window.values["state"][short, 0, 1] == 2).all()


def test_without_goals_windows_are_what_they_were() -> None:
    plain, lead = WindowSampler(store(), 3, 50, 0), WindowSampler(store(), 4, 50, 0, goal_frames=1)
    assert torch.equal(plain.batch(7).values["state"], lead.batch(7).values["state"][:, 1:])
    assert plain.batch(7).known is None


def test_goals_longer_than_an_episode_are_refused() -> None:
    with pytest.raises(ConfigError, match="do not fit the shortest episode, of 4"):
        sampler(frames=5)


def test_windows_of_chunks_reach_beyond_the_end_and_ask_nothing_there() -> None:
    batches = list(WindowSampler(store(), 4, 100, 0, chunk=3).epoch_batches(0))
    assert sum(w.batch for w in batches) == sum(n + 2 - 4 + 1 for n in (6, 9, 4))
    window = batches[0]
    assert window.known[:, :2].all()
    assert window.known[:, 2:].tolist() == [[[True, False]] * 2] * window.batch
    episode, start = window.values["state"][:, 0, 0].long(), window.values["state"][:, 0, 1]
    left = torch.tensor([6, 9, 4])[episode] - start  # recorded steps from here on
    assert (window.valid.sum(1) == left.clamp(max=4)).all()
    assert (window.values["action"][:, :, 0].sum(1) == left.clamp(max=4)).all()  # zeros after the end
    assert int(left.min()) == 2  # the last step of an episode stands where chunks are asked


def test_goals_and_chunks_frame_the_history_together() -> None:
    window = WindowSampler(store(), 6, 50, 0, goal_frames=1, goal_drop=0.0, chunk=3).batch(0)
    assert window.known[0].tolist() == [[True, False], [True, True], [True, True], [True, True], [True, False], [True, False]]


def with_goals(mode: str, length: int, **options) -> WindowSampler:
    return WindowSampler(add_goals(store()), length, 300, 0, hindsight=mode, **options)


def asked(window) -> torch.Tensor:
    """``(B, T)`` bool: the timesteps whose action is asked."""
    return window.known[..., 1] if window.known is not None else torch.ones(window.values["action"].shape[:2], dtype=torch.bool)


def test_the_last_state_of_a_window_is_the_goal_of_the_steps_before_it() -> None:
    """MaskDP's Goal-GPT (spec 2.8): inputs are the first L - 1 states, the loss that of L - 1 actions."""
    window = with_goals("last", 4).batch(0)
    assert (window.values["goal_state"] == window.values["state"][:, -1:]).all()
    assert (asked(window) == torch.tensor([True, True, True, False])).all()


def test_a_random_later_state_of_a_window_is_the_goal_of_the_steps_before_it() -> None:
    window = with_goals("random", 4).batch(0)
    at = (window.values["goal_state"][:, 0, 1] - window.values["state"][:, 0, 1]).long()
    assert set(at.tolist()) == {1, 2, 3}
    assert torch.equal(asked(window), torch.arange(4) < at[:, None])


def test_single_states_share_the_distance_of_their_goal_within_a_batch() -> None:
    """MaskDP's Goal-MLP: one start and one goal of a window for the whole batch; an episode's end cuts it off."""
    sampler, seen = with_goals("ahead", 1, reach=4), set()
    for step in range(40):
        window = sampler.batch(step)
        own, goal = window.values["state"][:, 0], window.values["goal_state"][:, 0]
        assert (own[:, 0] == goal[:, 0]).all()
        last = torch.tensor([6, 9, 4])[own[:, 0].long()] - 1
        offset = goal[:, 1] - own[:, 1]
        distance = offset.max()
        assert torch.equal(offset, torch.minimum(distance, last - own[:, 1]))
        seen.add(int(distance))
    assert seen == {0, 1, 2, 3}


def test_goals_in_tokens_are_a_function_of_seed_and_step() -> None:
    first, again = (with_goals("random", 4).batch(7) for _ in range(2))
    assert torch.equal(first.values["goal_state"], again.values["goal_state"])
    assert not torch.equal(first.values["goal_state"], with_goals("random", 4).batch(8).values["goal_state"])


def test_goals_that_a_window_cannot_hold_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 timesteps"):
        with_goals("last", 1)
    with pytest.raises(ConfigError, match="windows of one timestep"):
        with_goals("ahead", 4)
    with pytest.raises(DataError, match="goal factors of its own"):
        add_goals(add_goals(store()))


def test_later_goals_lie_behind_the_window_in_its_own_episode() -> None:
    window = with_goals("later", 3).batch(0)
    state, goal = window.values["state"], window.values["goal_state"]
    assert (goal == goal[:, :1]).all()
    assert (goal[:, 0, 0] == state[:, 0, 0]).all()  # the same episode
    last = torch.tensor([6, 9, 4])[state[:, 0, 0].long()]  # the state after the last action
    nearest = state[:, -1, 1] + 1
    assert (goal[:, 0, 1] >= nearest).all()
    assert (goal[:, 0, 1] <= last).all()
    early = (state[:, 0, 0] == 1) & (state[:, 0, 1] == 0)
    assert set(goal[early, 0, 1].long().tolist()) == {3, 4, 5, 6, 7, 8, 9}
