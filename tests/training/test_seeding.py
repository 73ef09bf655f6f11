import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskbench.errors import ConfigError, DataError
from maskbench.training.seeding import (
    host_rng_state,
    preserved_host_rng,
    restore_host_rng,
    seed_everything,
    seed_torch,
    step_generator,
    step_seed,
)


def draw() -> tuple:
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(1).item()


def test_everything_repeats_after_seeding():
    seed_everything(3)
    first = draw()
    seed_everything(3)
    assert draw() == first
    with pytest.raises(ConfigError):
        seed_everything(-1)


@given(*[st.integers(0, 2**40)] * 3)
def test_streams_of_neighbouring_steps_ranks_and_seeds_differ(seed, step, rank):
    seeds = {step_seed(seed, step, rank), step_seed(seed + 1, step, rank), step_seed(seed, step + 1, rank)}
    seeds |= {step_seed(seed, step, rank + 1), step_seed(seed, step, rank, 1)}
    assert len(seeds) == 5
    assert all(0 <= s < 2**63 for s in seeds)


def test_step_seed_is_pinned():
    assert [step_seed(0, 0), step_seed(0, 1), step_seed(5, 0, 1)] == [
        1195769770526638388,
        7557061629226788251,
        2311263339184814289,
    ]


def test_step_generator_depends_on_its_numbers_only():
    a, b = (torch.rand(4, generator=step_generator(1, 2, 3)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, torch.rand(4, generator=step_generator(1, 3, 3)))


def test_torch_is_seeded_like_its_own_function():
    seed_torch(11, torch.device("cpu"))
    mine = torch.rand(3)
    torch.manual_seed(11)
    assert torch.equal(mine, torch.rand(3))


def test_host_states_survive_json_and_odd_gaussians():
    import json

    seed_everything(0)
    random.gauss(0, 1), np.random.randn()  # both generators now hold a spare normal number
    state = json.loads(json.dumps(host_rng_state()))
    first = draw()[:4]
    restore_host_rng(state)
    assert draw()[:4] == first
    with pytest.raises(DataError):
        restore_host_rng({"python": 3})


def test_preserved_generators_go_on_as_if_nothing_was_drawn():
    seed_everything(0)
    first = draw()[:4]
    seed_everything(0)
    with preserved_host_rng():
        draw()
    assert draw()[:4] == first
