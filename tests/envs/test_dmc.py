"""dm_control environments: parity with the suite and with published episodes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskbench.envs.camera import offscreen_backend
from maskbench.envs.dmc import DMControl
from maskbench.envs.dmc.domains import DOMAINS
from maskbench.envs.dmc.noise import coloured_actions
from maskbench.envs.dmc.rewards import bell, ramp
from maskbench.errors import ConfigError, DataError, EnvError

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")

PUBLISHED = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "maskdp_train" / "walker" / "expert" / "walker_walk"
)
ALL_TASKS = [(domain, task) for domain in DOMAINS for task in DOMAINS[domain].tasks]


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MUJOCO_GL", "disable")
    return pytest.importorskip("dm_control.suite")


@pytest.fixture(scope="module")
def episodes() -> list[dict[str, np.ndarray]]:
    files = sorted(PUBLISHED.glob("*.npz"))[::13]
    if not files:
        pytest.skip(f"no published episodes at {PUBLISHED}")
    loaded = []
    for file in files:
        with np.load(file, allow_pickle=False) as archive:
            loaded.append({name: archive[name] for name in archive.files})
    return loaded


def test_the_tasks_are_the_suites_and_exorls() -> None:
    assert {d: set(DOMAINS[d].tasks) for d in DOMAINS} == {
        "walker": {"stand", "walk", "run", "flip"},
        "cheetah": {"run", "run_backward", "flip", "flip_backward"},
        "quadruped": {"stand", "walk", "run", "jump", "roll", "roll_fast"},
    }


@pytest.mark.parametrize(("domain", "sizes"), [("walker", (24, 6, 18)), ("cheetah", (17, 6, 18)), ("quadruped", (78, 12, 57))])
def test_sizes_are_the_published_ones(domain: str, sizes: tuple[int, int, int]) -> None:
    spec = DMControl(domain, "run").spec
    assert tuple(spec[name].shape[0] for name in ("state", "action", "physics")) == sizes
    assert spec["physics"].dtype == np.float64


@pytest.mark.parametrize(
    ("domain", "task"),
    [
        ("walker", "stand"),
        ("walker", "walk"),
        ("walker", "run"),
        ("cheetah", "run"),
        ("quadruped", "walk"),
        ("quadruped", "run"),
    ],
)
def test_steps_are_those_of_the_suite(suite: Any, domain: str, task: str) -> None:
    env = DMControl(domain, task).make()
    for seed in (0, 5):
        reference = suite.load(domain, task, task_kwargs={"random": seed}, environment_kwargs={"flat_observation": True})
        low, high = reference.action_spec().minimum, reference.action_spec().maximum
        expected, observation = reference.reset(), env.reset(seed=seed)[0]
        # The quadruped's first warm start comes from fewer trial passes than the suite's: equal to solver tolerance.
        close = 1e-5 if domain == "quadruped" else 0.0
        rng = np.random.default_rng(seed)
        for _ in range(60):
            np.testing.assert_allclose(
                observation["state"], expected.observation["observations"].astype(np.float32), rtol=0, atol=close
            )
            np.testing.assert_allclose(env.physics(), reference.physics.get_state(), rtol=0, atol=close)
            action = rng.uniform(-1, 1, low.shape).astype(np.float32)
            expected = reference.step(low + (action.astype(np.float64) + 1) / 2 * (high - low))
            observation, reward, *_ = env.step(action)
            assert reward == pytest.approx(expected.reward, abs=1e-6)


@pytest.mark.parametrize("domain", DOMAINS)
def test_parts_are_named_as_the_suite_observes(suite: Any, domain: str) -> None:
    reference = suite.load(domain, "run")
    shapes = {name: int(np.prod(spec.shape)) for name, spec in reference.observation_spec().items()}
    assert {name: stop - start for name, start, stop in DOMAINS[domain].parts} == shapes
    assert [name for name, _, _ in DOMAINS[domain].parts] == list(shapes)


@pytest.mark.parametrize("domain", DOMAINS)
def test_reward_features_are_the_named_quantities_of_the_suite(suite: Any, domain: str) -> None:
    reference = suite.load(domain, "run", task_kwargs={"random": 1})
    reference.reset()
    rng = np.random.default_rng(0)
    rows, expected = [], []
    for _ in range(20):
        reference.step(rng.uniform(-0.8, 0.8, reference.action_spec().shape))
        physics, data = reference.physics, reference.physics.named.data
        rows.append(physics.get_state())
        if domain == "walker":
            moving = (physics.horizontal_velocity(), data.subtree_angmom["torso"][1])
            expected.append((physics.torso_height(), physics.torso_upright(), *moving))
        elif domain == "cheetah":
            expected.append((physics.speed(), data.subtree_angmom["torso"][1]))
        else:
            expected.append((physics.torso_upright(), *physics.torso_velocity(), data.sensordata["center_of_mass"][2]))
    for task, reward in DOMAINS[domain].tasks.items():
        found = DMControl(domain, task).relabel(np.array(rows))
        np.testing.assert_allclose(found, [reward(*f) for f in expected], atol=1e-6)
        assert found.dtype == np.float32


@pytest.mark.parametrize(("domain", "task"), ALL_TASKS)
def test_relabelling_reproduces_the_rewards_of_stepping(domain: str, task: str) -> None:
    family = DMControl(domain, task, horizon=40)
    episode = next(family.generate(1, seed=2))
    relabelled = family.relabel(episode.values["physics"])
    np.testing.assert_allclose(relabelled[1:], episode.values["reward"][:-1, 0], atol=1e-6)
    assert relabelled.min() >= 0
    assert relabelled.max() <= 1


@pytest.mark.parametrize(
    ("domain", "task", "features", "expected"),
    [
        ("walker", "stand", (1.2, 1.0, 0.0, 0.0), 1.0),
        ("walker", "stand", (0.6, -1.0, 0.0, 0.0), 0.075),
        ("walker", "walk", (1.3, 1.0, 0.5, 0.0), 3.5 / 6),
        ("walker", "run", (1.3, 1.0, 4.0, 0.0), 3.5 / 6),
        ("walker", "run", (1.3, 1.0, 0.0, 0.0), 1 / 6),
        ("walker", "flip", (1.3, 1.0, 0.0, 2.5), 3.5 / 6),
        ("cheetah", "run", (5.0, 0.0), 0.5),
        ("cheetah", "run_backward", (-12.0, 0.0), 1.0),
        ("cheetah", "flip", (0.0, 2.5), 0.5),
        ("cheetah", "flip_backward", (0.0, 2.5), 0.0),
        ("quadruped", "stand", (0.0, 0.0, 0.0, 0.0, 0.5), 0.5),
        ("quadruped", "walk", (1.0, 0.0, 0.0, 0.0, 0.5), 0.5),
        ("quadruped", "run", (1.0, 5.0, 0.0, 0.0, 0.5), 1.0),
        ("quadruped", "jump", (1.0, 0.0, 0.0, 0.0, 0.5), 0.75),
        ("quadruped", "roll", (1.0, 0.3, 0.0, 0.4, 0.5), 1.0),
        ("quadruped", "roll_fast", (1.0, 0.0, 3.0, 4.0, 0.5), 1.0),
    ],
)
def test_rewards_have_the_published_values(domain: str, task: str, features: tuple[float, ...], expected: float) -> None:
    assert DOMAINS[domain].tasks[task](*features) == pytest.approx(expected)


@given(st.floats(-50, 50), st.floats(0.1, 10), st.floats(0.1, 10))
def test_tolerances_are_those_of_dm_control(x: float, target: float, margin: float) -> None:
    from dm_control.utils.rewards import tolerance

    bounds = (target, float("inf"))
    assert bell(x, target, margin) == pytest.approx(tolerance(x, bounds, margin), abs=1e-9)
    for value in (0.0, 0.5):
        wanted = tolerance(x, bounds, margin, sigmoid="linear", value_at_margin=value)
        assert ramp(x, target, margin, value) == pytest.approx(wanted, abs=1e-9)


def test_published_rewards_are_relabelled_exactly(episodes: list[dict[str, np.ndarray]]) -> None:
    family = DMControl("walker", "walk")
    for episode in episodes:
        found = family.relabel(episode["physics"])
        np.testing.assert_allclose(found[1:], episode["reward"][1:, 0], atol=1e-6)


def test_published_transitions_are_reproduced(episodes: list[dict[str, np.ndarray]]) -> None:
    env = DMControl("walker", "walk").make()
    for episode in episodes:
        for row in range(0, 1000, 7):
            start, _ = env.reset(options={"simulator": episode["physics"][row]})
            np.testing.assert_allclose(start["state"], episode["observation"][row], atol=1e-6)
            found = env.step(episode["action"][row + 1])[0]["state"]
            np.testing.assert_allclose(found, episode["observation"][row + 1], atol=1e-5)


def test_published_actions_replay_for_18_steps(episodes: list[dict[str, np.ndarray]]) -> None:
    env = DMControl("walker", "walk").make()
    for episode in episodes:
        for row in range(0, 980, 20):
            env.reset(options={"simulator": episode["physics"][row]})
            for action in episode["action"][row + 1 : row + 19]:
                state = env.step(action)[0]["state"]
            assert np.linalg.norm(state - episode["observation"][row + 18]) < 1e-3


def test_actions_span_the_actuators_range() -> None:
    env = DMControl("quadruped", "walk").make()
    env.reset(seed=0)
    saved = env.physics()
    activations = []
    for value in (-1.0, 1.0):
        env.reset(options={"simulator": saved})
        for _ in range(100):
            env.step(np.full(12, value, np.float32))
        activations.append(env.physics()[-12:])
    np.testing.assert_allclose(activations[0], [-1.0, -1.0, -0.8] * 4, atol=1e-3)
    np.testing.assert_allclose(activations[1], [1.0, 1.1, 0.8] * 4, atol=1e-3)


def test_coloured_actions_have_the_asked_spread_and_persistence() -> None:
    persistence = []
    for colour in (0.0, 1.0, 2.0):
        actions = coloured_actions(np.random.default_rng(0), 1000, 2000, colour, scale=0.2)
        assert (actions.shape, actions.dtype) == ((1000, 2000), np.float32)
        assert actions.std() == pytest.approx(0.2, rel=0.05)
        persistence.append(np.corrcoef(actions[:-1].ravel(), actions[1:].ravel())[0, 1])
    assert abs(persistence[0]) < 0.02
    assert 0.7 < persistence[1] < 0.9
    assert persistence[2] > 0.99


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_coloured_actions_of_any_length_are_finite(steps: int) -> None:
    actions = coloured_actions(np.random.default_rng(0), steps, 3)
    assert actions.shape == (steps, 3)
    assert np.isfinite(actions).all()


def test_mistakes_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'walker'"):
        DMControl("waker", "walk")
    with pytest.raises(ConfigError, match=r"'cheetah' has no task 'run_backwards'. Did you mean 'run_backward'"):
        DMControl("cheetah", "run_backwards")
    with pytest.raises(DataError, match="18 numbers a state"):
        DMControl("walker", "walk").relabel(np.zeros((3, 57)))
    assert DMControl("walker", "walk").relabel(np.zeros((0, 18))).shape == (0,)


def test_a_diverged_simulation_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log file into the working directory
    env = DMControl("walker", "walk").make()
    env.reset(options={"simulator": np.full(18, 1e9)})
    with pytest.raises(EnvError, match="diverged"):
        env.step(np.ones(6))


def test_pictures_show_the_body() -> None:
    env = DMControl("cheetah", "run", height=120, width=160).make()
    env.reset(seed=0)
    try:
        first = env.render()
    except EnvError as reason:
        pytest.skip(str(reason))
    assert (first.shape, first.dtype) == ((120, 160, 3), np.uint8)
    assert first.std() > 10
    for _ in range(40):
        env.step(np.ones(6))
    assert np.abs(env.render().astype(int) - first).max() > 50
    env.close()


def test_pictures_without_opengl_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    env = DMControl("walker", "walk").make()
    env.reset(seed=0)
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(EnvError, match="switched off by MUJOCO_GL=disable"):
        env.render()
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(EnvError, match="libosmesa6"):
        env.render()
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert offscreen_backend() == "osmesa"


def test_simulations_of_a_closed_batch_start_anew() -> None:
    family = DMControl("walker", "walk")
    action = np.full((2, 6), 0.5, np.float32)

    def played() -> np.ndarray:
        batch = family.make_batch(2)
        batch.reset([0, 1], [3, 4])
        found = np.stack([batch.step([0, 1], action).observation["state"] for _ in range(5)])
        batch.close()
        return found

    first = played()
    np.testing.assert_array_equal(played(), first)


def test_another_process_gets_the_same_body_and_task() -> None:
    here = DMControl("cheetah", "flip", horizon=7, height=48, width=64)
    there = pickle.loads(pickle.dumps(here))
    assert (there.name, there.task, there.horizon, there.height, there.width) == ("cheetah", "flip", 7, 48, 64)
    first, second = here.make(), there.make()
    assert np.array_equal(first.reset(seed=3)[0]["state"], second.reset(seed=3)[0]["state"])
    action = np.full(6, 0.3, np.float32)
    assert first.step(action)[1] == second.step(action)[1]
