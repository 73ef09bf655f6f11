"""Minari data sets: export and import agree; goal environments, discrete actions and faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from maskbench.data.export_minari import export_minari
from maskbench.data.importers import find_importer
from maskbench.data.importers.minari import MinariImporter
from maskbench.errors import DataError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

pytest.importorskip("minari")
pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

REWARD = Factor("reward", "continuous", "reward", (1,))


def continuous(name: str, size: int, role: str = "state") -> Factor:
    return Factor(name, "continuous", role, (size,))


def episodes(spec: TrajectorySpec, lengths: tuple[int, ...] = (4, 1, 7)) -> list[Episode]:
    draw = np.random.default_rng(0)

    def rows(f: Factor, n: int) -> np.ndarray:
        return draw.integers(0, f.width, n) if f.kind == "discrete" else draw.normal(size=(n, *f.shape)).astype(f.dtype)

    made = []
    for i, n in enumerate(lengths):
        values = {f.name: rows(f, n) for f in spec}
        final = {f.name: rows(f, 1)[0] for f in spec.with_role("state")}
        made.append(Episode(values, final, terminated=i % 2 == 0))
    return made


@pytest.mark.parametrize(
    "factors",
    [
        (continuous("state", 3), continuous("action", 2, "action"), REWARD),
        (
            continuous("agent", 3),
            Factor("key", "discrete", "state", classes=4),
            Factor("action", "discrete", "action", classes=5),
            REWARD,
        ),
        (continuous("state", 3), Factor("action", "discrete", "action", classes=3, offset=1), REWARD),
    ],
)
def test_exported_episodes_import_equal(tmp_path: Path, factors: tuple[Factor, ...]) -> None:
    spec = TrajectorySpec(factors)
    made = episodes(spec)
    folder = export_minari(spec, made, "test/round-v0", root=tmp_path)
    imported = find_importer(folder).read(folder)
    assert imported.spec == spec
    assert imported.name == "test/round-v0"
    for _ in range(2):
        back = list(imported.episodes())
        assert len(back) == imported.count == 3
        for ours, theirs in zip(made, back, strict=True):
            assert ours.terminated == theirs.terminated
            for name in spec.names:
                np.testing.assert_array_equal(ours.values[name], theirs.values[name])
                assert theirs.values[name].dtype == spec[name].dtype
            for name, value in ours.final.items():
                np.testing.assert_array_equal(value, theirs.final[name])


def test_an_id_is_found_below_the_minari_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = TrajectorySpec((continuous("state", 3), continuous("action", 2, "action"), REWARD))
    export_minari(spec, episodes(spec), "test/byid-v0", root=tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert find_importer("test/byid-v0").read(Path("test/byid-v0"), limit=2).count == 2


def test_export_refuses_unknown_final_states_existing_sets_and_bad_ids(tmp_path: Path) -> None:
    spec = TrajectorySpec((continuous("state", 3), continuous("action", 2, "action"), REWARD))
    made = episodes(spec)
    with pytest.raises(DataError, match="'state' has no final value"):
        export_minari(spec, [Episode(made[0].values)], "test/a-v0", root=tmp_path)
    with pytest.raises(DataError, match="at least one episode"):
        export_minari(spec, [], "test/a-v0", root=tmp_path)
    export_minari(spec, made, "test/a-v0", root=tmp_path)
    with pytest.raises(DataError, match="exists already"):
        export_minari(spec, made, "test/a-v0", root=tmp_path)
    with pytest.raises(DataError, match="Minari refuses"):
        export_minari(spec, made, "not an id", root=tmp_path)


def goal_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.utils import create_dataset_from_buffers

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    box = lambda *shape: spaces.Box(-np.inf, np.inf, shape, np.float64)  # noqa: E731
    goal = spaces.Dict({"kettle": box(7), "light": box(2)})
    space = spaces.Dict({"observation": box(2, 2), "achieved_goal": goal, "desired_goal": goal})
    nested = {"kettle": np.ones((4, 7)), "light": np.full((4, 2), 2.0)}
    observation = {"observation": np.arange(16.0).reshape(4, 2, 2), "achieved_goal": nested, "desired_goal": nested}
    flags = np.array([False, False, True])
    buffer = EpisodeBuffer(0, None, None, observation, np.zeros((3, 1), np.float32), [0.0, 0.0, 1.0], flags, ~flags & False)
    create_dataset_from_buffers(
        "test/goal-v0", [buffer], observation_space=space, action_space=spaces.Box(-1, 1, (1,), np.float32)
    )
    return tmp_path / "test/goal-v0"


def test_goal_environments_give_a_flat_state_and_goals_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = goal_set(tmp_path, monkeypatch)
    plain = MinariImporter().read(folder)
    assert plain.spec.names == ("state", "action", "reward")
    (episode,) = plain.episodes()
    np.testing.assert_array_equal(episode.values["state"], np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(episode.final["state"], [12, 13, 14, 15])
    with_goals = MinariImporter().read(folder, goals=True)
    assert [(f.name, f.role) for f in with_goals.spec][:3] == [
        ("goal_kettle", "goal"),
        ("goal_light", "goal"),
        ("state", "state"),
    ]
    (episode,) = with_goals.episodes()
    assert set(episode.final) == {"state"}
    assert MinariImporter().read(folder, goals=True, skip=["goal_light"]).spec.names[:2] == ("goal_kettle", "state")


def test_corrupt_files_are_named(tmp_path: Path) -> None:
    import h5py

    spec = TrajectorySpec((continuous("state", 3), continuous("action", 2, "action"), REWARD))
    folder = export_minari(spec, episodes(spec), "test/bad-v0", root=tmp_path)
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        file["episode_1/actions"][0, 1] = np.nan
    with pytest.raises(DataError, match="key 'episode 1 actions': expected finite float32"):
        list(MinariImporter().read(folder).episodes())
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/observations"]
        file["episode_0/observations"] = np.zeros((4, 3), np.float32)
    with pytest.raises(DataError, match="episode 0: key 'observations': expected 5 rows of 3 numbers"):
        list(MinariImporter().read(folder).episodes())
    data = folder / "data" / "main_data.hdf5"
    data.write_bytes(data.read_bytes()[:3000])
    with pytest.raises(DataError, match="bad-v0"):
        list(MinariImporter().read(folder).episodes())
