"""The contract of generated episodes: their form, their returns-to-go, and that the environment reproduces them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from maskbench.envs.base import BatchEnv, Environment, Observation, Start
from maskbench.trajectory import Episode, Factor

#: Stored transitions tried in each episode that carries simulator states.
TRANSITIONS = 5


def check_episodes(
    environment: Environment, episodes: Sequence[Episode], generate: Callable[[range, int], list[Episode]]
) -> Iterator[str]:
    """Every factor present with its shape, type and classes; episode ``i`` depends on ``(seed, i)`` only.

    ``episodes`` are those of seed 0; ``generate(numbers, seed)`` makes more.
    """
    for i, episode in enumerate(episodes):
        for found in _form(environment, episode):
            yield f"episode {i}: {found}"
    numbers = range(1, len(episodes))
    later = generate(numbers, 0)
    if len(later) != len(numbers):
        yield f"generate({numbers}, ...) gives {len(later)} episodes"
    if not all(_equal(a.values, b.values) for a, b in zip(later, episodes[1:], strict=False)):
        yield "episodes differ when generating begins with another one of them"


def check_returns(environment: Environment, episodes: Sequence[Episode], atol: float) -> Iterator[str]:
    """``rtg_t`` is the sum of the rewards from ``t`` on; discrete classes are offset and clipped into range."""
    rewards, returns = environment.spec.with_role("reward"), environment.spec.with_role("return")
    if not rewards or not returns:
        return
    for i, episode in enumerate(episodes):
        reward = np.asarray(episode.values[rewards[0].name], np.float64).reshape(len(episode), -1).sum(1)
        total = reward[::-1].cumsum()[::-1]
        for factor in returns:
            stored = episode.values[factor.name]
            want = total
            if factor.classes is not None:
                want = np.clip(np.rint(total) + factor.offset, 0, factor.classes - 1)
            if not np.allclose(stored.reshape(len(episode), -1)[:, 0], want, atol=atol, rtol=1e-5):
                yield f"episode {i}: '{factor.name}' is not the sum of the rewards to come"


def check_replay(
    environment: Environment,
    episodes: Sequence[Episode],
    atol: float,
    exact_restore: bool = True,
    exact_reward: bool = True,
) -> Iterator[str]:
    """Stored actions lead to the stored states and rewards.

    Judged where data says where it began: whole episodes with ``meta["env_seed"]``, single transitions with a simulator
    factor (from which, with ``exact_restore``, a reset must also show the stored state, and with ``exact_reward`` the step
    earn the stored reward).
    """
    simulators, batch = environment.spec.with_role("simulator"), environment.make_batch(1)
    for i, episode in enumerate(episodes):
        if "env_seed" in episode.meta:
            for found in _whole(environment, batch, episode, atol):
                yield f"episode {i}: {found}"
        if simulators:
            for found in _transitions(environment, batch, episode, simulators[0], atol, exact_restore, exact_reward):
                yield f"episode {i}: {found}"
    batch.close()


def _form(environment: Environment, episode: Episode) -> Iterator[str]:
    names = set(environment.spec.names)
    if set(episode.values) != names:
        yield f"holds {sorted(episode.values)}; the specification has {sorted(names)}"
        return
    length = len(episode)
    if not 1 <= length <= environment.horizon:
        yield f"has {length} steps; the horizon is {environment.horizon}"
    for factor in environment.spec:
        yield from _fits(factor, episode.values[factor.name], (length, *factor.shape), "")
    for name, value in episode.final.items():
        if name not in names or environment.spec[name].role != "state":
            yield f"final holds '{name}', which is no state factor"
        else:
            factor = environment.spec[name]
            yield from _fits(factor, np.asarray(value), factor.shape, "final ")


def _fits(factor: Factor, value: np.ndarray, shape: tuple[int, ...], where: str) -> Iterator[str]:
    if value.shape != shape:
        yield f"{where}'{factor.name}' has shape {value.shape}; expected {shape}"
    elif factor.kind in ("discrete", "continuous") and value.dtype != factor.dtype:
        yield f"{where}'{factor.name}' is {value.dtype}; expected {factor.dtype}"
    elif factor.classes is not None and ((value < 0) | (value >= factor.classes)).any():
        yield f"{where}'{factor.name}' leaves its {factor.classes} classes"
    elif factor.kind == "continuous" and not np.isfinite(value).all():
        yield f"{where}'{factor.name}' is not finite"


def _whole(environment: Environment, batch: BatchEnv, episode: Episode, atol: float) -> Iterator[str]:
    action, reward = environment.spec.with_role("action")[0].name, environment.spec.with_role("reward")
    observation = batch.reset([0], [int(episode.meta["env_seed"])])
    ended = False
    for t in range(len(episode)):
        if ended:
            yield f"the environment ends after {t} steps; the episode has {len(episode)}"
            break
        if found := _unlike(observation, {n: episode.values[n][t] for n in observation}, atol):
            yield f"replay from env_seed shows another {found} at timestep {t}"
            break
        step = batch.step([0], episode.values[action][t][None])
        observation, ended = step.observation, bool(step.terminated[0])
        if reward and not np.allclose(step.reward[0], episode.values[reward[0].name][t], atol=atol):
            yield f"replay from env_seed earns {step.reward[0]} at timestep {t}; stored {episode.values[reward[0].name][t]}"
            break
    else:
        if found := _unlike(observation, episode.final, atol):
            yield f"replay from env_seed ends in another {found}"
        if ended != episode.terminated:
            yield f"replay from env_seed has terminated={ended}; stored {episode.terminated}"


def _transitions(
    environment: Environment,
    batch: BatchEnv,
    episode: Episode,
    simulator: Factor,
    atol: float,
    exact_restore: bool,
    exact_reward: bool,
) -> Iterator[str]:
    action, reward = environment.spec.with_role("action")[0].name, environment.spec.with_role("reward")
    for t in np.unique(np.linspace(0, len(episode) - 1, TRANSITIONS).astype(int)):
        start = Start(episode.values[simulator.name][t])
        observation = batch.reset([0], [0], [start])
        found = _unlike(observation, {n: episode.values[n][t] for n in observation}, atol)
        if found and exact_restore:
            yield f"a reset to the simulator state of timestep {t} shows another {found}"
        step = batch.step([0], episode.values[action][t][None])
        after = {n: episode.values[n][t + 1] for n in observation} if t + 1 < len(episode) else episode.final
        if found := _unlike(step.observation, after, atol):
            yield f"the stored action of timestep {t} leads to another {found}"
        paid = bool(reward) and exact_reward
        if paid and not np.allclose(step.reward[0], episode.values[reward[0].name][t], atol=atol):
            yield f"the stored action of timestep {t} earns {step.reward[0]}; stored {episode.values[reward[0].name][t]}"


def _unlike(observation: Observation, stored: Mapping[str, np.ndarray], atol: float) -> str:
    """Name of the first factor whose value differs from the stored one, or ''."""
    for name, value in stored.items():
        if not np.allclose(observation[name][0], value, atol=atol, rtol=1e-5):
            return f"'{name}'"
    return ""


def _equal(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return set(a) == set(b) and all(np.array_equal(v, b[k]) for k, v in a.items())
