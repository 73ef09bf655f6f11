"""The kitchen: parity with FrankaKitchen-v1, tasks and events, saved states, the expert and its demonstrations."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.envs.base import Start
from maskbench.envs.camera import offscreen_backend
from maskbench.envs.kitchen import Kitchen, KitchenEnv
from maskbench.envs.kitchen.arm import Arm
from maskbench.envs.kitchen.expert import ORDERS, KitchenExpert, choose_orders
from maskbench.envs.kitchen.simulator import AMPLITUDE, HIGH, LOW, START
from maskbench.envs.kitchen.skills import FORWARD
from maskbench.envs.kitchen.tasks import GOALS, LETTERS, TASKS, completed
from maskbench.errors import ConfigError, EnvError, MissingExtraError
from maskbench.rollout.metrics import mode_of
from maskbench.testing.check_env import check_env
from maskbench.trajectory import EpisodeRecord

pytest.importorskip("mujoco")
pytest.importorskip("gymnasium_robotics")


@pytest.fixture(scope="module")
def reference() -> Iterator[Any]:
    """FrankaKitchen-v1 without noise."""
    from gymnasium_robotics.envs.franka_kitchen import KitchenEnv as FrankaKitchen

    env = FrankaKitchen(robot_noise_ratio=0.0, object_noise_ratio=0.0)
    yield env
    env.close()


@pytest.fixture(scope="module")
def still() -> KitchenEnv:
    """A kitchen without noise and practically without horizon."""
    return Kitchen(horizon=10_000, noise=0.0).make()


def play(env: KitchenEnv, order: str) -> tuple[list[tuple[int, str]], list[float], bool]:
    """Events, rewards and whether the episode terminated."""
    env.reset(seed=0)
    events, rewards, terminated = [], [], False
    for t, action in enumerate(KitchenExpert(env, order).actions()):
        _, reward, terminated, _, info = env.step(action)
        events += [(t, event) for event in info["events"]]
        rewards.append(reward)
        if terminated:
            break
    return events, rewards, terminated


@pytest.mark.filterwarnings("ignore")
def test_observations_are_those_of_franka_kitchen_rearranged(reference: Any, still: KitchenEnv) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        theirs, ours = reference.reset(seed=seed)[0], still.reset(seed=seed)[0]["state"]
        for action in rng.uniform(-1, 1, (15, 9)).repeat(8, axis=0):
            converted = np.concatenate((theirs["observation"][:9], theirs["observation"][18:39]))
            np.testing.assert_allclose(still.reading, converted, rtol=0, atol=1e-10)
            np.testing.assert_array_equal(ours, np.concatenate((converted, np.zeros(30))).astype(np.float32))
            theirs, ours = reference.step(action)[0], still.step(action)[0]["state"]
        assert np.abs(converted - START).max() > 0.1


def test_goals_limits_and_noise_are_those_of_franka_kitchen(reference: Any) -> None:
    from gymnasium_robotics.envs.franka_kitchen.kitchen_env import BONUS_THRESH, OBS_ELEMENT_GOALS, OBS_ELEMENT_INDICES

    assert BONUS_THRESH == 0.3
    assert [name.replace("_", " ") for name in TASKS] == list(OBS_ELEMENT_GOALS)
    for task in TASKS.values():
        np.testing.assert_array_equal(np.arange(30)[task.joints], OBS_ELEMENT_INDICES[task.name.replace("_", " ")])
        np.testing.assert_array_equal(task.goal, OBS_ELEMENT_GOALS[task.name.replace("_", " ")])
    robot = reference.robot_env
    np.testing.assert_array_equal(robot.robot_pos_bound[:9], np.stack((LOW, HIGH), 1))
    np.testing.assert_array_equal(robot.robot_pos_noise_amp, AMPLITUDE[:29])
    np.testing.assert_array_equal(robot.init_qpos, START)


def test_specification_is_that_of_the_bet_release() -> None:
    family = Kitchen()
    assert (family.name, family.horizon, family.success_events) == ("kitchen", 280, ("tasks:4",))
    assert [(f.name, f.role, f.shape) for f in family.spec] == [
        ("state", "state", (60,)),
        ("action", "action", (9,)),
        ("reward", "reward", (1,)),
        ("physics", "simulator", (97,)),
    ]
    assert family.spec["state"].parts == (("robot", 0, 9), ("objects", 9, 30), ("goal", 30, 60))
    assert "".join(LETTERS) == "btlshmk"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_keeps_the_contract_of_environments() -> None:
    check_env(Kitchen(horizon=30), steps=5, generates=False, render=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_keeps_the_contract_of_generated_data() -> None:
    check_env(Kitchen(), steps=3, episodes=2, generate_options={"orders": ["l", "tk"]}, full_horizon=False, render=False)


def test_noise_is_the_published_one_and_moves_the_arm() -> None:
    env = Kitchen(noise=0.1).make()
    readings = np.array([env.reset(seed=s)[0]["state"][:30] for s in range(300)]) - START
    assert (np.abs(readings) <= 0.1 * AMPLITUDE + 1e-6).all()
    np.testing.assert_allclose(readings.std(0), 0.1 * AMPLITUDE / np.sqrt(3), rtol=0.15)
    ends = []
    for seed in (0, 1):
        env.reset(seed=seed)
        for _ in range(5):
            env.step(np.zeros(9))
        ends.append(env.physics()[:7])
    assert np.abs(ends[0] - ends[1]).max() > 1e-4


def test_a_restored_state_continues_bit_for_bit_noise_and_tasks_included() -> None:
    env = Kitchen().make()
    env.reset(seed=4)
    expert = KitchenExpert(env, "l")
    way: list[tuple[np.ndarray, Any, np.ndarray, float, Any]] = []
    for action in expert.actions():
        row = env.physics()
        observation, reward, *_, info = env.step(action)
        way.append((row, action, observation["state"], reward, info["events"]))
    done = next(t for t, (*_, reward, _) in enumerate(way) if reward == 1.0)
    for first in (3, done - 2, done + 1):
        other = Kitchen().make_batch(1)
        other.reset([0], [99], [Start(way[first][0])])
        for _, action, state, reward, events in way[first:]:
            found = other.step([0], action[None])
            np.testing.assert_array_equal(found.observation["state"][0], state)
            assert (found.reward[0], found.events[0]) == (reward, events)


def test_an_episode_depends_on_its_seed_only() -> None:
    env, rng = Kitchen().make(), np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (12, 9))

    def states(seed: int) -> np.ndarray:
        return np.array([env.reset(seed=seed)[0]["state"], *(env.step(a)[0]["state"] for a in actions)])

    first = states(5)
    assert np.abs(states(6) - first).max() > 1e-3
    np.testing.assert_array_equal(states(5), first)


@given(st.sets(st.sampled_from(list(TASKS))), st.integers(0, 2**16))
def test_a_task_is_complete_when_its_positions_are_near_its_goal(which: set[str], seed: int) -> None:
    positions, rng = START.copy(), np.random.default_rng(seed)
    for name in which:
        joints = TASKS[name].joints
        off = rng.standard_normal(joints.stop - joints.start)
        positions[joints] = GOALS[joints] + 0.29 * off / np.linalg.norm(off)
    assert {name for name, found in zip(TASKS, completed(positions), strict=True) if found} == which


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.slow
def test_every_skill_completes_its_task_and_no_other(still: KitchenEnv, letter: str) -> None:
    events, rewards, _ = play(still, letter)
    assert [name for _, name in events] == [f"task:{LETTERS[letter].name}", f"route:{letter}", "tasks:1"]
    assert sum(rewards) == 1.0
    assert len(rewards) < 80
    assert completed(still.simulator.data.qpos)[list(LETTERS).index(letter)]


@pytest.mark.slow
def test_all_seven_tasks_are_done_in_one_episode_which_then_terminates() -> None:
    events, rewards, terminated = play(Kitchen(horizon=600).make(), "mkbtlsh")
    assert terminated
    assert sum(rewards) == 7.0
    assert [name for _, name in events if name.startswith("tasks:")] == [f"tasks:{n}" for n in range(1, 8)]


def test_events_come_once_each_and_spell_the_mode() -> None:
    env = Kitchen().make()
    events, _, _ = play(env, "l")
    assert [name for _, name in events] == ["task:light_switch", "route:l", "tasks:1"]
    back = [env.step(np.zeros(9)) for _ in range(3)]  # the switch stays on: nothing is reported or paid again
    assert [(reward, info["events"]) for _, reward, _, _, info in back] == [(0.0, ())] * 3
    record = EpisodeRecord(0, "kitchen", 0, 0, "bc", 2.0, 9, False, False, events=((3, "route:m"), (8, "route:l")))
    assert mode_of(record) == "m>l"


def test_only_chosen_tasks_count() -> None:
    others = [name for name in TASKS if name != "light_switch"]
    events, rewards, _ = play(Kitchen(tasks=others).make(), "l")
    assert (events, sum(rewards)) == ([], 0.0)
    alone = Kitchen(tasks=["light_switch"])
    events, rewards, terminated = play(alone.make(), "l")
    assert terminated
    assert sum(rewards) == 1.0
    wanted = alone.goal(0)["state"]
    np.testing.assert_allclose(wanted[17:19], [-0.69, -0.05], rtol=1e-6)
    assert np.isnan(np.delete(wanted, [17, 18])).all()


def test_d4rl_scores_are_defined_for_four_tasks() -> None:
    assert Kitchen(tasks=["microwave", "kettle", "light_switch", "slide_cabinet"]).score(3.0) == {"normalised_score": 75.0}
    assert Kitchen().score(3.0) == {}


def test_inverse_kinematics_reaches_poses(still: KitchenEnv) -> None:
    still.reset(seed=0)
    arm = Arm(still)
    target = arm.tip + np.array([0.05, 0.2, 0.1])
    for _ in range(25):
        still.step(arm.reach(target, FORWARD, 0.0, 0.16))
    np.testing.assert_allclose(arm.tip, target, atol=0.005)
    assert np.abs(still.physics()[7:9]).max() < 0.01


@pytest.mark.slow
def test_demonstrations_do_what_their_order_asks_and_can_be_made_again() -> None:
    family = Kitchen()
    first, second = family.generate(2, seed=3)
    again = next(family.generate(1, seed=3))
    np.testing.assert_array_equal(again.values["physics"], first.values["physics"])
    for episode in (first, second):
        order, completions = episode.meta["order"], episode.meta["completions"]
        assert order in ORDERS
        assert "".join(TASKS[name].letter for name in sorted(completions, key=completions.get)) == order
        assert np.flatnonzero(episode.values["reward"][:, 0]).tolist() == sorted(completions.values())
        assert len(episode) <= family.horizon
        assert episode.values["state"].shape == (len(episode), 60)
        assert np.abs(episode.values["action"]).max() <= 1.0
        assert not episode.values["state"][:, 30:].any()
    assert not np.array_equal(first.values["action"][:50], second.values["action"][:50])


@pytest.mark.slow
def test_four_of_four_in_most_random_orders() -> None:
    rng, family = np.random.default_rng(11), Kitchen()
    orders = ["".join(rng.permutation(list(LETTERS))[:4]) for _ in range(10)]
    done = 0
    for i, order in enumerate(orders):
        try:
            next(family.generate(1, seed=i, orders=[order], attempts=1))
        except EnvError:
            continue
        done += 1
    assert done >= 8


def test_default_orders_are_four_different_tasks_with_the_entropy_of_the_human_ones() -> None:
    names, chances = choose_orders(None, tuple(TASKS))
    assert len(names) == len(set(names)) == 28
    assert all(len(set(order)) == 4 for order in names)
    assert -(chances * np.log2(chances)).sum() == pytest.approx(4.69, abs=0.01)


def test_orders_may_be_listed_weighted_or_follow_the_chosen_tasks() -> None:
    everything = tuple(TASKS)
    assert choose_orders(["mk", "km"], everything)[1].tolist() == [0.5, 0.5]
    assert choose_orders({"mk": 3, "l": 1}, everything)[1].tolist() == [0.75, 0.25]
    assert set("".join(choose_orders(None, ("microwave", "kettle", "light_switch", "slide_cabinet"))[0])) == set("mkls")
    assert sorted(choose_orders(None, ("microwave", "kettle"))[0]) == ["km", "mk"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"orders": ["mkx"]}, "'x', which is no task"),
        ({"orders": ["mkm"]}, "each once"),
        ({"orders": [""]}, "at least one task"),
        ({"orders": []}, "at least one of them positive"),
        ({"orders": {"mk": -1}}, "weights >= 0"),
        ({"slowest": 0.0}, "slowest"),
        ({"action_noise": -1.0}, "action_noise >= 0"),
    ],
)
def test_impossible_demonstrations_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        next(Kitchen().generate(1, 0, **options))


def test_mistakes_are_refused_with_their_cause() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'kettle'"):
        Kitchen(tasks=["kettel"])
    with pytest.raises(ConfigError, match="each once"):
        Kitchen(tasks=["kettle", "kettle"])
    with pytest.raises(ConfigError, match="horizon must be at least 1"):
        Kitchen(horizon=0)
    with pytest.raises(ConfigError, match="noise must be at least 0"):
        Kitchen(noise=-0.1)
    with pytest.raises(ConfigError, match="do not count here"):
        next(Kitchen(tasks=["kettle"]).generate(1, 0, orders=["m"]))
    env = Kitchen().make()
    with pytest.raises(EnvError, match="reset before its first step"):
        env.step(np.zeros(9))
    with pytest.raises(EnvError, match="97 finite numbers"):
        env.reset(options={"simulator": np.zeros(96)})
    with pytest.raises(EnvError, match="two numbers >= 0"):
        env.reset(options={"simulator": np.full(97, -1.0)})
    env.reset(seed=0)
    with pytest.raises(EnvError, match="9 finite joint velocities"):
        env.step(np.full(9, np.nan))
    with pytest.raises(EnvError, match="failed at the order 'l' in 2 attempts of at most 5 steps"):
        next(Kitchen().generate(1, 0, orders=["l"], max_length=5, attempts=2))


@pytest.mark.parametrize("package", ["mujoco", "gymnasium_robotics"])
def test_a_missing_simulator_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    if package == "gymnasium_robotics":
        monkeypatch.setattr("maskbench.envs.kitchen.simulator.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'maskbench\[robotics\]'"):
        Kitchen().make()


def test_describing_and_stepping_import_neither_wrappers_nor_opengl() -> None:
    code = (
        "import sys\n"
        "from maskbench.envs.kitchen import Kitchen\n"
        "family = Kitchen(); family.goal(0)\n"
        "assert not {'mujoco', 'gymnasium_robotics'} & set(sys.modules), 'imported'\n"
        "env = family.make(); env.reset(seed=0); env.step(env.action_space.sample())\n"
        "assert not {'gymnasium_robotics', 'OpenGL', 'glfw'} & set(sys.modules), 'imported'\n"
    )
    path = {"PYTHONPATH": ":".join(sys.path), "MUJOCO_GL": "disable"}
    subprocess.run([sys.executable, "-c", code], check=True, env=path, timeout=120)


def test_pictures_show_the_kitchen_and_change_nothing() -> None:
    try:
        offscreen_backend()
    except EnvError as reason:
        pytest.skip(str(reason))
    env = Kitchen(height=120, width=160).make()
    env.reset(seed=0)
    try:
        first = env.render()
    except EnvError as reason:
        pytest.skip(str(reason))
    assert first.shape == (120, 160, 3)
    assert first.dtype == np.uint8
    assert first.std() > 30
    watched = [env.physics()]
    for _ in range(8):
        env.step(np.ones(9))
        last = env.render()
        watched.append(env.physics())
    assert np.abs(last.astype(int) - first).max() > 50
    env.reset(seed=0)
    for row in watched[1:]:
        env.step(np.ones(9))
        np.testing.assert_array_equal(env.physics(), row)
    env.close()
