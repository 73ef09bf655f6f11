import numpy as np
import pytest

from maskbench.envs.base import Start
from maskbench.envs.doorkey import DoorKey
from maskbench.envs.doorkey import env as doorkey_env
from maskbench.errors import EnvError
from maskbench.testing import check_env


def entropy(classes: np.ndarray) -> float:
    share = np.bincount(classes) / len(classes)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


@pytest.mark.parametrize("size", [4, 14])
def test_keeps_the_environment_contract(size: int) -> None:
    check_env(DoorKey(size), seeds=range(8))


def test_factors_are_those_of_the_paper() -> None:
    small, big = DoorKey(), DoorKey(14)
    assert (small.name, big.name) == ("doorkey", "doorkey16")
    assert small.spec.names == ("state", "state_key", "action", "rtg", "reward")
    assert [f.width for f in small.spec] == [16, 16, 4, 17, 1]
    assert [f.width for f in big.spec] == [196, 196, 4, 21, 1]
    assert (small.spec["rtg"].offset, big.spec["rtg"].offset) == (6, 10)


def test_generated_data_match_the_published_calibration() -> None:
    episodes = list(DoorKey().generate(8000, seed=1))
    state, key, rtg = (np.stack([e.values[n] for e in episodes]) for n in ("state", "state_key", "rtg"))
    last = np.stack([e.final["state"] for e in episodes])
    first_return = rtg[:, 0] - 6
    assert (first_return.min(), first_return.max()) == (-4, 9)
    assert first_return.mean() == pytest.approx(3.46, abs=0.12)  # three standard errors of the published 4000
    assert (state == key)[:, 9].mean() == pytest.approx(0.973, abs=0.008)
    reached = (state == 15).any(1) | (last == 15)
    assert reached.mean() == pytest.approx(0.103, abs=0.015)
    assert entropy(state[:, 0]) == pytest.approx(2.08, abs=0.005)
    assert entropy(state[:, 9]) == pytest.approx(2.32, abs=0.03)


@pytest.mark.parametrize("size", [4, 14])
def test_returns_to_go_of_the_published_horizon_fill_the_classes_without_clipping(size: int) -> None:
    tables = DoorKey(size).world
    farthest, nearest = [tables.distance], [tables.distance]  # final distances within reach, by steps to go
    for _ in range(10):
        farthest.append(farthest[-1][tables.successor].max(1))
        nearest.append(nearest[-1][tables.successor].min(1))
    layer = np.isin(np.arange(len(tables.agent)), tables.starts)
    lowest, highest = [], []
    for t in range(10):
        lowest.append((tables.distance - farthest[10 - t])[layer].min())
        highest.append((tables.distance - nearest[10 - t])[layer].max())
        layer = np.isin(np.arange(len(layer)), tables.successor[layer])
    factor = DoorKey(size).spec["rtg"]
    assert factor.classes is not None
    assert min(lowest) == -factor.offset
    assert max(highest) <= factor.classes - 1 - factor.offset


def test_episode_depends_on_seed_and_index_not_on_the_block_it_is_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(DoorKey().generate(9, seed=5))
    monkeypatch.setattr(doorkey_env, "_CHUNK", 4)
    for a, b in zip(whole, DoorKey().generate(9, seed=5), strict=True):
        assert a.meta == b.meta
        for name in a.values:
            np.testing.assert_array_equal(a.values[name], b.values[name])


def test_beta_of_a_call_overrides_that_of_the_family() -> None:
    rational = np.mean([e.values["rtg"][0] for e in DoorKey().generate(300, 0, beta=5.0)])
    assert rational > np.mean([e.values["rtg"][0] for e in DoorKey().generate(300, 0)]) + 1
    same = zip(DoorKey(beta=5.0).generate(20, 0), DoorKey().generate(20, 0, beta=5.0), strict=True)
    assert all(np.array_equal(a.values["action"], b.values["action"]) for a, b in same)
    with pytest.raises(EnvError, match="'beta'; found \\['temperature'\\]"):
        next(DoorKey().generate(1, 0, temperature=2.0))


def test_scripted_run_reports_key_door_and_goal_and_goes_on_after_it() -> None:
    environment = DoorKey()
    env = environment.make()
    cells = lambda o: (int(o["state"]), int(o["state_key"]))  # noqa: E731
    seed = next(s for s in range(1000) if cells(env.reset(seed=s)[0]) == (0, 4))  # agent (1, 1), key (2, 1)
    observation, _ = env.reset(seed=seed)
    seen, rewards, success = [], [], []
    for action in (0, 0, 0, 1, 1, 1, 1, 3, 1):
        observation, reward, terminated, truncated, info = env.step(action)
        assert not terminated
        assert not truncated
        seen += info["events"]
        rewards.append(reward)
        success.append(info["success"])
    assert seen == ["key", "door", "goal", "goal"]
    assert rewards == [1, 1, 1, 1, 1, 1, 0, -1, 1]
    assert success == [False] * 5 + [True] * 4
    goal = environment.goal(seed)
    assert environment.goal_distance({n: v[None] for n, v in observation.items()}, goal)[0] == 0
    assert env.step(1)[3]  # the tenth step


def test_start_depends_on_the_seed_alone_and_covers_all_starts() -> None:
    batch = DoorKey().make_batch(2000)
    observation = batch.reset(range(2000), range(2000))
    pairs = np.stack([observation["state"], observation["state_key"]], 1)
    assert len(np.unique(pairs, axis=0)) == 56
    again = DoorKey().make_batch(1).reset([0], [1234])
    assert (again["state"][0], again["state_key"][0]) == tuple(pairs[1234])


def test_unseeded_resets_follow_from_the_last_seed() -> None:
    def starts(seed: int) -> list[tuple[int, int]]:
        env = DoorKey().make()
        env.reset(seed=seed)
        return [(int(o["state"]), int(o["state_key"])) for o, _ in (env.reset() for _ in range(12))]

    assert starts(0) == starts(0) != starts(1)
    assert len(set(starts(0))) > 6


@pytest.mark.parametrize("actions", [np.array([4]), np.array([-1]), np.array([0.0]), np.array([0, 1])])
def test_impossible_actions_are_refused(actions: np.ndarray) -> None:
    batch = DoorKey().make_batch(1)
    batch.reset([0], [0])
    with pytest.raises(EnvError, match=r"1 integer actions in 0\.\.3"):
        batch.step([0], actions)


def test_saved_simulator_starts_and_empty_horizons_are_refused() -> None:
    with pytest.raises(EnvError, match="no saved simulator state"):
        DoorKey().make_batch(1).reset([0], [0], [Start(np.zeros(3))])
    with pytest.raises(EnvError, match="at least 1 step; found 0"):
        DoorKey(horizon=0)


def test_pictures_tell_every_joint_state_apart() -> None:
    environment = DoorKey()
    pictures = {doorkey_env.draw(environment.world, joint).tobytes() for joint in range(77)}
    assert len(pictures) == 77
    assert doorkey_env.draw(DoorKey(14).world, 0).shape == (160, 160, 3)
