import dataclasses
import sys
import types

import numpy as np
import pytest
import torch
from tests.data.worlds import SPEC, CountingEnv, episodes

from maskbench.data.dataset import environment_options, load_dataset
from maskbench.data.store import EpisodeStore, grow_store, write_store
from maskbench.errors import ConfigError, DataError
from maskbench.trajectory import Factor, TrajectorySpec

GENERATE = {"episodes": 10, "seed": 3}


def test_data_are_generated_once_and_again_only_for_other_arguments(tmp_path):
    env = CountingEnv()
    first = load_dataset(env, generate=GENERATE, root=tmp_path)
    again = load_dataset(env, generate=GENERATE, root=tmp_path)
    assert len(env.calls) == 1
    assert first.store.card.content_hash == again.store.card.content_hash
    load_dataset(env, generate={**GENERATE, "options": {"noise": 0.1}}, root=tmp_path)
    load_dataset(env, generate={**GENERATE, "seed": 4}, root=tmp_path)
    faster = CountingEnv(speed=2)
    load_dataset(faster, generate=GENERATE, root=tmp_path)
    assert (len(env.calls), len(faster.calls)) == (3, 1)
    assert len(list((tmp_path / "generated").iterdir())) == 4


def test_the_card_says_how_to_generate_the_data_again(tmp_path):
    card = load_dataset(CountingEnv(), generate=GENERATE | {"options": {"beta": 1.0}}, root=tmp_path).store.card
    assert card.command == (
        "python -m maskbench data generate env=counting dataset.generate.episodes=10 dataset.generate.seed=3 "
        "dataset.generate.options.beta=1.0"
    )
    assert (card.origin, card.env, card.episodes) == ("generated", "counting", 10)
    assert {"python", "numpy", "maskbench"} <= set(card.versions)


def test_split_returns_and_normaliser_are_applied(tmp_path):
    data = load_dataset(
        CountingEnv(),
        generate=GENERATE,
        split={"train": None, "validation": 3},
        returns={"scale": 2.0},
        normalise={"return": "standard"},
        root=tmp_path,
    )
    assert data.spec["rtg"].role == "return"
    assert (len(data.split.train), len(data.split.validation)) == (7, 3)
    train = torch.from_numpy(data.store.array("rtg")[data.store.rows(data.split.train)])
    torch.testing.assert_close(data.normaliser.apply("rtg", train).mean(0), torch.zeros(1), atol=1e-5, rtol=0)


def test_the_data_folder_comes_from_the_environment_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKBENCH_DATA", str(tmp_path / "elsewhere"))
    path = load_dataset(CountingEnv(), generate=GENERATE).store.path
    assert path.parent == tmp_path / "elsewhere" / "generated"


def test_an_interrupted_generation_goes_on_with_the_episodes_that_are_missing(tmp_path, monkeypatch):
    class Interrupted(CountingEnv):
        def generate(self, episodes, seed, **options):
            for i, found in enumerate(super().generate(episodes, seed, **options)):
                if len(self.calls) == 1 and i == 4:
                    raise KeyboardInterrupt
                yield found

    monkeypatch.setitem(grow_store.__kwdefaults__, "seconds", 0.0)
    env = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        load_dataset(env, generate=GENERATE, root=tmp_path)
    store = load_dataset(env, generate=GENERATE, root=tmp_path).store
    assert [numbers for numbers, *_ in env.calls] == [range(10), range(4, 10)]
    direct = EpisodeStore.from_episodes(SPEC, CountingEnv().generate(**GENERATE))
    assert store.card.content_hash == direct.card.content_hash


def test_a_store_is_opened_by_its_path_and_takes_the_environments_parts(tmp_path):
    bare = TrajectorySpec(tuple(dataclasses.replace(f, parts=()) for f in SPEC))
    write_store(tmp_path / "mine", bare, episodes(4, 5), name="mine", env="x", origin="imported")
    env = CountingEnv()
    data = load_dataset(env, path="mine", root=tmp_path)
    assert data.spec["state"].parts == SPEC["state"].parts
    assert env.calls == []


def test_differences_from_the_environment_are_all_named(tmp_path):
    other = TrajectorySpec(
        (
            Factor("state", "continuous", "state", (4,)),
            Factor("lock", "discrete", "state", classes=2),
            Factor("action", "discrete", "action", classes=3),
        )
    )
    write_store(tmp_path / "s", SPEC, episodes(4), name="mine", env="x", origin="imported")
    with pytest.raises(DataError) as error:
        load_dataset(CountingEnv(spec=other), path=tmp_path / "s", root=tmp_path)
    for difference in (
        "'lock' is missing",
        "'key' is unknown",
        "'state' is state continuous shape (3,), expected state continuous shape (4,)",
        "'action' is action discrete 4 classes, expected action discrete 3 classes",
    ):
        assert difference in str(error.value)


def test_files_are_imported_once_until_they_change(tmp_path, monkeypatch):
    reads = []

    class Importer:
        format = "of a lab"

        def read(self, path):
            reads.append(path)
            return types.SimpleNamespace(
                spec=SPEC,
                episodes=lambda: iter(episodes(4, 5)),
                count=2,
                licence="CC-BY",
                provenance="a lab",
                origin="published",
            )

    importers = types.SimpleNamespace(find_importer=lambda path, format: Importer())
    monkeypatch.setitem(sys.modules, "maskbench.data.importers", importers)
    source = tmp_path / "recording.bin"
    source.write_bytes(b"1")
    card = load_dataset(CountingEnv(), path=source, root=tmp_path).store.card
    load_dataset(CountingEnv(), path=source, root=tmp_path)
    assert len(reads) == 1
    assert (card.licence, card.provenance, card.origin, card.steps) == ("CC-BY", "a lab", "published", 9)
    source.write_bytes(b"22")
    load_dataset(CountingEnv(), path=source, root=tmp_path)
    assert len(reads) == 2


def test_mistakes_are_named(tmp_path):
    with pytest.raises(DataError, match="no data at"):
        load_dataset(CountingEnv(), path="nowhere", root=tmp_path)
    with pytest.raises(ConfigError, match=r"set generate\.episodes"):
        load_dataset(CountingEnv(), root=tmp_path)
    with pytest.raises(ConfigError, match=r"no key 'episode'.*'episodes'"):
        load_dataset(CountingEnv(), generate={"episode": 3}, root=tmp_path)


def test_an_environment_that_hides_its_arguments_is_refused():
    class Hiding:
        def __init__(self, speed):
            pass

    with pytest.raises(DataError, match=r"Keep it as self\.speed"):
        environment_options(Hiding(1))
    assert environment_options(CountingEnv(speed=5))["speed"] == 5


def test_a_generated_store_reads_back_equal(tmp_path):
    store = load_dataset(CountingEnv(), generate=GENERATE, place="mmap", root=tmp_path).store
    assert store.place == "mmap"
    direct = EpisodeStore.from_episodes(SPEC, CountingEnv().generate(**GENERATE))
    np.testing.assert_array_equal(store.array("state"), direct.array("state"))
