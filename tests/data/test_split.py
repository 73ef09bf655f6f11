import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.data.split import split_episodes
from maskbench.errors import DataError


def test_without_a_seed_the_published_unimask_split_comes_out():
    split = split_episodes(2000, train=50, validation=1000)
    assert split.train.tolist() == list(range(50))
    assert split.validation.tolist() == list(range(1000, 2000))
    assert len(split.test) == 0


def test_fractions_round_down_and_the_rest_validates():
    split = split_episodes(566, train=0.95, validation=None, seed=3)
    assert (len(split.train), len(split.validation)) == (537, 29)


@given(st.integers(3, 60), st.integers(0, 10), st.integers(0, 10), st.one_of(st.none(), st.integers(0, 99)))
def test_parts_are_disjoint_and_the_same_each_time(n, validation, test, seed):
    if validation + test >= n:
        with pytest.raises(DataError):
            split_episodes(n, None, validation, test, seed)
        return
    first, again = (split_episodes(n, None, validation, test, seed) for _ in range(2))
    joined = np.concatenate([first.train, first.validation, first.test])
    assert sorted(joined) == list(range(n))
    assert (len(first.validation), len(first.test)) == (validation, test)
    np.testing.assert_array_equal(joined, np.concatenate([again.train, again.validation, again.test]))


def test_seeds_differ():
    assert split_episodes(100, 50, None, seed=1).train.tolist() != split_episodes(100, 50, None, seed=2).train.tolist()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": 8, "validation": 3}, r"asks for 11 episodes \(train 8, validation 3, test 0\); there are 10"),
        ({"train": None, "validation": None}, "only one part may take the rest"),
        ({"train": 1.5}, "train is 1.5"),
        ({"train": -1}, "train is -1"),
        ({"train": None, "validation": 10}, "left to train on"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(DataError, match=message):
        split_episodes(10, **sizes)
