import dataclasses
import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.worlds import SPEC, episode, episodes

from maskbench.data import store as store_module
from maskbench.data.card import Card
from maskbench.data.store import EpisodeStore, write_store
from maskbench.errors import DataError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

ABOUT = {"name": "tiny", "env": "toy", "origin": "generated", "command": "make", "licence": "MIT", "provenance": "here"}


def written(path, recorded, **about):
    return write_store(path, SPEC, recorded, **{**ABOUT, **about})


@pytest.mark.parametrize("place", ["auto", "ram", "mmap"])
def test_reading_gives_back_what_was_written(tmp_path, place):
    recorded = episodes(5, 1, 7)
    written(tmp_path / "s", recorded)
    store = EpisodeStore.open(tmp_path / "s", place)
    assert store.spec == SPEC
    assert (store.num_episodes, store.num_steps, store.lengths.tolist()) == (3, 13, [5, 1, 7])
    for i, expected in enumerate(recorded):
        found = store.episode(i)
        for name, values in expected.values.items():
            np.testing.assert_array_equal(found.values[name], values)
        for name, value in expected.final.items():
            np.testing.assert_array_equal(found.final[name], value)
        assert (found.terminated, found.meta) == (expected.terminated, expected.meta)
    store.verify()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_store_on_disk_and_one_in_memory_have_the_same_content_hash(tmp_path_factory, lengths):
    on_disk = written(tmp_path_factory.mktemp("s") / "s", episodes(*lengths))
    in_memory = EpisodeStore.from_episodes(SPEC, episodes(*lengths))
    assert on_disk.card.content_hash == in_memory.card.content_hash
    assert on_disk.card.statistics == in_memory.card.statistics
    for name in SPEC.names:
        np.testing.assert_array_equal(on_disk.array(name), in_memory.array(name))


def test_one_changed_value_changes_the_content_hash():
    changed = episodes(4, 4)
    changed[1].values["action"][2] ^= 1
    assert (
        EpisodeStore.from_episodes(SPEC, changed).card.content_hash
        != EpisodeStore.from_episodes(SPEC, episodes(4, 4)).card.content_hash
    )


def test_many_chunks_give_the_same_files_as_one(tmp_path, monkeypatch):
    whole = written(tmp_path / "whole", episodes(*range(1, 20)))
    chunked = store_module.checked_chunks
    monkeypatch.setattr(store_module, "checked_chunks", partial(chunked, chunk_bytes=500))
    assert written(tmp_path / "pieces", episodes(*range(1, 20))).card.hashes == whole.card.hashes


def test_a_generator_may_reuse_its_arrays(tmp_path):
    def reusing():
        buffers = {n: v.copy() for n, v in episode(0, 4).values.items()}
        for i in range(3):
            for name, values in episode(i, 4).values.items():
                buffers[name][:] = values
            yield Episode(buffers)

    np.testing.assert_array_equal(
        EpisodeStore.from_episodes(SPEC, reusing()).array("key"), [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    )


def test_the_card_describes_the_data_and_survives_json(tmp_path):
    card = written(tmp_path / "s", episodes(4, 6), versions={"x": "1"}).card
    assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card
    state = np.concatenate([e.values["state"] for e in episodes(4, 6)])
    np.testing.assert_allclose(card.statistics["state"]["mean"], state.mean(0), rtol=1e-6)
    np.testing.assert_allclose(card.statistics["state"]["std"], state.std(0), rtol=1e-6)
    assert card.statistics["state"]["max"] == state.max(0).tolist()
    assert sum(card.statistics["action"]["counts"]) == 10
    assert len(card.statistics["action"]["counts"]) == 4
    returns = [float(e.values["reward"].sum()) for e in episodes(4, 6)]
    assert card.returns == {"mean": np.mean(returns), "std": np.std(returns), "min": min(returns), "max": max(returns)}
    assert (card.versions, card.episodes, card.steps, card.origin) == ({"x": "1"}, 2, 10, "generated")


def test_wide_factors_get_one_number_each():
    spec = TrajectorySpec((Factor("image", "image", "state", (5, 5, 3)),))
    store = EpisodeStore.from_episodes(spec, [Episode({"image": np.full((4, 5, 5, 3), 9, np.uint8)})])
    assert store.array("image").dtype == np.uint8
    assert store.card.statistics["image"] == {"mean": [9.0], "std": [0.0], "min": [9.0], "max": [9.0]}


def test_final_states_are_kept_only_where_all_episodes_have_them(tmp_path):
    store = written(tmp_path / "s", [episode(0, 3), episode(1, 3, final=False)])
    assert not list((tmp_path / "s").glob("final.*"))
    with pytest.raises(DataError, match="no final values of 'state'"):
        store.final("state")


def broken(change):
    recorded = episodes(4, 5, 6)
    change(recorded[1].values)
    return recorded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["state"].__setitem__((3, 2), np.nan), r"'state', episode 1, row 3: found nan"),
        (lambda v: v["physics"].__setitem__((2, 0), np.inf), r"'physics', episode 1, row 2: found inf"),
        (lambda v: v["action"].__setitem__(4, 4), r"'action', episode 1, row 4: found 4, expected a class in 0\.\.3"),
        (lambda v: v["action"].__setitem__(0, -1), r"'action', episode 1, row 0: found -1"),
        (lambda v: v.update(state=np.full((5, 3), 1e300)), r"'state', episode 1, row 0: found inf"),
        (lambda v: v.update(action=np.zeros(5)), r"episode 1, factor 'action': found dtype float64"),
        (lambda v: v.update(state=np.zeros((5, 2))), r"episode 1, factor 'state': found shape \(5, 2\), expected \(5, 3\)"),
        (lambda v: v.update(reward=np.zeros((4, 1))), r"episode 1, factor 'reward': found shape \(4, 1\), expected \(5, 1\)"),
        (lambda v: v.pop("key"), r"episode 1 lacks the factors \['key'\]"),
        (lambda v: v.update(akey=np.zeros(5)), r"episode 1 has a factor 'akey'.*Did you mean 'key'"),
        (lambda v: v.update({n: x[:0] for n, x in v.items()}), r"episode 1 is empty"),
    ],
)
def test_bad_data_are_refused_with_episode_and_row_and_leave_nothing(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        written(tmp_path / "s", broken(change))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=message):
        EpisodeStore.from_episodes(SPEC, broken(change))


def test_bad_final_states_and_no_episodes_are_refused(tmp_path):
    bad = dataclasses.replace(episode(0, 3), final={"state": np.array([0, np.nan, 0])})
    with pytest.raises(DataError, match="'state', episode 0"):
        written(tmp_path / "s", [bad])
    with pytest.raises(DataError, match="at least one episode"):
        written(tmp_path / "s", [])


def test_an_interruption_leaves_nothing(tmp_path):
    def interrupted():
        yield episode(0, 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(tmp_path / "s", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_store_is_never_overwritten(tmp_path):
    written(tmp_path / "s", episodes(3))
    with pytest.raises(DataError, match="already exists"):
        written(tmp_path / "s", episodes(4))
    assert EpisodeStore.open(tmp_path / "s").num_steps == 3


def test_of_two_writers_the_first_to_finish_wins(tmp_path):
    def overtaken():
        written(tmp_path / "s", episodes(3))
        yield from episodes(4)

    assert written(tmp_path / "s", overtaken(), keep_existing=True).num_steps == 3
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("place", ["ram", "mmap"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: (s / "state.npy").write_bytes((s / "state.npy").read_bytes()[:-8]), r"state\.npy is truncated"),
        (lambda s: (s / "state.npy").unlink(), r"state\.npy is missing; expected float32 \(9, 3\)"),
        (lambda s: np.save(s / "key.npy", np.zeros(9)), r"key\.npy holds float64 \(9,\); expected int64 \(9,\)"),
        (lambda s: np.save(s / "ends.npy", np.array([9, 4])), r"ends\.npy must increase"),
        (lambda s: (s / "meta.jsonl").write_text("{}\n"), r"meta\.jsonl has 1 lines; expected 2"),
        (lambda s: (s / "card.json").write_text("{"), r"card\.json is unreadable"),
        (lambda s: (s / "card.json").unlink(), "has no card.json"),
        (lambda s: np.save(s / "key.npy", np.array([{}] * 9), allow_pickle=True), r"key\.npy is truncated or no array"),
    ],
)
def test_a_damaged_store_is_refused_naming_the_file(tmp_path, damage, message, place):
    written(tmp_path / "s", episodes(4, 5))
    damage(tmp_path / "s")
    with pytest.raises(DataError, match=message):
        EpisodeStore.open(tmp_path / "s", place)


def test_verify_finds_a_silently_changed_file(tmp_path):
    store = written(tmp_path / "s", episodes(4, 5))
    actions = np.load(tmp_path / "s" / "action.npy")
    np.save(tmp_path / "s" / "action.npy", (actions + 1) % 4)
    EpisodeStore.open(tmp_path / "s")
    with pytest.raises(DataError, match=r"action\.npy was changed"):
        store.verify()


def test_verify_scans_values_in_memory():
    store = EpisodeStore.from_episodes(SPEC, episodes(4, 5))
    store.array("state")[6, 1] = np.nan
    with pytest.raises(DataError, match="'state', episode 1, row 2"):
        store.verify()


def test_mapped_arrays_never_write_to_the_file(tmp_path):
    written(tmp_path / "s", episodes(4))
    EpisodeStore.open(tmp_path / "s", "mmap").array("state")[:] = 0
    EpisodeStore.open(tmp_path / "s").verify()


def test_a_factor_can_be_added_in_memory():
    store = EpisodeStore.from_episodes(SPEC, episodes(4, 5))
    goal = Factor("goal", "continuous", "goal", (2,))
    more = store.with_factor(goal, np.ones((9, 2), np.float32))
    assert more.spec.names == (*SPEC.names, "goal")
    assert more.episode(1).values["goal"].shape == (5, 2)
    assert "goal" not in store.spec
    with pytest.raises(DataError, match=r"needs float32 \(9, 2\)"):
        store.with_factor(goal, np.ones((8, 2), np.float32))
