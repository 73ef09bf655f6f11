import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.worlds import SPEC, episodes

from maskbench.data.returns import add_return
from maskbench.data.store import EpisodeStore
from maskbench.errors import DataError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

REWARD = TrajectorySpec((Factor("reward", "continuous", "reward", (1,)),))


def with_rewards(*rewards):
    return EpisodeStore.from_episodes(REWARD, [Episode({"reward": np.array(r, np.float32)[:, None]}) for r in rewards])


def test_return_to_go_counts_the_reward_of_its_own_row():
    store = add_return(with_rewards([1, 2, 3], [10], [0, -1]))
    assert store.spec["rtg"] == Factor("rtg", "continuous", "return", (1,))
    assert store.array("rtg")[:, 0].tolist() == [6, 5, 3, 10, -1, -1]


def test_mean_divides_by_the_steps_that_remain():
    assert add_return(with_rewards([1, 2, 6], [10]), mode="mean").array("rtg")[:, 0].tolist() == [3, 4, 6, 10]


def test_mean_over_a_horizon_counts_an_early_end_as_no_reward():
    found = add_return(with_rewards([1, 2, 6]), mode="mean", horizon=10).array("rtg")[:, 0]
    np.testing.assert_allclose(found, [9 / 10, 8 / 9, 6 / 8])


def test_mtms_returns_leave_out_the_present_reward_and_divide_by_what_is_left_of_1000_steps():
    """MTM's D4RL data, written out: zero-padded to the horizon, the sum of what follows over 1000 - t (unimask.md 6.3)."""
    rewards = [[1.0, 2.0, 6.0], [4.0, -1.0]]
    found = add_return(with_rewards(*rewards), mode="mean", horizon=1000, current=False).array("rtg")[:, 0]
    expected = []
    for episode in rewards:
        padded = np.zeros(1000)
        padded[: len(episode)] = episode
        expected += [padded[t + 1 :].sum() / (1000 - t) for t in range(len(episode))]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_mtms_adroit_returns_count_the_present_reward():
    found = add_return(with_rewards([0, 1, 1, 0]), mode="mean").array("rtg")[:, 0]
    np.testing.assert_allclose(found, [2 / 4, 2 / 3, 1 / 2, 0])


def test_time_is_divided_by_1000_whatever_the_horizon():
    found = add_return(with_rewards([1, 1], [4, 4]), scale=2, with_time=True).array("rtg")
    np.testing.assert_allclose(found, [[1, 0], [0.5, 0.001], [4, 0], [2, 0.001]])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(-1000, 1000), min_size=1, max_size=20), min_size=1, max_size=8))
def test_the_vectorised_sum_equals_the_plain_loop(rewards):
    expected = [sum(r[t:]) for r in rewards for t in range(len(r))]
    assert add_return(with_rewards(*rewards)).array("rtg")[:, 0].tolist() == expected


def test_discrete_rewards_are_shifted_back():
    spec = TrajectorySpec((Factor("reward", "discrete", "reward", classes=3, offset=1),))
    store = EpisodeStore.from_episodes(spec, [Episode({"reward": np.array([0, 1, 2, 2])})])
    assert add_return(store).array("rtg")[:, 0].tolist() == [1, 2, 2, 1]
    assert store.card.returns["mean"] == 1


def test_an_existing_return_is_kept_and_not_converted():
    spec = TrajectorySpec((*SPEC, Factor("rtg", "discrete", "return", classes=17, offset=6)))
    recorded = [Episode({**e.values, "rtg": np.arange(len(e))}) for e in episodes(4, 5)]
    store = EpisodeStore.from_episodes(spec, recorded)
    assert add_return(store) is store
    with pytest.raises(DataError, match="'rtg' with discrete class indices"):
        add_return(store, with_time=True)


def test_mistakes_are_named():
    with pytest.raises(DataError, match="no reward factor"):
        add_return(EpisodeStore.from_episodes(SPEC.select(["key"]), [Episode({"key": np.arange(3)})]))
    with pytest.raises(DataError, match="horizon is 2, but an episode has 3 steps"):
        add_return(with_rewards([1, 2, 3]), mode="mean", horizon=2)
    with pytest.raises(DataError, match="mode is 'median'"):
        add_return(with_rewards([1]), mode="median")
    with pytest.raises(DataError, match="expected > 0"):
        add_return(with_rewards([1]), scale=0)
