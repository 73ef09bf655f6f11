"""Files of D4RL's MuJoCo tasks, written here in the published formats from real episodes: import, replay, score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskbench.data.dataset import load_dataset
from maskbench.data.reference import normalised_score
from maskbench.envs.base import Environment, Start
from maskbench.envs.gym_mujoco import Adroit, Locomotion
from maskbench.errors import DataError
from maskbench.trajectory import Episode

h5py = pytest.importorskip("h5py")
pytest.importorskip("mujoco")
pytest.importorskip("gymnasium_robotics")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

#: What D4RL's v1 Adroit files and gymnasium-robotics call the pieces of a saved state, and their widths.
INFOS = {
    "adroit_pen": {"qpos": 30, "qvel": 30, "desired_orien": 4},
    "adroit_door": {"qpos": 30, "qvel": 30, "door_body_pos": 3},
    "adroit_hammer": {"qpos": 33, "qvel": 33, "board_pos": 3},
    "adroit_relocate": {"qpos": 36, "qvel": 36, "obj_pos": 3, "target_pos": 3},
    "hopper": {"qpos": 6, "qvel": 6},
    "ant": {"qpos": 15, "qvel": 14},
}
FAMILIES = {
    **{f"adroit_{t}": lambda t=t: Adroit(t, horizon=15) for t in ("pen", "door", "hammer", "relocate")},
    **{t: lambda t=t: Locomotion(t, horizon=15) for t in ("hopper", "ant")},
}


def infos_of(name: str, physics: np.ndarray) -> dict[str, np.ndarray]:
    edges = np.cumsum(list(INFOS[name].values()))[:-1]
    return dict(zip(INFOS[name], np.split(physics, edges, axis=-1), strict=True))


def write_d4rl(path: Path, env: Environment, episodes: list[Episode], placement: bool = True) -> Path:
    """The layout of ``hopper_medium-v2.hdf5`` and ``pen-human-v1.hdf5``: float32 rows, flags at the last row of an episode."""
    join = lambda name: np.concatenate([e.values[name] for e in episodes])  # noqa: E731
    ends = np.cumsum([len(e) for e in episodes]) - 1
    terminals, timeouts = np.zeros((2, ends[-1] + 1), bool)
    for row, episode in zip(ends, episodes, strict=True):
        (terminals if episode.terminated else timeouts)[row] = True
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = join("state"), join("action")
        file["rewards"] = join("reward")[:, 0]
        file["terminals"], file["timeouts"] = terminals, timeouts
        infos = infos_of(env.name, join("physics"))
        if env.name == "adroit_hammer":
            infos["target_pos"] = join("state")[:, 42:45]  # stored besides; it follows from the board
        for key, array in infos.items():
            if placement or key in ("qpos", "qvel"):
                file.create_dataset(f"infos/{key}", data=array.astype(np.float32), compression="gzip")
        file["infos/action_log_probs"] = np.zeros(len(terminals), np.float32)
    return path


def write_minari(root: Path, env: Environment, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Minari set with flat observations and, in ``infos``, the simulator's positions and velocities."""
    pytest.importorskip("minari")
    from gymnasium import spaces
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.utils import create_dataset_from_buffers

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    buffers = []
    for i, e in enumerate(episodes):
        flags = np.zeros((2, len(e)), bool)
        flags[0 if e.terminated else 1, -1] = True
        physics = np.concatenate([e.values["physics"], e.values["physics"][-1:]])  # the last row belongs to the final state
        observations = np.concatenate([e.values["state"], e.final["state"][None]]).astype(np.float64)
        infos = {**infos_of(env.name, physics), "success": np.zeros(len(e) + 1, bool)}
        rewards = e.values["reward"][:, 0].tolist()
        buffers.append(EpisodeBuffer(i, None, None, observations, e.values["action"], rewards, flags[0], flags[1], infos))
    create_dataset_from_buffers(
        "test/set-v0",
        buffers,
        observation_space=spaces.Box(-np.inf, np.inf, env.spec["state"].shape, np.float64),
        action_space=spaces.Box(-1, 1, env.spec["action"].shape, np.float32),
    )
    return root / "test/set-v0"


def replay(env: Environment, store: Any, atol: float) -> None:
    """Every stored transition, replayed from its saved state, leads to the stored next observation and pays as stored."""
    batch = env.make_batch(1)
    for i in range(store.num_episodes):
        episode = store.episode(i)
        for t in range(len(episode) - 1):
            batch.reset([0], [0], [Start(episode.values["physics"][t])])
            step = batch.step([0], episode.values["action"][t][None])
            np.testing.assert_allclose(step.observation["state"][0], episode.values["state"][t + 1], atol=atol, rtol=1e-3)
            if env.name != "ant" or t == 0:  # ant's reward reads the step before
                np.testing.assert_allclose(step.reward, episode.values["reward"][t], atol=1e-2)


@pytest.mark.parametrize("name", FAMILIES)
def test_d4rl_files_import_and_replay(name: str, tmp_path: Path) -> None:
    env = FAMILIES[name]()
    made = list(env.generate(3, seed=0))
    path = write_d4rl(tmp_path / "file.hdf5", env, made)
    store = load_dataset(env, path=path, root=tmp_path / "data", split={"train": None, "validation": 1, "test": 0}).store
    assert store.spec == env.spec
    assert store.lengths.tolist() == [len(e) for e in made]
    assert store.terminated.tolist() == [e.terminated for e in made]
    for i, episode in enumerate(made):
        back = store.episode(i)
        for factor in env.spec:
            np.testing.assert_allclose(back.values[factor.name], episode.values[factor.name], rtol=1e-6, atol=1e-7)
            assert back.values[factor.name].dtype == factor.dtype
    replay(env, store, atol=1e-3)


@pytest.mark.parametrize("name", ["hopper", "adroit_door"])
def test_minari_sets_import_and_replay(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = FAMILIES[name]()
    made = list(env.generate(2, seed=0))
    path = write_minari(tmp_path, env, made, monkeypatch)
    store = load_dataset(env, path=path, root=tmp_path / "data", split={"train": None, "validation": 1, "test": 0}).store
    assert store.spec == env.spec
    for i, episode in enumerate(made):
        np.testing.assert_array_equal(store.episode(i).values["physics"], episode.values["physics"])
        np.testing.assert_array_equal(store.episode(i).final["state"], episode.final["state"])
    replay(env, store, atol=1e-4)


def test_minari_states_that_do_not_fit_their_episode_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = FAMILIES["hopper"]()
    made = list(env.generate(2, seed=0))
    path = write_minari(tmp_path, env, made, monkeypatch)
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1/infos/qvel"]
        file["episode_1/infos/qvel"] = np.zeros((3, 6))
    with pytest.raises(DataError, match=f"episode 1: key 'infos/qvel': expected {len(made[1]) + 1} rows"):
        load_dataset(env, path=path, root=tmp_path / "data")


def test_returns_and_normalised_scores_of_a_file_are_those_of_its_episodes(tmp_path: Path) -> None:
    env = Locomotion("hopper", horizon=40)
    made = list(env.generate(4, seed=1))
    path = write_d4rl(tmp_path / "hopper_random-v2.hdf5", env, made)
    returns = {"mode": "mean", "horizon": 1000, "current": False}
    split = {"train": None, "validation": 1, "test": 0, "seed": None}
    data = load_dataset(env, path=path, root=tmp_path / "data", split=split, returns=returns)
    total = [float(e.values["reward"].sum()) for e in made]
    assert data.store.card.returns["mean"] == pytest.approx(np.mean(total), rel=1e-5)
    for i, value in enumerate(total):
        reward = data.store.episode(i).values["reward"][:, 0]
        expected = normalised_score("hopper-random-v2", value)
        assert env.score(reward.sum())["normalised_score"] == pytest.approx(expected, abs=1e-4)
        rtg = data.store.episode(i).values["rtg"][:, 0]
        np.testing.assert_allclose(rtg[0], (value - reward[0]) / 1000, atol=1e-5)
        assert rtg[-1] == 0
    assert data.split.validation.tolist() == [3]


def test_goal_achieved_replaces_recorded_rewards_once(tmp_path: Path) -> None:
    dense, env = Adroit("door", horizon=15), Adroit("door", horizon=15, reward="goal_achieved")
    made = list(dense.generate(2, seed=0))
    made[1].values["reward"][9:, 0] = 19.5  # what an open door pays
    path = write_d4rl(tmp_path / "door.hdf5", dense, made)
    split = {"train": None, "validation": 1, "test": 0}
    options: dict[str, Any] = {"path": path, "root": tmp_path / "data", "split": split, "returns": {"mode": "mean"}}
    store = load_dataset(env, **options).store
    np.testing.assert_array_equal(store.episode(1).values["reward"][:, 0], [0.0] * 9 + [1.0] * 6)
    np.testing.assert_allclose(store.episode(1).values["rtg"][[0, 9], 0], [6 / 15, 1.0])
    assert store.card.returns["max"] == 6
    plain = load_dataset(dense, **options).store
    np.testing.assert_array_equal(plain.episode(1).values["reward"], made[1].values["reward"])
    own = load_dataset(env, generate={"episodes": 2}, root=tmp_path / "data", split=split).store
    assert not own.array("reward").any()  # its own zeros are not converted again


def test_states_without_their_placement_are_left_out(tmp_path: Path) -> None:
    """D4RL's v0 Adroit files do not say where the door stood: they train a model, but start no rollout."""
    env = FAMILIES["adroit_door"]()
    path = write_d4rl(tmp_path / "door-v0.hdf5", env, list(env.generate(2, seed=0)), placement=False)
    store = load_dataset(env, path=path, root=tmp_path / "data", split={"train": None, "validation": 1, "test": 0}).store
    assert store.spec.names == ("state", "action", "reward")
    assert set(store.episode(0).values) == {"state", "action", "reward"}


def test_data_of_another_runner_are_refused(tmp_path: Path) -> None:
    hopper = FAMILIES["hopper"]()
    path = write_d4rl(tmp_path / "a.hdf5", hopper, list(hopper.generate(2, seed=0)))
    with pytest.raises(DataError, match=r"do not fit the environment 'walker2d'.*shape"):
        load_dataset(Locomotion("walker2d"), path=path, root=tmp_path / "data")
