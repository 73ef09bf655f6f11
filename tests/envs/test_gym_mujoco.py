"""D4RL's runners and Adroit hand: equal to gymnasium's own environments, with D4RL's rewards, ends and scores."""

from __future__ import annotations

import importlib
import itertools
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from maskbench.data.reference import reference_returns
from maskbench.envs.base import Environment, Start
from maskbench.envs.gym_mujoco import Adroit, Locomotion
from maskbench.errors import ConfigError, EnvError, MissingExtraError

pytest.importorskip("mujoco")

RUNNERS = {"hopper": "hopper", "walker2d": "walker2d", "halfcheetah": "half_cheetah", "ant": "ant"}
HANDS = ("pen", "door", "hammer", "relocate")
FAMILIES: dict[str, Environment] = {n: Locomotion(n) for n in RUNNERS} | {f"adroit_{n}": Adroit(n) for n in HANDS}
SIZES = {
    "hopper": (11, 3, 12, 1000),
    "walker2d": (17, 6, 18, 1000),
    "halfcheetah": (17, 6, 18, 1000),
    "ant": (111, 8, 29, 1000),
    "adroit_pen": (45, 24, 64, 100),
    "adroit_door": (39, 28, 63, 200),
    "adroit_hammer": (46, 26, 69, 200),
    "adroit_relocate": (39, 30, 78, 200),
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Environment:
    if request.param.startswith("adroit"):
        pytest.importorskip("gymnasium_robotics")
    return FAMILIES[request.param]


def gymnasium_runner(task: str) -> Any:
    """Gymnasium's environment whose observations and rewards are those of gym's v2 and v3."""
    module = importlib.import_module(f"gymnasium.envs.mujoco.{RUNNERS[task]}_v4")
    return next(v for k, v in vars(module).items() if k.endswith("Env") and k != "MujocoEnv")()


def gymnasium_hand(task: str) -> Any:
    pytest.importorskip("gymnasium_robotics")
    module = importlib.import_module(f"gymnasium_robotics.envs.adroit_hand.adroit_{task}")
    return getattr(module, f"AdroitHand{task.capitalize()}Env")()


def test_sizes_are_those_of_d4rl(family: Environment) -> None:
    widths = [family.spec[n].width for n in ("state", "action", "physics")]
    assert (*widths, family.horizon) == SIZES[family.name]


@pytest.mark.parametrize("task", RUNNERS)
def test_runners_equal_gymnasiums_step_by_step(task: str) -> None:
    ours, theirs = Locomotion(task).make(), gymnasium_runner(task)
    ends = 0
    for seed in range(3):
        ours.reset(seed=seed)
        seen, _ = theirs.reset(seed=seed)
        for action in np.random.default_rng(seed).uniform(-1, 1, (120, *ours.action_space.shape)):
            np.testing.assert_allclose(ours.world.observe()[: len(seen)], seen, rtol=0, atol=1e-9)
            observation, reward, terminated, truncated, _ = ours.step(action)
            seen, expected, done, _, _ = theirs.step(action)
            assert reward == pytest.approx(expected, abs=1e-9)
            assert (terminated, truncated) == (done, False)
            np.testing.assert_array_equal(observation["state"][: len(seen)], seen.astype(np.float32))
            assert not observation["state"][len(seen) :].any()
            if done:
                ends += 1
                break
    assert (ends > 0) == (task != "halfcheetah")


@pytest.mark.parametrize("task", RUNNERS)
def test_runners_equal_gymnasiums_from_a_saved_state(task: str) -> None:
    ours, theirs = Locomotion(task).make(), gymnasium_runner(task)
    ours.reset(seed=5)
    actions = np.random.default_rng(0).uniform(-1, 1, (12, *ours.action_space.shape))
    for action in actions[:5]:
        ours.step(action)
    row = ours.physics()
    ours.reset(options={"simulator": row})
    theirs.reset(seed=0)
    theirs.set_state(row[: theirs.model.nq], row[theirs.model.nq :])
    for action in actions[5:]:
        _, reward, terminated, _, _ = ours.step(action)
        seen, expected, done, _, _ = theirs.step(action)
        np.testing.assert_allclose(ours.world.observe()[: len(seen)], seen, rtol=0, atol=1e-9)
        assert (reward, terminated) == (pytest.approx(expected, abs=1e-9), done)


@pytest.mark.parametrize("task", HANDS)
def test_hands_equal_gymnasium_robotics_but_for_the_sign_of_the_approach(task: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = Adroit(task).make(), gymnasium_hand(task)
    world: Any = ours.world
    approached = {"door": "_handle", "hammer": "_hammer", "relocate": "_ball"}
    for seed in range(3):
        ours.reset(seed=seed)
        seen, _ = theirs.reset(seed=seed)
        np.testing.assert_allclose(world.observe(), seen, rtol=0, atol=1e-9)
        for action in np.random.default_rng(seed).uniform(-1, 1, (40, *ours.action_space.shape)):
            _, reward, _, _, info = ours.step(action)
            seen, expected, _, _, their_info = theirs.step(action)
            np.testing.assert_allclose(world.observe(), seen, rtol=0, atol=1e-9)
            assert ("goal_achieved" in info["events"]) == bool(their_info["success"])
            distance = np.linalg.norm(world._palm - getattr(world, approached[task])) if task in approached else 0.0
            assert min(abs(expected - reward), abs(expected - 0.2 * distance - reward)) < 1e-9


@pytest.mark.parametrize(
    ("task", "key", "place"),
    [("pen", "desired_orien", 4), ("door", "door_body_pos", 3), ("hammer", "board_pos", 3), ("relocate", "obj_pos", 3)],
)
def test_a_saved_hand_is_the_state_that_gymnasium_robotics_saves(task: str, key: str, place: int) -> None:
    ours, theirs = Adroit(task).make(), gymnasium_hand(task)
    ours.reset(seed=3)
    theirs.reset(seed=3)
    row, state = ours.physics(), theirs.get_env_state()
    names = ("qpos", "qvel", key, "target_pos") if task == "relocate" else ("qpos", "qvel", key)
    np.testing.assert_allclose(row, np.concatenate([state[n] for n in names]), rtol=0, atol=1e-12)
    assert state[key].shape == (place,)


def test_a_moved_ball_is_saved_where_it_is() -> None:
    pytest.importorskip("gymnasium_robotics")
    env = Adroit("relocate").make()
    env.reset(seed=0)
    row = env.physics()
    row[30:36] = (0.1, -0.05, 0.1, 0.3, 0.4, 0.5)
    row[72:75] += row[30:33]
    env.reset(options={"simulator": row})
    np.testing.assert_allclose(env.world.data.body("Object").xpos, row[72:75], atol=1e-12)
    np.testing.assert_allclose(env.physics(), row, atol=1e-12)


@pytest.mark.parametrize(
    ("task", "changes", "terminated"),
    [
        ("hopper", {1: 0.6}, True),
        ("hopper", {1: 1.2, 2: 0.25}, True),
        ("hopper", {1: 1.2, 2: 0.1}, False),
        ("walker2d", {1: 0.7}, True),
        ("walker2d", {1: 1.2, 2: 1.1}, True),
        ("walker2d", {1: 1.2, 2: 0.5}, False),
        ("halfcheetah", {1: -0.3, 2: 3.0}, False),
        ("ant", {2: 1.5}, True),
        ("ant", {2: 0.75}, False),
    ],
)
def test_falling_terminates_and_still_pays_the_alive_bonus(task: str, changes: dict[int, float], terminated: bool) -> None:
    env = Locomotion(task).make()
    env.reset(seed=0)
    row = env.physics()
    row[env.world.model.nq :] = 0.0
    for index, value in changes.items():
        row[index] = value
    env.reset(options={"simulator": row})
    _, reward, ended, truncated, _ = env.step(np.zeros(env.action_space.shape))
    assert (ended, truncated) == (terminated, False)
    if task != "halfcheetah":
        assert reward == pytest.approx(1.0, abs=0.35)  # the bonus, and what little it moves


def test_dropping_the_pen_terminates() -> None:
    pytest.importorskip("gymnasium_robotics")
    env = Adroit("pen").make()
    env.reset(seed=0)
    row = env.physics()
    row[24] += 0.3  # the pen, 30 cm lower: its first slide points down
    env.reset(options={"simulator": row})
    observation, reward, terminated, _, _ = env.step(np.zeros(24))
    assert observation["state"][26] < 0.075
    assert terminated
    assert reward < -3


def test_the_goal_is_an_event_and_mtms_reward() -> None:
    pytest.importorskip("gymnasium_robotics")
    dense, sparse = Adroit("door").make(), Adroit("door", reward="goal_achieved").make()
    dense.reset(seed=0)
    row = dense.physics()
    for angle, achieved in ((1.5, True), (1.2, False)):
        row[28] = angle  # the hinge
        paid = {}
        for name, env in (("dense", dense), ("sparse", sparse)):
            env.reset(options={"simulator": row})
            _, paid[name], terminated, _, info = env.step(np.zeros(28))
            assert info["events"] == (("goal_achieved",) if achieved else ())
            assert not terminated
        assert paid["sparse"] == float(achieved)
        converted = Adroit("door", reward="goal_achieved").recorded_rewards(np.array([[paid["dense"]]], np.float32))
        np.testing.assert_array_equal(converted, [[float(achieved)]])
        assert converted.dtype == np.float32


@pytest.mark.parametrize(
    ("task", "failed", "achieved"),
    [("pen", 11.0, 60.8), ("door", 9.9, 19.0), ("hammer", 27.0, 95.0), ("relocate", 1.0, 9.0)],
)
def test_dense_rewards_tell_whether_the_goal_was_achieved(task: str, failed: float, achieved: float) -> None:
    rewards = np.array([failed, achieved, -3.0])
    np.testing.assert_array_equal(Adroit(task, reward="goal_achieved").recorded_rewards(rewards), [0, 1, 0])
    assert Adroit(task).recorded_rewards(rewards) is rewards


def test_scores_are_d4rls(family: Environment) -> None:
    low, high = reference_returns(
        f"{family.name}-medium-v2" if family.name in RUNNERS else f"{family.name.removeprefix('adroit_')}-human-v1"
    )
    assert family.score(low)["normalised_score"] == pytest.approx(0, abs=1e-9)
    assert family.score(high)["normalised_score"] == pytest.approx(100, abs=1e-9)


def test_goal_achieved_rewards_have_no_normalised_score() -> None:
    assert Adroit("pen", reward="goal_achieved").score(20.0) == {}


def test_slots_put_their_objects_apart(family: Environment) -> None:
    batch, alone = family.make_batch(2), family.make()
    first = batch.reset([0, 1], [7, 8])["state"]
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 5, *family.spec["action"].shape))
    states = [batch.step([1, 0], actions[::-1, t]).observation["state"] for t in range(5)]
    np.testing.assert_array_equal(first[1], alone.reset(seed=8)[0]["state"])
    for t in range(5):
        np.testing.assert_array_equal(states[t][0], alone.step(actions[1, t])[0]["state"])


def test_actions_beyond_the_range_are_cut(family: Environment) -> None:
    env = family.make()
    answers = []
    for size in (1.0, 3.0):
        env.reset(seed=0)
        observation, reward, *_ = env.step(np.full(env.action_space.shape, size))
        answers.append((observation["state"].tolist(), reward))
    assert answers[0] == answers[1]


def test_random_episodes_say_that_they_are_and_end_as_the_environment_does(family: Environment) -> None:
    episodes = list(itertools.islice(type(family)(**{**options(family), "horizon": 30}).generate(2, seed=0), 2))
    for episode in episodes:
        assert (episode.meta["policy"], episode.meta["quality"]) == ("random", "random")
        assert len(episode) == 30 or episode.terminated
        assert tuple(episode.values) == family.spec.names


def options(family: Any) -> dict[str, Any]:
    return {"task": family.task}


def test_another_policy_is_refused_with_where_data_comes_from(family: Environment) -> None:
    with pytest.raises(ConfigError, match=r"only random actions.*dataset\.path="):
        next(family.generate(1, 0, policy="expert"))


def test_mistakes_are_refused_with_their_cause(family: Environment) -> None:
    env, size = family.make(), family.spec["physics"].width
    with pytest.raises(EnvError, match="reset before its first step"):
        env.step(np.zeros(env.action_space.shape))  # type: ignore[arg-type]
    with pytest.raises(EnvError, match=f"{size} finite numbers"):
        env.reset(options={"simulator": np.zeros(size + 1)})
    env.reset(seed=0)
    with pytest.raises(EnvError, match="finite"):
        env.step(np.full(env.action_space.shape, np.nan))  # type: ignore[arg-type]


def test_unknown_tasks_rewards_and_horizons_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'walker2d'"):
        Locomotion("walker")
    with pytest.raises(ConfigError, match=r"no task 'hamer'\. Did you mean 'hammer'"):
        Adroit("hamer")
    with pytest.raises(ConfigError, match="'dense' or 'goal_achieved'"):
        Adroit("pen", reward="sparse")  # type: ignore[arg-type]
    for build in (lambda: Adroit("pen", horizon=0), lambda: Locomotion("ant", horizon=0)):
        with pytest.raises(ConfigError, match="horizon must be at least 1"):
            build()


def test_a_missing_simulator_names_the_extra(family: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(MissingExtraError, match=r"mujoco.*pip install 'maskbench\[robotics\]'"):
        family.make()


def test_a_missing_gymnasium_robotics_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskbench.envs.gym_mujoco.adroit.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"gymnasium-robotics.*pip install 'maskbench\[robotics\]'"):
        Adroit("pen").make()


def test_an_episode_from_its_first_saved_state_earns_what_it_earned(family: Environment) -> None:
    episode = next(type(family)(**{**options(family), "horizon": 25}).generate(1, seed=1))
    batch = family.make_batch(1)
    batch.reset([0], [0], [Start(episode.values["physics"][0])])
    steps = [batch.step([0], action[None]) for action in episode.values["action"]]
    np.testing.assert_allclose([s.reward for s in steps], episode.values["reward"], atol=1e-4)
    assert bool(steps[-1].terminated[0]) == episode.terminated
    np.testing.assert_allclose(steps[-1].observation["state"][0], episode.final["state"], atol=1e-4)
