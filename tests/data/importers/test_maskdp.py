"""MaskDP episode files: row alignment, filters, faults and the round trip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskbench.data.importers import find_importer
from maskbench.data.importers.maskdp import MaskdpImporter, write_maskdp, write_tree
from maskbench.errors import DataError
from maskbench.trajectory import Episode

GENUINE = Path(__file__).resolve().parents[4] / "shared/data/maskdp_train/walker/expert/walker_walk"


def rows(n: int = 5, obs: int = 24, act: int = 6, physics: int | None = 18) -> dict[str, np.ndarray]:
    """An episode file of n actions whose entries tell their own row."""
    count = np.arange(n + 1, dtype=np.float32)[:, None]
    arrays = {
        "observation": count + np.zeros(obs, np.float32),
        "action": count * 10 + np.zeros(act, np.float32),
        "reward": count * 100,
        "discount": np.ones((n + 1, 1), np.float32),
    }
    if physics:
        arrays["physics"] = (count + np.zeros(physics)).astype(np.float64)
    return arrays


def save(folder: Path, index: int = 0, length: int | None = None, **changes: np.ndarray | None) -> Path:
    arrays = {k: v for k, v in {**rows(), **changes}.items() if v is not None}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"episode_{index:06d}_{5 if length is None else length}.npz"
    np.savez_compressed(path, **arrays)
    return path


def test_the_action_taken_at_observation_row_i_is_action_row_i_plus_1(tmp_path: Path) -> None:
    save(tmp_path)
    imported = find_importer(tmp_path).read(tmp_path)
    (episode,) = imported.episodes()
    assert len(episode) == 5
    np.testing.assert_array_equal(episode.values["state"][:, 0], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(episode.values["action"][:, 0], [10, 20, 30, 40, 50])
    np.testing.assert_array_equal(episode.values["reward"], [[100], [200], [300], [400], [500]])
    np.testing.assert_array_equal(episode.values["physics"][:, 0], [0, 1, 2, 3, 4])
    assert episode.final["state"][0] == 5
    assert episode.final["physics"][0] == 5
    assert not episode.terminated
    assert [f.role for f in imported.spec] == ["state", "action", "reward", "simulator"]
    assert episode.values["physics"].dtype == np.float64


def test_a_last_discount_of_zero_is_a_termination(tmp_path: Path) -> None:
    discount = np.ones((6, 1), np.float32)
    discount[-1] = 0
    path = save(tmp_path, discount=discount)
    assert next(MaskdpImporter().read(path).episodes()).terminated


@pytest.mark.parametrize(
    ("size", "names"),
    [
        (24, {"orientations": 14, "height": 1, "velocity": 9}),
        (17, {"position": 8, "velocity": 9}),
        (78, {"egocentric_state": 44, "torso_velocity": 3, "torso_upright": 1, "imu": 6, "force_torque": 24}),
        (5, {}),
    ],
)
def test_observation_parts_follow_the_domain(tmp_path: Path, size: int, names: dict[str, int]) -> None:
    save(tmp_path, **rows(obs=size))
    state = MaskdpImporter().read(tmp_path).spec["state"]
    assert {n: b - a for n, a, b in state.parts} == names
    assert sum(names.values()) in (0, size)


def test_filters_follow_the_folders_of_the_release(tmp_path: Path) -> None:
    root = tmp_path / "maskdp_train"
    save(root / "walker/expert/walker_walk", 0)
    save(root / "walker/expert/walker_run/train", 0)
    save(root / "walker/sup/walker_walk", 0)
    save(root / "walker/unsup", 0)
    save(root / "cheetah/expert/cheetah_run_backwards", 0)

    def labels(**options: object) -> list[tuple[object, object]]:
        return [(e.meta["quality"], e.meta.get("task")) for e in MaskdpImporter().read(root, **options).episodes()]

    assert len(labels()) == 5
    assert labels(qualities=["expert"]) == [
        ("expert", "cheetah_run_backward"),
        ("expert", "walker_run"),
        ("expert", "walker_walk"),
    ]
    assert labels(tasks=["walker_walk"]) == [("expert", "walker_walk"), ("sup", "walker_walk")]
    assert labels(tasks=["walker_walk"], qualities=["sup", "unsup"]) == [("sup", "walker_walk"), ("unsup", None)]
    assert labels(tasks=["cheetah_run_backward"]) == [("expert", "cheetah_run_backward")]
    assert len(labels(limit=2)) == 2
    with pytest.raises(DataError, match="Did you mean 'expert'"):
        labels(qualities=["experts"])
    with pytest.raises(DataError, match="none of 5 episode files"):
        labels(tasks=["hopper_hop"])
    with pytest.raises(DataError, match="positive"):
        labels(limit=0)


def test_episodes_can_be_read_again(tmp_path: Path) -> None:
    save(tmp_path, 0)
    save(tmp_path, 1)
    imported = MaskdpImporter().read(tmp_path)
    assert [e.meta["index"] for e in imported.episodes()] == [e.meta["index"] for e in imported.episodes()] == [0, 1]
    assert imported.count == 2


def nan_at(row: int) -> np.ndarray:
    array = rows()["action"]
    array[row, 2] = np.nan
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": None}, "missing key 'reward'"),
        ({"action": rows()["action"][:-1]}, "key 'action': expected 6 rows like 'observation'"),
        ({"action": nan_at(3)}, "key 'action': expected finite float32 values; found .*nan.* in row 3"),
        ({"observation": np.full((6, 24), 1e300)}, "key 'observation': expected finite float32"),
        ({"action": np.full((6, 6), "x")}, "key 'action': expected numbers; found dtype <U1"),
        ({"action": np.full((6, 6), None)}, "key 'action': expected a numeric array; found unreadable"),
        ({"reward": np.zeros(6, np.float32)}, r"key 'reward': expected shape \(any, 1\); found \(6,\)"),
        ({"length": 7}, "expected 8 rows, from the file name; found 6"),
    ],
)
def test_a_faulty_file_names_file_key_found_and_expected(tmp_path: Path, changes: dict, message: str) -> None:
    path = save(tmp_path, **changes)
    with pytest.raises(DataError, match=message) as caught:
        list(MaskdpImporter().read(tmp_path).episodes())
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 30, 300, -40])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = save(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"episode_000000_5\.npz.*corrupt or truncated"):
        MaskdpImporter().read(tmp_path)


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, observation=np.random.default_rng(0).normal(size=(6, 24)).astype(np.float32))
    raw = bytearray(path.read_bytes())
    raw[200] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(DataError, match="unreadable data"):
        MaskdpImporter().read(tmp_path)


def test_domains_cannot_be_mixed(tmp_path: Path) -> None:
    save(tmp_path, 0)
    save(tmp_path, 1, **rows(obs=17))
    with pytest.raises(
        DataError, match=r"episode_000001_5\.npz: key 'observation': expected shape \(any, 24\); found \(6, 17\)"
    ):
        list(MaskdpImporter().read(tmp_path).episodes())


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 7), st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_written_episodes_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, n: int, seed: int, ended: bool, physics: bool
) -> None:
    draw = np.random.default_rng(seed)
    values = {"state": draw.normal(size=(n, 3)), "action": draw.normal(size=(n, 2)), "reward": draw.normal(size=(n, 1))}
    values = {k: v.astype(np.float32) for k, v in values.items()}
    final = {"state": draw.normal(size=3).astype(np.float32)}
    if physics:
        values["physics"], final["physics"] = draw.normal(size=(n, 4)), draw.normal(size=4)
    folder = tmp_path_factory.mktemp("written")
    (path,) = write_maskdp(folder, [Episode(values, final, ended)], first_index=3)
    assert path.name == f"episode_000003_{n}.npz"
    assert list(folder.iterdir()) == [path]
    (back,) = MaskdpImporter().read(folder).episodes()
    assert back.terminated == ended
    assert set(back.values) == set(values)
    for name, array in values.items():
        np.testing.assert_array_equal(back.values[name], array)
    for name, array in final.items():
        np.testing.assert_array_equal(back.final[name], array)


def test_the_writer_needs_the_final_state_and_the_reward(tmp_path: Path) -> None:
    values = {"state": np.zeros((2, 3)), "action": np.zeros((2, 1)), "reward": np.zeros((2, 1))}
    with pytest.raises(DataError, match="state after the last action"):
        write_maskdp(tmp_path, [Episode(values)])
    with pytest.raises(DataError, match="'reward'"):
        write_maskdp(tmp_path, [Episode({k: v for k, v in values.items() if k != "reward"}, {"state": np.zeros(3)})])


@pytest.mark.skipif(not GENUINE.is_dir(), reason=f"published episodes are not at {GENUINE}")
def test_published_walker_episodes_hold_the_measured_numbers(tmp_path: Path) -> None:
    imported = MaskdpImporter().read(GENUINE)
    assert imported.count == 40
    episodes = list(imported.episodes())
    returns = np.array([e.values["reward"].sum() for e in episodes])
    assert all(len(e) == 1000 for e in episodes)
    assert 902 <= returns.min() <= returns.max() <= 990.5  # specification of MaskDP, section 1.9
    assert abs(returns.mean() - 961.5) < 10
    action = np.concatenate([e.values["action"] for e in episodes])
    assert np.abs(action).max() <= 1
    assert np.square(action).mean() == pytest.approx(0.425, abs=0.02)
    assert imported.spec["state"].shape == (24,)
    assert episodes[0].meta["quality"] == "expert"
    assert episodes[0].meta["task"] == "walker_walk"
    # Any other alignment predicts actions worse: the published fit of a_t from s_t is 0.134.
    state = np.concatenate([e.values["state"] for e in episodes])
    design = np.c_[state, np.ones(len(state))]
    error = np.square(action - design @ np.linalg.lstsq(design, action, rcond=None)[0]).mean()
    assert error == pytest.approx(0.134, abs=0.01)
    # The published row 0 is what the writer writes.
    (path,) = write_maskdp(tmp_path, episodes[:1])
    with np.load(path) as ours, np.load(GENUINE / path.name) as theirs:
        for key in theirs.files:
            np.testing.assert_array_equal(ours[key], theirs[key])
            assert ours[key].dtype == theirs[key].dtype


def episode_of(quality: str | None, task: str | None, seed: int = 0) -> Episode:
    rng = np.random.default_rng(seed)
    values = {"state": rng.normal(size=(4, 24)), "action": rng.uniform(-1, 1, (4, 6)), "reward": rng.uniform(size=(4, 1))}
    plain = {name: value.astype(np.float32) for name, value in values.items()}
    meta = {k: v for k, v in {"quality": quality, "task": task}.items() if v is not None}
    return Episode(plain, {"state": np.ones(24, np.float32)}, meta=meta)


def test_a_tree_is_written_as_it_was_published_and_read_back_by_quality_and_task(tmp_path: Path) -> None:
    found = [episode_of("unsup", None), episode_of("sup", "run"), episode_of(None, None), episode_of("expert", "walker_walk")]
    files = [str(p.relative_to(tmp_path)) for p in write_tree(tmp_path, found, "walker", "walk")]
    assert files == [
        "walker/unsup/episode_000000_4.npz",
        "walker/sup/walker_run/episode_000000_4.npz",
        "walker/expert/walker_walk/episode_000000_4.npz",
        "walker/expert/walker_walk/episode_000001_4.npz",
    ]
    more = write_tree(tmp_path, [episode_of("unsup", None, 1)], "walker", "walk")
    assert more[0].name == "episode_000001_4.npz"
    read = MaskdpImporter().read
    assert read(tmp_path, qualities=["unsup"]).count == 2
    assert read(tmp_path, tasks=["walker_run"]).count == 1
    assert read(tmp_path, qualities=["expert", "sup"]).count == 3
    again = next(iter(read(tmp_path, qualities=["sup"]).episodes()))
    assert np.array_equal(again.values["action"], found[1].values["action"])
    with pytest.raises(DataError, match="no data quality is called 'good'"):
        write_tree(tmp_path, [episode_of(None, None)], "walker", "walk", "good")


def test_a_root_with_several_bodies_is_read_for_one(tmp_path: Path) -> None:
    for domain in ("walker", "cheetah"):
        write_tree(tmp_path, [episode_of(None, None)], domain, "run")
    assert MaskdpImporter().read(tmp_path, domain="walker").count == 1
    with pytest.raises(DataError, match="domain=quadruped"):
        MaskdpImporter().read(tmp_path, domain="quadruped")
