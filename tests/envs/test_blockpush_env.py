"""Block push: the environment's contract, starts, saved states and pictures."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from maskbench.envs.blockpush import BlockPush, Oracle
from maskbench.envs.blockpush.layout import draw_layout
from maskbench.errors import ConfigError, EnvError, MissingExtraError
from maskbench.testing.check_env import check_env

pytest.importorskip("mujoco")


def test_keeps_the_contract() -> None:
    check_env(BlockPush())


def test_observation_is_the_published_one() -> None:
    family = BlockPush()
    assert [(n, b - a) for n, a, b in family.spec["state"].parts] == [
        ("block1", 3),
        ("block2", 3),
        ("effector", 2),
        ("effector_target", 2),
        ("target1", 3),
        ("target2", 3),
    ]
    env = family.make()
    state = env.reset(seed=0)[0]["state"]
    np.testing.assert_array_equal(state[6:10], np.array([0.3, -0.4, 0.3, -0.4], np.float32))
    moved = env.step(np.array([0.02, -0.01], np.float32))[0]["state"]
    np.testing.assert_allclose(moved[8:10], (0.32, -0.41), atol=1e-6)
    np.testing.assert_allclose(moved[6:8], moved[8:10], atol=2e-3)
    np.testing.assert_array_equal(moved[10:], state[10:])


def test_starts_follow_the_published_laws() -> None:
    layouts = [draw_layout(np.random.default_rng(s)) for s in range(3000)]
    blocks, zones = np.array([x.blocks for x in layouts]), np.array([x.zones for x in layouts])
    assert blocks[..., 0].min() >= 0.3
    assert blocks[..., 0].max() <= 0.5
    assert np.abs(blocks[:, 0, 0] - blocks[:, 1, 0]).min() > 0.1
    assert blocks[:, 0, 0].std() == pytest.approx(0.2 / math.sqrt(12), rel=0.05)
    assert np.abs(blocks[..., 1] + 0.2).max() == pytest.approx(0.15, abs=1e-3)
    assert blocks[..., 2].min() == pytest.approx(0.0, abs=0.01)
    assert blocks[..., 2].max() == pytest.approx(math.pi, abs=0.01)
    side = np.sign(zones[:, 0, 0] - 0.4)
    assert side.mean() == pytest.approx(0.0, abs=0.06)
    np.testing.assert_array_equal(side, -np.sign(zones[:, 1, 0] - 0.4))
    assert np.abs(np.abs(zones[..., 0] - 0.4) - 0.12).max() <= 0.005
    assert np.abs(zones[..., 1] - 0.2).max() <= 0.0075
    assert np.abs(np.abs(zones[..., 2]) - math.pi).max() <= math.pi / 30
    assert (zones[..., 2] < 0).mean() == pytest.approx(0.5, abs=0.03)


def test_the_second_block_is_distributed_as_if_redrawn_until_it_fits() -> None:
    rng = np.random.default_rng(0)
    found = np.sort([draw_layout(np.random.default_rng(s)).blocks[1, 0] for s in range(2000)])
    first, second = rng.uniform(0.3, 0.5, 2000), rng.uniform(0.3, 0.5, (2000, 2000))
    fits = np.abs(second - first[:, None]) > 0.1
    expected = np.sort(second[np.arange(2000), fits.argmax(1)][fits.any(1)])
    quantiles = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(np.quantile(found, quantiles), np.quantile(expected, quantiles), atol=0.006)


def test_min_yaw_bounds_the_first_yaw_of_blocks() -> None:
    env = BlockPush(min_yaw=1.0).make()
    yaws = np.array([env.reset(seed=s)[0]["state"][[2, 5]] for s in range(100)])
    assert yaws.min() >= 1.0 - 1e-5
    assert yaws.max() <= math.pi + 1e-5


def test_commands_are_cut_to_the_workspace_and_actions_are_not() -> None:
    env = BlockPush().make()
    env.reset(seed=0)
    for _ in range(3):
        state = env.step(np.array([-9.0, -9.0]))[0]["state"]
    np.testing.assert_allclose(state[8:10], (0.15, -0.5), atol=1e-6)
    state = env.step(np.array([0.2, 0.0]))[0]["state"]
    assert state[8] == pytest.approx(0.35, abs=1e-6)
    for _ in range(3):
        state = env.step(np.array([9.0, 9.0]))[0]["state"]
    np.testing.assert_allclose(state[8:10], (0.7, 0.5), atol=1e-6)


def test_a_saved_state_continues_bit_for_bit_with_its_events() -> None:
    family = BlockPush()
    episode = next(family.generate(1, seed=3))
    env = family.make()
    env.reset(seed=episode.meta["env_seed"])
    events = [env.step(a)[4]["events"] for a in episode.values["action"]]
    final, last = env.physics(), len(episode) - 1
    middle = next(t for t, names in enumerate(events) if "P1" in names) + 1
    for start in (0, middle // 2, middle, last):
        env.reset(seed=99)
        env.reset(options={"simulator": episode.values["physics"][start]})
        for t in range(start, last + 1):
            np.testing.assert_array_equal(env.physics(), episode.values["physics"][t])
            state, reward, terminated, _, info = env.step(episode.values["action"][t])
            assert info["events"] == events[t]
            assert np.float32(reward) == episode.values["reward"][t, 0]
            assert terminated == (t == last)
        np.testing.assert_array_equal(env.physics(), final)
        np.testing.assert_array_equal(state["state"], episode.final["state"])


def test_an_episode_of_the_original_length_may_be_asked_for() -> None:
    env = BlockPush(horizon=350).make()
    env.reset(seed=0)
    ends = [env.step(np.zeros(2))[3] for _ in range(351)]
    assert ends == [False] * 349 + [True, True]
    assert BlockPush().horizon == 300


def test_a_success_in_the_last_step_is_terminated_and_not_truncated() -> None:
    episode = next(BlockPush().generate(1, seed=0))
    env = BlockPush(horizon=len(episode)).make()
    env.reset(seed=episode.meta["env_seed"])
    for action in episode.values["action"]:
        *_, terminated, truncated, _ = env.step(action)
    assert (terminated, truncated) == (True, False)


def test_violent_actions_break_nothing() -> None:
    env = BlockPush().make()
    state = env.reset(seed=0)[0]["state"]
    for t in range(200):
        aim = state[0:2] if t // 10 % 2 else state[3:5]
        state = env.step(np.clip(2 * (aim - state[8:10]), -0.1, 0.1))[0]["state"]
        assert np.isfinite(state).all()
        assert np.abs(env.physics()[[4, 8]] - 0.02).max() < 0.006  # heights: no block lies on the other one
        assert np.abs(state[[2, 5]]).max() <= np.float32(math.pi)


def test_mistakes_are_refused_with_their_cause() -> None:
    env = BlockPush().make()
    with pytest.raises(EnvError, match="reset before its first step"):
        env.step(np.zeros(2))
    with pytest.raises(EnvError, match="36 finite numbers"):
        env.reset(options={"simulator": np.zeros(35)})
    env.reset(seed=0)
    with pytest.raises(EnvError, match="2 finite displacements"):
        env.step(np.array([0.0, np.nan]))
    for mistake in ({"horizon": 0}, {"min_yaw": 4.0}):
        with pytest.raises(ConfigError, match=str(next(iter(mistake)))):
            BlockPush(**mistake)  # type: ignore[arg-type]


def test_a_missing_simulator_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(MissingExtraError, match=r"mujoco.*pip install 'maskbench\[robotics\]'"):
        BlockPush().make()


def test_describing_the_environment_imports_no_simulator() -> None:
    code = (
        "import sys\nfrom maskbench.envs.blockpush import BlockPush\nBlockPush()\n"
        "assert not {'mujoco', 'OpenGL'} & set(sys.modules), 'imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=120)


def test_picture_shows_zones_blocks_and_rod() -> None:
    env = BlockPush().make()
    state = env.reset(seed=5)[0]["state"].astype(float)
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.shape == (186, 320, 3)

    def pixel(x: float, y: float) -> list[int]:
        scale = 320 / 1.08
        return picture[int((x - 0.11) * scale), int((y + 0.54) * scale)].tolist()  # type: ignore[no-any-return]

    red, green, rod = pixel(*state[0:2]), pixel(*state[3:5]), pixel(*state[6:8])
    assert red[0] > 2 * max(red[1:])
    assert green[1] > 1.5 * max(green[0], green[2])
    assert max(rod) < 90
    red_zone, green_zone = pixel(*state[10:12]), pixel(*state[13:15])
    assert red_zone[0] > red_zone[1] + 30
    assert green_zone[1] > green_zone[0] + 10
    yaw = state[2]
    tip, side = ((0.023 * math.cos(yaw + turn), 0.023 * math.sin(yaw + turn)) for turn in (math.pi / 4, 0.0))
    assert pixel(state[0] + tip[0], state[1] + tip[1])[1] < 120  # a corner lies 28 mm from the centre, an edge 20 mm
    assert pixel(state[0] + side[0], state[1] + side[1])[1] > 200


def test_the_expert_acts_on_what_the_environment_shows() -> None:
    env = BlockPush().make()
    action = Oracle("red-red>green-green").act(env.reset(seed=0)[0]["state"])
    assert env.action_space.contains(action)
