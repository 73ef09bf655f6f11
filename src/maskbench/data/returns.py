"""Return-to-go from rewards (uniMASK section 4; MTM's average future reward)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from maskbench.data.statistics import reward_values
from maskbench.data.store import EpisodeStore
from maskbench.errors import DataError
from maskbench.trajectory import Factor


def add_return(
    store: EpisodeStore,
    mode: Literal["sum", "mean"] = "sum",
    scale: float = 1.0,
    with_time: bool = False,
    time_divisor: float = 1000.0,
    horizon: int | None = None,
    current: bool = True,
) -> EpisodeStore:
    """Adds the continuous factor ``rtg`` (role return), of shape ``(1,)`` or, with time, ``(2,)``.

    Row ``t`` of an episode of ``N`` steps holds ``sum_{k >= t} r_k / scale`` and, with time, ``t / time_divisor``
    (uniMASK ``-rct``: 1000, not the horizon).

    mode:    ``mean`` divides the sum by the remaining steps ``N - t``: the average future reward (unimask.md section 6.3).
    horizon: for ``mean``, divide by ``horizon - t`` instead, as MTM does with 1000; an early end then counts as zero reward.
    current: False leaves out the row's own reward ``r_t`` (MTM's D4RL returns; its Adroit returns keep it).

    Only recorded rows hold a return, so statistics fitted on it see no padding. MTM's own are taken over episodes padded with
    zeros to 1000 steps: the same numbers up to a shift and a scale.

    A store that already has a return factor is kept as it is; asking to convert that factor raises ``DataError``.
    """
    if existing := store.spec.with_role("return"):
        if (mode, scale, with_time, current) != ("sum", 1.0, False, True):
            kind = "discrete class indices" if existing[0].kind == "discrete" else "values of its own"
            raise DataError(
                f"'{store.card.name}' already has the return factor '{existing[0].name}' with {kind}, which cannot be "
                f"converted to mode={mode}, scale={scale}, with_time={with_time}, current={current}. "
                "Leave these at sum, 1, false, true."
            )
        return store
    if mode not in ("sum", "mean"):
        raise DataError(f"return mode is '{mode}'; expected 'sum' or 'mean'")
    if scale <= 0 or time_divisor <= 0:
        raise DataError(
            f"returns are divided by scale and time by time_divisor; found {scale} and {time_divisor}, expected > 0"
        )
    rewards = store.spec.with_role("reward")
    if not rewards:
        raise DataError(f"'{store.card.name}' has no reward factor to sum; its factors are {', '.join(store.spec.names)}")
    longest = int(store.lengths.max())
    if horizon is not None and horizon < longest:
        raise DataError(f"horizon is {horizon}, but an episode has {longest} steps. Set horizon >= {longest}.")

    reward = reward_values(rewards[0], store.array(rewards[0].name))
    returns = returns_to_go(reward, store.ends)
    if not current:
        returns = returns - reward
    begins = np.repeat(store.ends - store.lengths, store.lengths)
    time = np.arange(store.num_steps) - begins
    if mode == "mean":
        returns = returns / ((np.repeat(store.lengths, store.lengths) if horizon is None else horizon) - time)
    columns = [returns / scale, time / time_divisor] if with_time else [returns / scale]
    return store.with_factor(return_factor(with_time), np.stack(columns, axis=1).astype(np.float32))


def return_factor(with_time: bool) -> Factor:
    """The factor that ``add_return`` adds."""
    return Factor("rtg", "continuous", "return", shape=(2,) if with_time else (1,))


def returns_to_go(rewards: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """``(N,)`` float64 sum of an episode's rewards from each row on; exact for integer rewards.

    rewards: ``(N,)``; ends: cumulative episode ends.
    """
    until = np.cumsum(rewards)
    remaining: np.ndarray = np.repeat(until[ends - 1], np.diff(ends, prepend=0)) - until + rewards
    return remaining
