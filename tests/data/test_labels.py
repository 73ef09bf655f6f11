"""Episodes that lack a factor: never seen, never asked, never fitted on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.data.worlds import SPEC, CountingEnv, episodes

from maskbench.data.dataset import load_dataset
from maskbench.data.labels import complete, known_factors
from maskbench.data.normalise import Normaliser
from maskbench.data.store import EpisodeStore, write_store
from maskbench.data.windows import WindowSampler
from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskSet
from maskbench.trajectory import Episode, Factor, TrajectorySpec

TRAIN = np.arange(2, 12)
CONTINUOUS = TrajectorySpec((Factor("state", "continuous", "state", (1,)), Factor("action", "continuous", "action", (1,))))


def store(count: int = 14, length: int = 6) -> EpisodeStore:
    return EpisodeStore.from_episodes(SPEC, episodes(*[length] * count))


def test_a_share_of_the_training_episodes_loses_the_factor_and_no_other_episode_does() -> None:
    known = known_factors(store(), TRAIN, "action", 0.75, seed=3)["action"]
    assert (~known).sum() == 7
    assert known[[0, 1, 12, 13]].all()
    assert len(complete(TRAIN, {"action": known})) == 3


def test_the_choice_is_the_same_every_time_and_grows_with_the_share() -> None:
    less, again, more, other = (
        ~known_factors(store(), TRAIN, "action", n, seed=s)["action"] for n, s in ((4, 0), (4, 0), (7, 0), (4, 1))
    )
    assert (less == again).all()
    assert (less <= more).all()
    assert (less != other).any()


def test_a_role_loses_all_its_factors() -> None:
    assert set(known_factors(store(), TRAIN, "state", 3)) == {"state", "key"}


def test_nothing_is_unknown_by_default() -> None:
    assert known_factors(store(), TRAIN) == {}


@pytest.mark.parametrize(("factor", "fraction", "message"), [("action", 10, "keep it"), ("reward", 3, "unlabelled.factor")])
def test_mistakes_are_refused(factor: str, fraction: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        known_factors(store(), TRAIN, factor, fraction)


def test_episodes_can_truly_lack_a_factor() -> None:
    recorded = episodes(5, 5, 5)
    recorded[1] = replace(recorded[1], meta={"lacks": ["action"]})
    known = known_factors(EpisodeStore.from_episodes(SPEC, recorded), np.arange(3))
    assert known["action"].tolist() == [True, False, True]


@pytest.mark.parametrize("place", ["ram", "mmap"])
@pytest.mark.parametrize("chosen", [None, [1, 3, 4]])
def test_windows_blank_what_is_unknown_and_say_so(tmp_path, place, chosen) -> None:
    made = write_store(tmp_path / "s", SPEC, episodes(*[6] * 5), name="s", env="", origin="generated", place=place)
    known = np.array([True, False, True, False, True])
    sampler = WindowSampler(made, 4, 64, 0, episodes=chosen, known={"action": known})
    window = sampler.batch(0)
    source = window.values["state"][:, 0, 1].long()
    has = torch.from_numpy(known)[source]
    assert 0 < has.sum() < 64
    column = list(sampler.spec.names).index("action")
    assert torch.equal(window.known[..., column], has[:, None].expand(-1, 4))
    others = [i for i in range(len(sampler.spec)) if i != column]
    assert window.known[..., others].all()
    assert (window.values["action"][~has] == 0).all()
    recorded = torch.stack([torch.from_numpy(made.episode(int(e)).values["action"]) for e in source])
    rows = window.start[:, None] + torch.arange(4)
    assert torch.equal(window.values["action"][has], recorded.gather(1, rows)[has])
    assert (made.array("action") == np.concatenate([e.values["action"] for e in episodes(*[6] * 5)])).all()
    assert torch.equal(window.rows(slice(3)).known, window.known[:3])


def test_windows_of_complete_episodes_say_nothing() -> None:
    assert WindowSampler(store(), 4, 8, 0, episodes=[0], known={"action": np.arange(14) == 0}).batch(0).known is None


def test_masks_hide_unknown_cells_and_do_not_ask_them() -> None:
    window = WindowSampler(store(2, 3), 4, 8, 0, known={"action": np.array([True, False])}).batch(0)
    everything = torch.ones(8, 4, 3, dtype=torch.bool)
    masks = MaskSet(everything, everything, even=True).within(window)
    expected = window.known & window.valid[..., None]
    assert torch.equal(masks.visible, expected)
    assert torch.equal(masks.predict, expected)
    assert not masks.even


def wild(index: int, offset: float) -> Episode:
    column = np.full((5, 1), index + offset, np.float32)
    return Episode({"state": column, "action": column})


def test_statistics_do_not_peek_at_unknown_cells() -> None:
    known = {"action": np.array([True, True, False])}
    a, b = (EpisodeStore.from_episodes(CONTINUOUS, [wild(0, 0), wild(1, 0), wild(2, x)]) for x in (0.0, 1e6))
    fits = [Normaliser.fit(s, {"state": "none", "action": "standard"}, [0, 1, 2], known=known) for s in (a, b)]
    one = torch.ones(1, 1)
    assert torch.equal(fits[0].apply("action", one), fits[1].apply("action", one))
    assert fits[0].apply("action", torch.tensor([0.5])).item() == pytest.approx(0)


def test_a_spread_below_the_floor_is_left_alone() -> None:
    made = EpisodeStore.from_episodes(CONTINUOUS, [wild(0, 0.0), wild(0, 0.15)])
    low, high = (Normaliser.fit(made, {"state": "standard"}, floor=f) for f in (1e-4, 0.1))
    assert low.apply("state", torch.tensor([0.15])).item() == pytest.approx(1, abs=1e-4)
    assert high.apply("state", torch.tensor([0.15])).item() == pytest.approx(0.075, abs=1e-5)


def test_a_dataset_keeps_or_drops_episodes_that_lack_something(tmp_path) -> None:
    options = {"generate": {"episodes": 20}, "split": {"train": 10, "validation": 5}, "root": tmp_path}
    taken = {"factor": "action", "fraction": 0.8, "seed": 0}
    kept = load_dataset(CountingEnv(), unlabelled=taken, **options)
    dropped = load_dataset(CountingEnv(), unlabelled=taken | {"keep": False}, **options)
    assert (len(kept.split.train), len(dropped.split.train)) == (10, 2)
    assert kept.known["action"][dropped.split.train].all()
    rows = kept.store.rows(dropped.split.train)
    assert kept.training_rows("action").tolist() == dropped.training_rows("action").tolist() == rows.tolist()
    assert len(kept.training_rows("state")) > len(rows)
