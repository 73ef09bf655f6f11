"""MTM's sinusoids: the law of the waves, and the exact floor of their prediction."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from maskbench.envs.sinusoid import LENGTH, PHASES, Sinusoid
from maskbench.errors import ConfigError, EnvError


def waves(count: int, seed: int = 0, **options: float) -> np.ndarray:
    return np.stack([e.values["state"] for e in Sinusoid(**options).generate(count, seed)])  # type: ignore[arg-type]


def test_waves_are_sinusoids_with_a_random_sign_in_each_half() -> None:
    episodes = list(Sinusoid().generate(800, 0))
    modes = Counter(e.meta["mode"] for e in episodes)
    assert set(modes) == {"++", "+-", "-+", "--"}
    assert min(modes.values()) > 150
    for e in episodes[:50]:
        sign = np.repeat([1.0 if s == "+" else -1.0 for s in e.meta["mode"]], LENGTH // 2)
        assert np.abs(e.values["state"][:, 0] - sign * np.sin(PHASES)).max() < 6 * 0.03
        assert e.values["state"].shape == (16, 1)
    spread = np.std([e.values["state"][0, 0] for e in episodes])  # sin 0 = 0: the noise alone
    assert spread == pytest.approx(0.03, rel=0.1)


def test_without_flips_a_wave_has_one_sign() -> None:
    assert {e.meta["mode"] for e in Sinusoid(flip=False).generate(40, 0)} == {"++", "--"}


def test_a_rollout_draws_what_is_asked() -> None:
    episode = next(Sinusoid().generate(1, 3))
    env = Sinusoid().make()
    observation, _ = env.reset(seed=episode.meta["env_seed"])
    for t in range(LENGTH):
        np.testing.assert_allclose(observation["state"], episode.values["state"][t], atol=1e-6)
        observation, reward, terminated, truncated, _ = env.step(episode.values["action"][t])
        assert (reward, terminated, truncated) == (0.0, False, t == LENGTH - 1)


def masks(count: int, shown: list[int]) -> tuple[np.ndarray, np.ndarray]:
    visible = np.zeros((count, LENGTH, 1), bool)
    visible[:, shown] = True
    return visible, ~visible


def test_hidden_halves_cost_the_variance_of_their_sign() -> None:
    state = waves(4)
    visible, predict = masks(4, [])
    floor = Sinusoid(noise=0.0).floor({"state": state}, visible, predict, ["state"])
    assert floor is not None
    assert floor["total"] == pytest.approx(float(np.mean(np.sin(PHASES) ** 2)), abs=1e-9)


def test_one_clear_value_a_half_leaves_the_noise() -> None:
    state = waves(64)
    visible, predict = masks(64, [4, 11])
    floor = Sinusoid().floor({"state": state}, visible, predict, ["state"])
    assert floor is not None
    assert 0.7 * 0.03**2 < floor["total"] < 0.03**2  # cutting to [-1, 1] takes a little of it away
    half = Sinusoid().floor({"state": state}, *masks(64, [4]), ["state"])
    assert half is not None
    assert half["total"] == pytest.approx(float(np.sum(np.sin(PHASES[8:]) ** 2)) / 15, abs=2e-3)
    tied = Sinusoid(flip=False).floor({"state": state}, *masks(64, [4]), ["state"])
    assert tied is not None
    assert tied["total"] < 0.03**2


@pytest.mark.parametrize("shown", [[], [0], [0, 1], [7, 8], [3, 12]])
@pytest.mark.parametrize("noise", [0.03, 0.5])
def test_the_floor_is_what_the_posterior_mean_reaches(shown: list[int], noise: float) -> None:
    """The prediction is computed here on its own, by weighing the four waves with their likelihoods."""
    state, env = waves(4000, noise=noise)[:, :, 0].astype(np.float64), Sinusoid(noise=noise)
    visible, predict = masks(4000, shown)
    floor = env.floor({"state": state[:, :, None].astype(np.float32)}, visible, predict, ["state"])
    assert floor is not None
    signs = np.array([[a] * 8 + [b] * 8 for a in (1, -1) for b in (1, -1)])
    centres = signs * np.sin(PHASES)
    rng = np.random.default_rng(0)
    cut = np.clip(centres[..., None] + noise * rng.standard_normal(20000), -1, 1).mean(-1)
    from scipy.stats import norm

    def log_likelihood(t: int) -> np.ndarray:
        v = state[:, t, None]
        inside = norm.logpdf(v, centres[None, :, t], noise)
        above, below = norm.logsf(1, centres[:, t], noise), norm.logcdf(-1, centres[:, t], noise)
        return np.where(v >= 1, above, np.where(v <= -1, below, inside))

    log = sum((log_likelihood(t) for t in shown), np.zeros((4000, 4)))
    weight = np.exp(log - log.max(1, keepdims=True))
    guess = (weight / weight.sum(1, keepdims=True)) @ cut
    hidden = [t for t in range(LENGTH) if t not in shown]
    error = np.square(guess - state)[:, hidden].mean()
    assert floor["total"] == pytest.approx(float(error), rel=0.06)


def test_no_floor_is_claimed_where_actions_are_seen_too() -> None:
    both = np.zeros((1, LENGTH, 2), bool)
    assert Sinusoid().floor({}, both, both, ["state", "action"]) is None


def test_mistakes_are_refused() -> None:
    with pytest.raises(ConfigError, match="noise must be at least 0"):
        Sinusoid(noise=-1.0)
    batch = Sinusoid().make_batch(2)
    batch.reset([0, 1], [0, 1])
    with pytest.raises(EnvError, match="2 finite changes"):
        batch.step([0, 1], np.zeros((2, 3)))
