"""What every simulator-backed environment promises, whatever its physics."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from maskbench.envs.base import Environment, Start
from maskbench.envs.dmc import DMControl
from maskbench.envs.maze2d import Maze2D, MazePOMDP
from maskbench.errors import ConfigError, EnvError, MissingExtraError

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")

HORIZON = 12
FAMILIES: dict[str, Callable[..., Environment]] = {
    "umaze": lambda **k: Maze2D("umaze", **k),
    "large": lambda **k: Maze2D("large", **k),
    "umaze_pomdp": lambda **k: MazePOMDP("umaze", **k),
    "walker": lambda **k: DMControl("walker", "run", **k),
    "cheetah": lambda **k: DMControl("cheetah", "flip", **k),
    "quadruped": lambda **k: DMControl("quadruped", "roll", **k),
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Environment:
    return FAMILIES[request.param](horizon=HORIZON)


def actions_of(family: Environment, seed: int, steps: int = HORIZON) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (steps, *family.spec["action"].shape)).astype(np.float32)


def roll(env: Any, actions: np.ndarray, **reset: Any) -> tuple[np.ndarray, np.ndarray]:
    states, rewards = [env.reset(**reset)[0]["state"]], []
    for action in actions:
        observation, reward, *_ = env.step(action)
        states.append(observation["state"])
        rewards.append(reward)
    return np.array(states), np.array(rewards)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_passes_gymnasiums_own_checker(family: Environment) -> None:
    check_env(family.make(), skip_render_check=True)


def test_spaces_are_those_of_the_specification(family: Environment) -> None:
    env = family.make()
    assert list(env.observation_space) == [f.name for f in family.spec.with_role("state")]
    assert env.observation_space["state"].shape == family.spec["state"].shape
    assert env.action_space.shape == family.spec["action"].shape
    assert (env.action_space.low == -1).all()
    assert (env.action_space.high == 1).all()
    assert family.spec["state"].parts[-1][2] == family.spec["state"].shape[0]


def test_a_seed_fixes_the_episode_and_seeds_differ(family: Environment) -> None:
    actions = actions_of(family, 0)
    one, two, other = (roll(family.make(), actions, seed=s) for s in (7, 7, 8))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert np.abs(one[0][0] - other[0][0]).max() > 1e-3


def test_an_episode_does_not_depend_on_the_one_before(family: Environment) -> None:
    env, actions = family.make(), actions_of(family, 1)
    fresh = roll(env, actions, seed=3)[0]
    roll(env, actions_of(family, 2), seed=4)
    np.testing.assert_array_equal(roll(env, actions, seed=3)[0], fresh)


def test_unseeded_episodes_differ(family: Environment) -> None:
    env = family.make()
    first, second = env.reset(seed=0)[0]["state"], env.reset()[0]["state"]
    assert np.abs(first - second).max() > 1e-3


def test_truncates_exactly_at_the_horizon_and_never_resets_itself(family: Environment) -> None:
    env, actions = family.make(), actions_of(family, 3, HORIZON + 3)
    env.reset(seed=0)
    outcomes = [env.step(a) for a in actions]
    assert [o[3] for o in outcomes] == [False] * (HORIZON - 1) + [True] * 4
    assert not any(o[2] for o in outcomes)
    longer = roll(FAMILIES[_key(family)](horizon=1000).make(), actions, seed=0)[0]
    np.testing.assert_array_equal([o[0]["state"] for o in outcomes], longer[1:])


def test_slots_of_a_batch_equal_single_environments(family: Environment) -> None:
    plans = {slot: actions_of(family, slot) for slot in range(3)}
    alone = {slot: roll(family.make(), plans[slot], seed=50 + slot) for slot in plans}
    batch = family.make_batch(3)
    states = {slot: [row] for slot, row in enumerate(batch.reset([0, 1], [50, 51])["state"])}
    rewards: dict[int, list[float]] = {0: [], 1: [], 2: []}
    clock = dict.fromkeys(range(3), 0)
    for tick in range(2 * HORIZON):
        if tick == 5:
            states[2] = [batch.reset([2], [52])["state"][0]]
        live = [s for s in ((2, 0, 1) if tick % 2 else (0, 1, 2)) if s in states and clock[s] < HORIZON]
        if not live:
            break
        out = batch.step(live, np.stack([plans[s][clock[s]] for s in live]))
        for row, slot in enumerate(live):
            clock[slot] += 1
            states[slot].append(out.observation["state"][row])
            rewards[slot].append(float(out.reward[row]))
            assert out.truncated[row] == (clock[slot] == HORIZON)
    for slot in range(3):
        np.testing.assert_array_equal(states[slot], alone[slot][0])
        np.testing.assert_array_equal(np.float32(rewards[slot]), np.float32(alone[slot][1]))


def test_a_batch_slot_starts_from_a_saved_simulator_state(family: Environment) -> None:
    env = family.make()
    roll(env, actions_of(family, 4), seed=1)
    saved = env.physics()  # type: ignore[attr-defined]
    expected = env.reset(options={"simulator": saved})[0]["state"]
    found = family.make_batch(2).reset([1, 0], [9, 9], [Start(saved), None])["state"]
    np.testing.assert_array_equal(found[0], expected)
    assert np.abs(found[1] - expected).max() > 1e-3


def test_a_saved_state_restarts_the_step_count(family: Environment) -> None:
    env = family.make()
    roll(env, actions_of(family, 5), seed=1)
    env.reset(options={"simulator": env.physics()})  # type: ignore[attr-defined]
    truncated = [env.step(a)[3] for a in actions_of(family, 6)]
    assert truncated == [False] * (HORIZON - 1) + [True]


def test_generated_episodes_match_the_specification(family: Environment) -> None:
    for episode in family.generate(2, seed=0):
        assert tuple(episode.values) == family.spec.names
        for factor in family.spec:
            values = episode.values[factor.name]
            assert (values.shape, values.dtype) == ((HORIZON, *factor.shape), factor.dtype)
            assert np.isfinite(values).all()
        assert np.abs(episode.values["action"]).max() <= 1
        assert set(episode.final) == {"state"}
        assert episode.meta["quality"]


def test_generated_episodes_depend_on_seed_and_index_only(family: Environment) -> None:
    many = list(family.generate(3, seed=5))
    again = next(itertools.islice(family.generate(2, seed=5), 1, None))
    for name in family.spec.names:
        np.testing.assert_array_equal(again.values[name], many[1].values[name])
    assert not np.array_equal(many[0].values["state"], many[1].values["state"])
    assert not np.array_equal(next(family.generate(1, seed=6)).values["state"], many[0].values["state"])


def test_generated_rows_replay_in_the_simulator(family: Environment) -> None:
    episode, env = next(family.generate(1, seed=0)), family.make()
    values = episode.values
    following = np.concatenate([values["state"][1:], [episode.final["state"]]])
    for t in range(HORIZON):
        observation, _ = env.reset(options={"simulator": values["physics"][t]})
        if family.name != "quadruped":  # its force and acceleration readings belong to the step before
            np.testing.assert_allclose(observation["state"], values["state"][t], atol=1e-6)
        observation, reward, *_ = env.step(values["action"][t])
        np.testing.assert_allclose(observation["state"], following[t], atol=1e-4)
        assert reward == pytest.approx(values["reward"][t, 0], abs=1e-5)


def test_mistakes_are_refused_with_their_cause(family: Environment) -> None:
    env, size = family.make(), family.spec["physics"].shape[0]
    with pytest.raises(EnvError, match="reset before its first step"):
        env.step(actions_of(family, 0)[0])
    with pytest.raises(EnvError, match=f"{size} finite numbers"):
        env.reset(options={"simulator": np.zeros(size + 1)})
    with pytest.raises(EnvError, match=f"{size} finite numbers"):
        env.reset(options={"simulator": np.full(size, np.nan)})
    env.reset(seed=0)
    with pytest.raises(EnvError, match="finite"):
        env.step(np.full(family.spec["action"].shape, np.nan, np.float32))
    with pytest.raises(ConfigError, match="horizon must be at least 1"):
        FAMILIES[_key(family)](horizon=0)
    with pytest.raises(TypeError):
        next(family.generate(1, 0, nois=0.2))


def test_a_missing_simulator_names_the_extra(family: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(MissingExtraError, match=r"mujoco.*pip install 'maskbench\[robotics\]'"):
        family.make()


def test_describing_environments_imports_no_simulator() -> None:
    code = (
        "import sys\n"
        "from maskbench.envs.dmc import DMControl\n"
        "from maskbench.envs.maze2d import Maze2D\n"
        "DMControl('walker', 'walk'); Maze2D('umaze').goal(0)\n"
        "assert not {'mujoco', 'dm_control', 'gymnasium_robotics', 'OpenGL'} & set(sys.modules), 'imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=120)


def test_stepping_needs_no_opengl() -> None:
    code = (
        "import sys\n"
        "from maskbench.envs.dmc import DMControl\n"
        "env = DMControl('quadruped', 'walk').make(); env.reset(seed=0); env.step(env.action_space.sample())\n"
        "assert not {'OpenGL', 'glfw'} & set(sys.modules), 'imported'\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path), "MUJOCO_GL": "disable"}, timeout=120
    )


def test_a_wrong_opengl_choice_is_explained() -> None:
    code = (
        "from maskbench.envs.maze2d import Maze2D\n"
        "from maskbench.errors import EnvError\n"
        "try:\n    Maze2D('umaze').make()\n"
        "except EnvError as error:\n    assert 'MUJOCO_GL=\\'voodoo\\'' in str(error), error\n"
        "else:\n    raise AssertionError('accepted')\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path), "MUJOCO_GL": "voodoo"}, timeout=120
    )


def _key(family: Environment) -> str:
    return family.name.removeprefix("maze2d_")
