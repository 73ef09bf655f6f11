"""Noisy sinusoids of which each half has a random sign: the toy of Masked Trajectory Models (uniMASK study 6.3).

The smallest test of a trajectory model: four waves, of which any visible value far from zero tells the sign of its half,
so that the best possible loss is known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from maskbench.envs.base import BatchEnv, Environment, Observation, Start, StepBatch, numbered
from maskbench.errors import ConfigError, EnvError
from maskbench.trajectory import Episode, Factor, TrajectorySpec

if TYPE_CHECKING:
    import gymnasium

#: Values of a sequence, and the phases at which they are taken: one period, both ends included.
LENGTH = 16
PHASES = np.linspace(0.0, 2.0 * np.pi, LENGTH)
_HALF = LENGTH // 2


class Sinusoid(Environment):
    """Waves ``sign * sin(phase) + noise``, cut to [-1, 1].

    noise: standard deviation of the noise on every value.
    flip:  the second half has a sign of its own; False leaves one sign for the whole wave.

    Factors: ``state`` (1,) = the value, which is all that MTM's toy holds, and ``action`` (1,) = the change to the next
    value (0 after the last), so that the world can be stepped: a rollout draws whatever curve the policy asks for. ``reward``
    is always 0 and nothing counts as success. Raises ConfigError for negative noise.
    """

    success_events: ClassVar[tuple[str, ...]] = ()
    name = "sinusoid"
    horizon = LENGTH

    def __init__(self, noise: float = 0.03, flip: bool = True) -> None:
        if noise < 0:
            raise ConfigError(f"noise must be at least 0; found {noise}")
        self.noise, self.flip = noise, flip
        self.spec = TrajectorySpec(
            (
                Factor("state", "continuous", "state", (1,)),
                Factor("action", "continuous", "action", (1,)),
                Factor("reward", "continuous", "reward", (1,)),
            )
        )

    def make(self) -> gymnasium.Env[Any, Any]:
        import gymnasium

        from maskbench.envs.single import SingleEnv

        return SingleEnv(self.make_batch(1), self.spec, gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32), "")

    def make_batch(self, num_slots: int) -> SinusoidBatch:
        return SinusoidBatch(self.noise, num_slots)

    def generate(self, episodes: int | range, seed: int) -> Iterator[Episode]:  # type: ignore[override]
        """Waves; ``meta["mode"]`` is the signs of the two halves, such as ``+-``."""
        for i in numbered(episodes):
            rng = np.random.default_rng([seed, i])
            env_seed = int(rng.integers(2**31))
            first = 1 if rng.random() < 0.5 else -1
            second = (1 if rng.random() < 0.5 else -1) if self.flip else first
            noise = np.append(_first_noise(env_seed), rng.standard_normal(LENGTH - 1))
            sign = np.repeat((first, second), _HALF)
            wave = np.clip(sign * np.sin(PHASES) + self.noise * noise, -1.0, 1.0).astype(np.float32)[:, None]
            action = np.diff(wave, axis=0, append=wave[-1:])
            mode = "".join("+" if s > 0 else "-" for s in (first, second))
            values = {"state": wave, "action": action, "reward": np.zeros_like(wave)}
            yield Episode(values, final={"state": wave[-1]}, meta={"mode": mode, "env_seed": env_seed})

    def floor(
        self, values: Mapping[str, np.ndarray], visible: np.ndarray, predict: np.ndarray, factors: Sequence[str]
    ) -> Mapping[str, float] | None:
        """Lowest expected mean squared error over the predicted values; known where the state is the only factor.

        Visible values give the posterior of each half's sign; the best prediction of a hidden value is its mean under it.
        """
        if tuple(factors) != ("state",):
            return None
        shown, asked = visible[:, :, 0], predict[:, :, 0]
        mean, variance = self._moments()
        evidence = np.where(shown, self._log_odds(values["state"][:, :, 0]), 0.0)
        if self.flip:
            halves = evidence.reshape(-1, 2, _HALF).sum(2)
            odds = np.repeat(halves, _HALF, axis=1)
        else:
            odds = evidence.sum(1, keepdims=True)
        unsure = 1.0 - np.square(np.tanh(odds / 2.0))  # variance of the sign
        error = np.where(shown, 0.0, variance + np.square(mean) * unsure)
        total = float(error[asked].sum() / max(1, asked.sum()))
        return {"state": total, "total": total}

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance ``(LENGTH,)`` of the values of a wave with sign +1, by quadrature over the noise."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(200)
        drawn = np.clip(np.sin(PHASES)[:, None] + self.noise * nodes, -1.0, 1.0)
        weights = weights / weights.sum()
        mean = drawn @ weights
        return mean, np.square(drawn) @ weights - np.square(mean)

    def _log_odds(self, value: np.ndarray) -> np.ndarray:
        """Log-likelihood ratio ``(B, LENGTH)`` of sign +1 against -1; values cut to +-1 tell that they lay beyond."""
        from scipy.stats import norm

        spread, mean = max(self.noise, 1e-6), np.sin(PHASES)
        inside = 2.0 * value * mean / spread**2
        above = norm.logsf((1.0 - mean) / spread) - norm.logsf((1.0 + mean) / spread)
        return np.where(value >= 1.0, above, np.where(value <= -1.0, -above, inside))


class SinusoidBatch(BatchEnv):
    """``num_slots`` values that move by what is asked, cut to [-1, 1]."""

    def __init__(self, noise: float, num_slots: int) -> None:
        self.num_slots, self._noise = num_slots, noise
        self._drawn = np.zeros((num_slots, LENGTH + 1), np.float32)  # the curve so far
        self._elapsed = np.zeros(num_slots, np.int64)

    def reset(self, slots: Sequence[int], seeds: Sequence[int], starts: Sequence[Start | None] | None = None) -> Observation:
        if starts is not None and any(s is not None for s in starts):
            raise EnvError("sinusoid begins where its seed says; it has no saved simulator state to start from")
        where = np.asarray(slots, np.int64)
        self._drawn[where] = 0.0
        self._drawn[where, 0] = np.clip([self._noise * _first_noise(int(s)) for s in seeds], -1.0, 1.0)
        self._elapsed[where] = 0
        return {"state": self._drawn[where, :1]}

    def step(self, slots: Sequence[int], actions: np.ndarray) -> StepBatch:
        where, change = np.asarray(slots, np.int64), np.asarray(actions, np.float32)
        if change.shape != (len(where), 1) or not np.isfinite(change).all():
            raise EnvError(f"sinusoid needs {len(where)} finite changes of one number; found {change.shape}")
        before = np.minimum(self._elapsed[where], LENGTH)
        value = np.clip(self._drawn[where, before] + change[:, 0], -1.0, 1.0)
        self._elapsed[where] += 1
        self._drawn[where, np.minimum(self._elapsed[where], LENGTH)] = value
        return StepBatch(
            observation={"state": value[:, None]},
            reward=np.zeros(len(where), np.float32),
            terminated=np.zeros(len(where), bool),
            truncated=self._elapsed[where] >= LENGTH,
            events=((),) * len(where),
        )

    def render(self, slot: int) -> np.ndarray:
        """``(200, 200, 3)`` uint8: the curve so far over the four waves."""
        from maskbench.envs.raster import Canvas

        canvas = Canvas(200, (-1.0, -1.2), 2.4, (255, 255, 255), flip=True)
        across = np.linspace(-0.9, 1.3, LENGTH + 1)
        for sign in (1, -1):
            canvas.line(np.stack((across[:LENGTH], sign * np.sin(PHASES)), 1), 0.01, (200, 200, 200))
        known = int(min(self._elapsed[slot], LENGTH)) + 1
        points = np.stack((across[:known], self._drawn[slot, :known]), 1)
        if known > 1:
            canvas.line(points, 0.03, (46, 110, 200))
        canvas.disc(float(points[-1, 0]), float(points[-1, 1]), 0.05, (230, 130, 30))
        return canvas.image()


def _first_noise(env_seed: int) -> float:
    """The standard normal of the first value, which is all of a wave that its environment seed decides."""
    return float(np.random.Generator(np.random.Philox(env_seed)).standard_normal())
