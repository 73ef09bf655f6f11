from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.worlds import SPEC, episodes

from maskbench.data.normalise import Normaliser
from maskbench.data.store import EpisodeStore, write_store
from maskbench.data.windows import WindowSampler
from maskbench.errors import ConfigError, DataError
from maskbench.masking.causal import CausalMask
from maskbench.models.decoder import Decoder
from maskbench.models.heads import build_heads
from maskbench.tokens.layout import build_layout


def sampler(lengths, length=4, batch_size=8, seed=0, **options):
    return WindowSampler(EpisodeStore.from_episodes(SPEC, episodes(*lengths)), length, batch_size, seed, **options)


def sources(window):
    """``(episode, start)`` of each row, read from the values themselves."""
    return [(int(s[0, 1]), int(s[0, 2])) for s in window.values["state"]]


def same(a, b):
    return all(torch.equal(a.values[n], b.values[n]) for n in a.values) and torch.equal(a.start, b.start)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    length=st.integers(1, 9),
    by=st.sampled_from(["window", "episode", "length"]),
    step=st.integers(0, 10**12),
)
def test_every_window_equals_the_slice_of_its_episode(lengths, length, by, step):
    recorded = episodes(*lengths)
    window = sampler(lengths, length, 16, by=by).batch(step)
    assert window.values["state"].shape == (16, length, 3)
    for row, (index, start) in enumerate(sources(window)):
        real = min(length, lengths[index])
        assert window.start[row] == start
        assert start + real <= lengths[index]
        if window.valid is None:
            assert real == length
        else:
            assert window.valid[row].tolist() == [True] * real + [False] * (length - real)
        for name in ("state", "key", "action"):
            expected = recorded[index].values[name][start : start + real]
            np.testing.assert_array_equal(window.values[name][row, :real].numpy(), expected)
            assert not window.values[name][row, real:].any()


def test_by_default_the_model_sees_states_and_actions_in_model_types():
    window = sampler([6, 7]).batch(0)
    assert {n: v.dtype for n, v in window.values.items()} == {"state": torch.float32, "key": torch.int64, "action": torch.int64}
    assert (window.batch, window.length, window.valid) == (8, 4, None)


def test_a_batch_depends_on_seed_and_step_only():
    first, again = sampler([9, 9, 9]), sampler([9, 9, 9])
    later = first.batch(3)
    for step in range(3):
        again.batch(step)
    assert same(later, again.batch(3))
    assert not same(later, first.batch(4))
    assert not same(later, sampler([9, 9, 9], seed=1).batch(3))
    assert same(later, sampler([9, 9, 9], seed=0).batch(3))


def test_an_epoch_shows_every_window_once_and_can_be_entered_midway():
    drawn = sampler([9, 3, 7], batch_size=4)
    assert (drawn.num_windows, drawn.steps_per_epoch) == (6 + 1 + 4, 3)
    batches = list(drawn.epoch_batches(2))
    assert [b.batch for b in batches] == [4, 4, 3]
    seen = [s for b in batches for s in sources(b)]
    assert sorted(seen) == [(0, t) for t in range(6)] + [(1, 0)] + [(2, t) for t in range(4)]
    assert same(next(drawn.epoch_batches(2, first_step=1)), batches[1])
    assert [s for b in drawn.epoch_batches(3) for s in sources(b)] != seen


def test_legacy_slicing_drops_the_last_window_of_each_episode():
    assert {s for w in sampler([6, 4, 7], legacy_slicing=True).all_windows() for s in sources(w)} == {
        (0, 0), (0, 1), (2, 0), (2, 1), (2, 2),
    }  # fmt: skip
    assert sampler([6, 4, 7]).num_windows == 3 + 1 + 4


def test_beginnings_make_first_timesteps_part_of_as_many_windows_as_later_ones():
    drawn = sampler([6, 2], beginnings=True)
    (window,) = drawn.epoch_batches(0)
    assert drawn.num_windows == (3 + 3) + (1 + 1)
    assert window.valid is not None
    seen = [
        (e, t)
        for (e, start), valid in zip(sources(window), window.valid, strict=True)
        for t in range(start, start + int(valid.sum()))
    ]
    assert [seen.count((0, t)) for t in range(6)] == [4, 4, 4, 3, 2, 1]
    assert [seen.count((1, t)) for t in range(2)] == [2, 1]
    assert bool((window.valid[:, :-1] >= window.valid[:, 1:]).all())
    assert next(iter(drawn.all_windows())).batch == 3 + 1  # evaluation keeps to whole windows


def test_what_follows_a_beginning_reaches_no_prediction():
    layout = build_layout(SPEC, 4)
    torch.manual_seed(0)
    model = Decoder(layout, build_heads(SPEC.select(["action"]), 16, {}), n_layer=1, n_head=2, n_embd=16, dropout=0.0).eval()
    window = next(sampler([6], beginnings=True).epoch_batches(0))
    masks = CausalMask().sample(torch.Generator().manual_seed(0), window.batch, layout).within(window)
    changed = {n: torch.where(window.valid.view(-1, 4, *(1,) * (v.dim() - 2)), v, 0) for n, v in window.values.items()}
    before, after = (model(replace(window, values=v), masks)["action"] for v in (window.values, changed))
    torch.testing.assert_close(before[window.valid], after[window.valid])
    assert not (masks.predict & ~window.valid[..., None]).any()


def test_short_episodes_are_padded_skipped_or_refused():
    assert [sources(w) for w in sampler([2, 5], short="pad").all_windows()] == [[(0, 0), (1, 0), (1, 1)]]
    skipped = sampler([2, 5], short="skip")
    assert [sources(w) for w in skipped.all_windows()] == [[(1, 0), (1, 1)]]
    assert skipped.batch(0).valid is None
    with pytest.raises(DataError, match=r"1 of 2 episodes are shorter than the window of 4 steps.*number 0.* has 2"):
        sampler([2, 5], short="error")
    with pytest.raises(DataError, match="no window of 4 steps is left in 2 episodes of at most 3 steps"):
        sampler([2, 3], short="skip")


def test_padding_stays_zero_in_model_units():
    store = EpisodeStore.from_episodes(SPEC, episodes(2, 6))
    normaliser = Normaliser.fit(store, {"state": "standard"})
    window = next(WindowSampler(store, 4, 8, 0, normaliser=normaliser).all_windows())
    assert not window.values["state"][0, 2:].any()
    torch.testing.assert_close(
        window.values["state"][1], normaliser.apply("state", torch.from_numpy(store.array("state")[2:6]))
    )


@pytest.mark.parametrize(
    ("by", "expected"),
    [("window", [1 / 8, 7 / 8]), ("episode", [1 / 2, 1 / 2]), ("length", [4 / 14, 10 / 14])],
)
def test_what_is_drawn_equally_often(by, expected):
    drawn = sampler([4, 10], batch_size=20000, by=by).batch(0)
    index = np.array([e for e, _ in sources(drawn)])
    np.testing.assert_allclose(np.bincount(index) / 20000, expected, atol=0.015)
    starts = drawn.start.numpy()[index == 1]
    np.testing.assert_allclose(np.bincount(starts) / len(starts), np.full(7, 1 / 7), atol=0.015)


def test_only_the_chosen_episodes_are_drawn():
    drawn = sampler([5, 6, 7, 8], batch_size=64, episodes=np.array([3, 1]))
    assert {e for e, _ in sources(drawn.batch(0))} == {1, 3}
    assert drawn.num_windows == 3 + 5


def test_parts_and_order_of_factors_are_the_models_choice():
    drawn = sampler([9, 9], factors=["action", "state.velocity", "state.height", "reward"])
    window, whole = drawn.batch(5), sampler([9, 9]).batch(5)
    assert drawn.spec.names == tuple(window.values) == ("action", "state.velocity", "state.height", "reward")
    assert torch.equal(window.values["state.velocity"], whole.values["state"][..., 1:3])
    assert torch.equal(window.values["state.height"], whole.values["state"][..., :1])
    with pytest.raises(DataError, match="Did you mean 'action'"):
        sampler([9], factors=["actoin"])


def test_fixed_windows_are_distinct_and_depend_on_their_own_seed_only():
    drawn = sampler([9, 9, 9], by="length")
    fixed = drawn.fixed(10, seed=4)
    assert len(set(sources(fixed))) == 10
    assert same(fixed, sampler([9, 9, 9], by="length", seed=77, batch_size=3).fixed(10, seed=4))
    assert not same(fixed, drawn.fixed(10, seed=5))
    assert sorted(sources(drawn.fixed(1000, seed=0))) == [(e, t) for e in range(3) for t in range(6)]


def test_stride_spaces_the_starts():
    assert [sources(w) for w in sampler([9, 8]).all_windows(stride=4)] == [[(0, 0), (0, 4), (1, 0), (1, 4)]]
    assert sampler([9, 8], stride=4).num_windows == 4


@pytest.mark.parametrize("factors", [None, ["state.velocity", "action", "physics"]])
def test_a_mapped_store_gives_the_same_batches(tmp_path, factors):
    about = {"name": "s", "env": "e", "origin": "generated"}
    mapped = write_store(tmp_path / "s", SPEC, episodes(9, 8, 9), **about, place="mmap")
    normaliser = Normaliser.fit(mapped, {"state": "standard"})
    options = {"episodes": [0, 2], "normaliser": normaliser, "factors": factors}
    on_disk = WindowSampler(mapped, 4, 8, 0, **options)
    in_memory = WindowSampler(EpisodeStore.open(tmp_path / "s", "ram"), 4, 8, 0, **options)
    found, expected = on_disk.batch(1), in_memory.batch(1)
    for name, values in expected.values.items():
        torch.testing.assert_close(found.values[name], values)
        assert found.values[name].dtype == values.dtype


def test_writing_to_a_batch_leaves_the_data_alone():
    drawn = sampler([9])
    drawn.batch(0).values["state"].zero_()
    assert drawn.batch(0).values["state"].any()


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="Did you mean 'episode'"):
        sampler([9], by="episodes")
    with pytest.raises(ConfigError, match="must be positive; found 0"):
        sampler([9], length=0)
    with pytest.raises(DataError, match=r"episodes 0\.\.0; found 4"):
        sampler([9], episodes=[4])


def test_another_seed_draws_from_the_same_memory_what_a_sampler_of_its_own_would():
    one, other = sampler([9, 9, 9], seed=1), sampler([9, 9, 9], seed=2)
    twin = one.with_seed(2)
    assert all(same(twin.batch(step), other.batch(step)) for step in range(3))
    assert not same(one.batch(0), twin.batch(0))
    assert all(twin._views[n] is one._views[n] for n in one._views)
