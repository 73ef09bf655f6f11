"""Windows of objects: read from disk batch by batch, as long as needed, with final states and other slot orders where asked."""

import numpy as np
import pytest
import torch

from maskbench.data.store import EpisodeStore, write_store
from maskbench.data.windows import WindowSampler
from maskbench.errors import ConfigError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

SPEC = TrajectorySpec((Factor("objects", "objects", "state", (2, 3, 5)), Factor("action", "continuous", "action", (1,))))


def episodes(*lengths: int):
    for e, n in enumerate(lengths):
        cells = np.arange(n + 1)[:, None, None, None] + np.arange(3)[:, None] * 20 + np.zeros((1, 2, 3, 5), int) + 100 * e
        actions = np.arange(n, dtype=np.float32)[:, None] + 10 * e
        yield Episode({"objects": cells[:-1].astype(np.uint8), "action": actions}, {"objects": cells[-1].astype(np.uint8)})


@pytest.fixture(params=["ram", "mmap"])
def store(request, tmp_path) -> EpisodeStore:
    made = write_store(tmp_path / "s", SPEC, episodes(1, 3, 2), name="s", env="", origin="imported", place=request.param)
    assert made.place == request.param
    return made


def test_batches_end_with_their_longest_episode_and_stay_bytes(store):
    sampler = WindowSampler(store, 5, 4, 0)
    window = sampler.fixed(10, 0)
    assert window.length == 3
    assert window.values["objects"].dtype == torch.uint8
    assert sorted(window.valid.sum(1).tolist()) == [1, 2, 3]
    for row in range(3):
        n = int(window.valid[row].sum())
        e = int(window.values["action"][row, 0, 0]) // 10
        assert window.values["objects"][row, :n, 0, 0, 0].tolist() == [100 * e + t for t in range(n)]
        assert not window.values["objects"][row, n:].any()


def test_final_states_are_one_more_timestep_without_an_action(store):
    window = WindowSampler(store, 5, 4, 0, final=True).fixed(10, 0)
    assert sorted(window.valid.sum(1).tolist()) == [2, 3, 4]
    for row in range(3):
        last = int(window.valid[row].sum()) - 1
        assert window.known[row, last].tolist() == [True, False]
        assert window.known[row, :last].all()
        clock = window.values["objects"][row, :, 0, 0, 0].tolist()
        assert clock[last] == clock[0] + last


def test_long_episodes_are_cut_into_windows(store):
    window = WindowSampler(store, 2, 4, 0).fixed(10, 0)
    assert sorted(window.start.tolist()) == [0, 0, 0, 1]


def test_batches_are_functions_of_seed_and_step(store):
    one, other = WindowSampler(store, 3, 4, 5, shuffle_slots="episode"), WindowSampler(store, 3, 4, 5, shuffle_slots="episode")
    other.batch(0)
    assert torch.equal(one.batch(7).values["objects"], other.batch(7).values["objects"])
    assert not torch.equal(one.with_seed(6).batch(7).values["objects"], other.batch(7).values["objects"])


@pytest.mark.parametrize("every", ["episode", "observation"])
def test_slots_change_places_alike_in_all_views(store, every):
    sampler = WindowSampler(store, 3, 64, 0, shuffle_slots=every)
    window = sampler.batch(0)
    ids = window.values["objects"][..., 0].long() % 100 // 20  # (B, T, V, n)
    long = window.valid.all(1)
    ids = ids[long]
    assert torch.equal(ids.sort(-1).values, torch.arange(3).expand_as(ids))
    assert torch.equal(ids[:, :, 0], ids[:, :, 1])
    assert bool((ids[:, 0] == ids[:, 1]).all()) is (every == "episode")


def test_prompts_come_with_their_episodes(store):
    class Said:
        def __init__(self, episodes: np.ndarray) -> None:
            self.episodes = episodes

        def to(self, device: torch.device) -> "Said":
            return self

    sampler = WindowSampler(store, 3, 8, 0, episodes=[2, 1], prompts=lambda chosen, random: Said(chosen))
    window = sampler.batch(0)
    expected = window.values["action"][:, 0, 0].long() // 10
    assert window.prompt.episodes.tolist() == expected.tolist()


def test_what_pictures_cannot_do_is_refused(store):
    with pytest.raises(ConfigError, match="without goals"):
        WindowSampler(store, 3, 4, 0, goal_frames=1)
    with pytest.raises(ConfigError, match="without pictures"):
        WindowSampler(store, 3, 4, 0, beginnings=True)
