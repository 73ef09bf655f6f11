"""Episodes of a frozen policy, many at once: what the published ``expert`` folders hold (MaskDP study 1.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from maskbench.envs.dmc import DMControl
from maskbench.trajectory import Episode

#: Maps states ``(n, S)`` float32 to mean actions ``(n, A)`` float32.
Act = Callable[[np.ndarray], np.ndarray]

#: Episodes that are stepped together. Matrix products of other sizes round otherwise, so the number is part of the result.
SLOTS = 40


def rollouts(
    family: DMControl, act: Act, indices: Sequence[int], *, seed: int, noise: float = 0.2, slots: int = SLOTS
) -> Iterator[Episode]:
    """Episodes ``indices`` under ``act`` plus Gaussian noise, decided at every environment step.

    Start state and noise of an episode depend on ``(seed, index)`` alone; slots without an episode of their own are filled,
    so that an episode comes out the same whichever others are asked for. Values: state, action, reward, physics.
    """
    for first in sorted({i // slots * slots for i in indices}):
        together = _together(family, act, range(first, first + slots), seed, noise)
        yield from (episode for index, episode in enumerate(together, first) if index in indices)


def returns(family: DMControl, act: Act, seeds: Sequence[int]) -> np.ndarray:
    """Undiscounted returns ``(n,)`` of mean actions from the given environment seeds."""
    batch, slots = family.make_batch(len(seeds)), range(len(seeds))
    states, total = batch.reset(slots, seeds)["state"], np.zeros(len(seeds))
    for _ in range(family.horizon):
        step = batch.step(slots, act(states))
        states, total = step.observation["state"], total + step.reward
    batch.close()
    return total


def _together(family: DMControl, act: Act, indices: range, seed: int, noise: float) -> list[Episode]:
    slots = range(len(indices))
    generators = [np.random.default_rng([seed, i]) for i in indices]
    seeds = [int(g.integers(2**32)) for g in generators]
    shapes = {f.name: (len(slots), family.horizon, *f.shape) for f in family.spec}
    values = {f.name: np.empty(shapes[f.name], f.dtype) for f in family.spec}
    shifts = np.stack([g.standard_normal(shapes["action"][1:], np.float32) for g in generators]) * np.float32(noise)
    batch = family.make_batch(len(slots))
    states = batch.reset(slots, seeds)["state"]
    for t in range(family.horizon):
        values["state"][:, t] = states
        values["physics"][:, t] = _physics(batch.envs)
        values["action"][:, t] = np.clip(act(states) + shifts[:, t], -1.0, 1.0)
        step = batch.step(slots, values["action"][:, t])
        values["reward"][:, t, 0] = step.reward
        states = step.observation["state"]
    last = _physics(batch.envs)
    batch.close()
    return [Episode({name: v[i] for name, v in values.items()}, {"state": states[i], "physics": last[i]}) for i in slots]


def _physics(envs: Sequence[object]) -> np.ndarray:
    return np.stack([env.physics() for env in envs])  # type: ignore[attr-defined]
