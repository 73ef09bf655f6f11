import numpy as np
import pytest

from maskbench.envs.pointmass import PointMass, route_points
from maskbench.errors import EnvError
from maskbench.testing import check_env
from maskbench.trajectory import Episode


def run(environment: PointMass, actions: np.ndarray, seed: int = 0) -> tuple[np.ndarray, list[float], list[str]]:
    """Positions, rewards and events of one episode, played until it ends."""
    batch = environment.make_batch(1)
    positions, rewards, events = [batch.reset([0], [seed])["state"][0]], [], []
    for action in actions:
        step = batch.step([0], np.asarray(action)[None])
        positions.append(step.observation["state"][0])
        rewards.append(float(step.reward[0]))
        events += step.events[0]
        if step.terminated[0] or step.truncated[0]:
            break
    return np.array(positions), rewards, events


@pytest.mark.parametrize(
    ("environment", "distinct"),
    [
        (PointMass(1), False),
        (PointMass(2), False),
        (PointMass(1, fixed_start=False), True),
        (PointMass(2, fixed_start=False, snap=False, noise_scale=0.1), True),
        (PointMass(2, spacing="legacy", snap=False), False),
    ],
)
def test_keeps_the_environment_contract(environment: PointMass, distinct: bool) -> None:
    check_env(environment, distinct_starts=distinct)


@pytest.mark.parametrize(
    ("version", "routes"), [(1, {"up": 0.5, "down": 0.5}), (2, {"right": 0.3, "diagonal": 0.4, "up": 0.3})]
)
def test_routes_are_drawn_by_weight(version: int, routes: dict[str, float]) -> None:
    names = [e.meta["route"] for e in PointMass(version).generate(3000, seed=0)]
    for name, weight in routes.items():
        assert names.count(name) / 3000 == pytest.approx(weight, abs=3 * np.sqrt(weight * (1 - weight) / 3000))
    assert set(names) == set(routes)


@pytest.mark.parametrize(
    ("version", "spacing", "lengths"),
    [
        (1, "legacy", {"up": 8, "down": 8}),
        (2, "legacy", {"right": 15, "diagonal": 9, "up": 15}),
        (1, "grid", {"up": 8, "down": 8}),
        (2, "grid", {"right": 16, "diagonal": 8, "up": 16}),
    ],
)
def test_demonstrations_have_the_published_lengths(version: int, spacing: str, lengths: dict[str, int]) -> None:
    environment = PointMass(version, spacing=spacing)  # type: ignore[arg-type]
    assert {e.meta["route"]: len(e) for e in environment.generate(60, seed=0)} == lengths


def test_legacy_spacing_leaves_the_grid_as_the_original_does() -> None:
    diagonal = route_points(((0, 0), (4, 4), (8, 8)), "legacy")
    np.testing.assert_allclose(np.diff(diagonal, axis=0)[:, 0], [0.8] * 5 + [1.0] * 4)
    right = route_points(((0, 0), (4, 0), (4, 4), (4, 8), (8, 8)), "legacy")
    np.testing.assert_allclose(np.diff(right, axis=0)[-3:], [[4 / 3, 0]] * 3)
    np.testing.assert_array_equal(right[-1], [8, 8])


@pytest.mark.parametrize("version", [1, 2])
def test_grid_demonstrations_are_integer_positions_that_reach_the_target(version: int) -> None:
    environment = PointMass(version)
    for episode in environment.generate(20, seed=3):
        assert np.array_equal(episode.values["state"], np.round(episode.values["state"]))
        assert np.abs(episode.values["action"]).max() <= 1
        assert episode.terminated
        assert episode.values["reward"].sum() == 1
        positions, rewards, events = run(environment, episode.values["action"])
        np.testing.assert_array_equal(positions[:-1], episode.values["state"])
        assert rewards[-1] == 1
        assert events == [f"route:{episode.meta['route']}", "target"]
        assert environment.route_of(positions) == environment.followed_route(positions) == episode.meta["route"]


def test_noise_moves_every_point_and_actions_stay_their_differences() -> None:
    clean, noisy = ([*PointMass(1, noise_scale=s).generate(400, seed=0)] for s in (0.0, 0.1))
    assert [e.meta["route"] for e in clean] == [e.meta["route"] for e in noisy]
    gap = np.concatenate([b.values["state"] - a.values["state"] for a, b in zip(clean, noisy, strict=True)])
    assert gap.std() == pytest.approx(0.1, rel=0.05)
    points = np.concatenate([noisy[0].values["state"], noisy[0].final["state"][None]])
    np.testing.assert_array_equal(np.diff(points, axis=0), noisy[0].values["action"])


def test_only_data_that_the_environment_can_replay_names_a_seed() -> None:
    seeded = lambda **kw: "env_seed" in next(PointMass(2, **kw).generate(1, 0)).meta  # noqa: E731
    assert seeded()
    assert seeded(spacing="legacy", snap=False)
    assert not seeded(spacing="legacy")
    assert not seeded(noise_scale=0.1)
    assert not seeded(fixed_start=False)


def test_start_noise_is_a_tenth_and_snapping_waits_for_the_first_step() -> None:
    batch = PointMass(1, fixed_start=False).make_batch(2000)
    first = batch.reset(range(2000), range(2000))["state"]
    np.testing.assert_allclose(first.mean(0), [1, 2], atol=0.01)
    np.testing.assert_allclose(first.std(0), 0.1, atol=0.006)
    step = batch.step(range(2000), np.tile([0.9, 0.1], (2000, 1)))
    assert np.array_equal(step.observation["state"], np.round(step.observation["state"]))


def test_leaving_the_arena_ends_with_minus_one() -> None:
    positions, rewards, events = run(PointMass(1), np.array([[-1.0, 0.0]] * 9))
    assert rewards == [0, 0, -1]
    assert positions[-1].tolist() == [-2, 2]
    assert events == ["outside"]


def test_actions_beyond_two_are_clipped_and_reported() -> None:
    positions, rewards, events = run(PointMass(1), np.array([[3.0, 0.0], [2.0, 0.0]]))
    assert positions.tolist() == [[1, 2], [3, 2], [5, 2]]
    assert rewards == [0, 1]
    assert events == ["clipped", "target"]


def test_idle_episode_is_truncated_after_fifty_steps() -> None:
    _, rewards, events = run(PointMass(2), np.zeros((60, 2)))
    assert len(rewards) == 50
    assert events == []


def test_mixed_legs_have_a_colour_but_follow_no_demonstrated_route() -> None:
    environment = PointMass(2)
    right, up = (route_points(r.points, "grid") for r in environment.arena.routes if r.name != "diagonal")
    mixed = np.concatenate([right[:9], up[9:]])  # right as far as (4, 4), then on as "up" does
    assert environment.route_of(mixed) == "right"
    assert environment.followed_route(mixed) is None
    assert environment.followed_route(right[:9]) is None
    assert environment.route_of(np.array([[0.0, 0.0], [1.0, 0.0]])) is None


def test_goal_is_the_target_and_distance_is_euclidean() -> None:
    environment = PointMass(2)
    distance = environment.goal_distance({"state": np.array([[8.0, 8.0], [5.0, 4.0]])}, environment.goal(0))
    np.testing.assert_allclose(distance, [0, 5])


def test_picture_shows_the_trail_of_its_own_slot() -> None:
    batch = PointMass(1).make_batch(2)
    batch.reset([0, 1], [0, 0])
    still = batch.render(1)
    assert still.shape == (160, 160, 3)
    batch.step([0], np.array([[1.0, 0.0]]))
    assert not np.array_equal(batch.render(0), still)
    assert np.array_equal(batch.render(1), still)
    batch.reset([0], [0])
    assert np.array_equal(batch.render(0), still)


def test_mistakes_are_named() -> None:
    with pytest.raises(EnvError, match=r"versions \[1, 2\]; found version=3"):
        PointMass(3)
    with pytest.raises(EnvError, match="found spacing='even'"):
        PointMass(1, spacing="even")  # type: ignore[arg-type]
    with pytest.raises(EnvError, match="noise_scale >= 0; found -1"):
        PointMass(1, noise_scale=-1)
    with pytest.raises(EnvError, match="takes no options"):
        next(PointMass(1).generate(1, 0, beta=1.0))
    batch = PointMass(1).make_batch(1)
    batch.reset([0], [0])
    with pytest.raises(EnvError, match=r"finite actions of shape \(1, 2\)"):
        batch.step([0], np.array([[np.nan, 0.0]]))


def test_demonstrations_tell_their_route_with_and_without_meta() -> None:
    for version in (1, 2):
        family = PointMass(version)
        for episode in family.generate(20, seed=0):
            assert family.mode(episode) == episode.meta["route"] == family.mode(Episode(episode.values, episode.final))
            assert family.mode(Episode(episode.values)) == episode.meta["route"]
