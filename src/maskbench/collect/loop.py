"""The online loop: play an episode, learn after every decision, keep the episode, save.

An episode is a function of the seed, its index and the weights it starts with, and checkpoints stand between episodes; the
replay is the files of the episodes themselves. So a killed run resumes to the very bytes of an uninterrupted one.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from maskbench.collect.agent import Agent
from maskbench.collect.replay import Replay
from maskbench.collect.rollout import returns
from maskbench.data.importers.maskdp import read_episode, write_maskdp
from maskbench.envs.dmc import DMControl, DMControlEnv
from maskbench.errors import ConfigError, DataError
from maskbench.training import checkpoint
from maskbench.training.interrupt import Interrupted, SignalGuard
from maskbench.training.loggers import CsvLogger
from maskbench.training.progress import RunProgress
from maskbench.training.seeding import step_generator, step_seed
from maskbench.trajectory import Episode

#: Streams of ``step_seed``: evaluation starts and updates.
_EVALUATION, _UPDATES = 3, 4
_SHOWN = {
    "train/return": "return",
    "evaluation/return": "evaluated",
    "evaluation/best": "best",
    "train/value": "value",
    "train/intrinsic_reward": "intrinsic",
    "time/steps_per_second": "steps/s",
}


@dataclass(frozen=True)
class Schedule:
    """How long an agent learns, and when it is judged and saved; all in environment steps.

    evaluate_every: between evaluations, of ``evaluation_episodes`` episodes with mean actions decided at every step.
    stop_return:    evaluated return at which learning ends before ``num_steps``; None never.
    checkpoint_seconds: at least so long between checkpoints, apart from those after an evaluation.
    """

    num_steps: int
    seed: int = 0
    evaluate_every: int = 20_000
    evaluation_episodes: int = 5
    stop_return: float | None = None
    checkpoint_seconds: float = 60.0

    def done(self, step: int, best: float | None) -> bool:
        """Whether enough was learnt; a longer schedule goes on from there."""
        return step >= self.num_steps or (self.stop_return is not None and best is not None and best >= self.stop_return)


@dataclass
class State:
    """Where a run stands, between two episodes; checkpoints hold it."""

    episode: int = 0
    updates: int = 0
    best: float | None = None
    best_step: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def learn(
    run_dir: Path, episodes: Path, family: DMControl, agent: Agent, schedule: Schedule, *, progress: bool = True
) -> State:
    """Trains ``agent`` in ``family``, or goes on where ``run_dir`` stopped; every episode becomes a file in ``episodes``.

    ``run_dir`` gets checkpoints (``best`` by evaluation), ``metrics.csv`` and ``timing.csv``. Raises Interrupted after a
    signal, once the episode in progress is saved; ConfigError where the horizon, the repeat and the warm-up do not fit;
    DataError where ``episodes`` holds files of another origin, or lacks some of the run's.
    """
    learner, horizon = agent.learner, family.horizon
    _check(learner.repeat, learner.nstep, learner.warmup_steps, horizon)
    state = _restored(run_dir, agent, episodes)
    step = state.episode * horizon
    if schedule.done(step, state.best):
        return state
    replay = Replay(
        max(1, min(learner.capacity, schedule.num_steps) // horizon),
        horizon,
        *(family.spec[name].shape[0] for name in ("state", "action")),
        repeat=learner.repeat,
        nstep=learner.nstep,
        gamma=learner.gamma,
    )
    _refill(replay, episodes, state.episode, family)
    env, clock, saved = family.make(), _Clock(state), time.monotonic()
    logger = CsvLogger(run_dir, keep_until=step)
    bar = RunProgress(schedule.num_steps, step, enabled=progress, shown=_SHOWN)
    with SignalGuard() as guard, closing(logger), closing(bar):
        while not (done := schedule.done(step, state.best)) and not guard.received:
            episode, shown = play(env, family, agent, replay, state, schedule.seed)
            write_maskdp(episodes, [episode], first_index=state.episode)
            replay.add(episode)
            state.episode += 1
            step += horizon
            row = {"train/return": float(episode.values["reward"].sum()), **shown}
            evaluate = step // schedule.evaluate_every > (step - horizon) // schedule.evaluate_every
            evaluate |= step >= schedule.num_steps
            best = evaluate and _evaluate(family, agent, schedule, state, step, row)
            row |= clock.read(state, horizon)
            logger.log(step, row)
            bar.row(step, row)
            if evaluate or guard.received or time.monotonic() - saved > schedule.checkpoint_seconds:
                _save(run_dir, agent, state, step, best)
                saved = time.monotonic()
    if not done:
        raise Interrupted(f"{guard.received}: saved {run_dir} at step {step}; the same command goes on from there")
    return state


def play(
    env: DMControlEnv, family: DMControl, agent: Agent, replay: Replay, state: State, seed: int
) -> tuple[Episode, dict[str, float]]:
    """One exploring episode, with the updates that are due on the way; counts them in ``state``."""
    p, spec, horizon = agent.learner, family.spec, family.horizon
    first = state.episode * horizon
    rng = np.random.default_rng([seed, state.episode])
    generator = step_generator(seed, state.episode, stream=_UPDATES)
    observation = env.reset(seed=int(rng.integers(2**32)))[0]["state"]
    size = spec["action"].shape[0]
    uniform = rng.uniform(-1.0, 1.0, (horizon // p.repeat, size)).astype(np.float32)
    noise = rng.standard_normal((horizon // p.repeat, size), np.float32) * np.float32(p.noise)
    values = {f.name: np.empty((horizon, *f.shape), f.dtype) for f in spec}
    shown: dict[str, torch.Tensor] = {}
    for t in range(0, horizon, p.repeat):
        k = t // p.repeat
        if first < p.warmup_steps:
            action = uniform[k]
        else:
            action = np.clip(agent.act(observation[None])[0] + noise[k], -1.0, 1.0)
        for row in range(t, t + p.repeat):
            values["state"][row], values["physics"][row], values["action"][row] = observation, env.physics(), action
            after, values["reward"][row], *_ = env.step(action)
            observation = after["state"]
        while state.updates < (first + t + p.repeat - p.warmup_steps) // p.update_every:
            shown = agent.update(replay.sample(p.batch_size, generator), generator, actor=state.updates % p.actor_every == 0)
            state.updates += 1
    final = {"state": observation, "physics": env.physics()}
    return Episode(values, final), {f"train/{name}": float(value) for name, value in shown.items()}


def _evaluate(family: DMControl, agent: Agent, schedule: Schedule, state: State, step: int, row: dict[str, float]) -> bool:
    """Judges the mean actions on starts that are the same at every evaluation; True where they are the best so far."""
    seeds = [step_seed(schedule.seed, i, stream=_EVALUATION) % 2**32 for i in range(schedule.evaluation_episodes)]
    found = returns(family, agent.act, seeds)
    mean = float(found.mean())
    better = state.best is None or mean > state.best
    if better:
        state.best, state.best_step = mean, step
    row |= {"evaluation/return": mean, "evaluation/worst": float(found.min()), "evaluation/best": float(state.best or 0.0)}
    return better


def _save(run_dir: Path, agent: Agent, state: State, step: int, best: bool) -> None:
    checkpoint.save(
        run_dir, model=agent.state_dict(), optimizer=agent.optimizer, state={"step": step, "collect": asdict(state)}, best=best
    )


def _restored(run_dir: Path, agent: Agent, episodes: Path) -> State:
    """The run's last state; a new run saves its first, so that files in ``episodes`` are known to be its own."""
    checkpoint.tidy(run_dir)
    if not checkpoint.exists(run_dir):
        if any(episodes.glob("episode_*.npz")):
            raise DataError(f"{episodes} holds episodes that the run in {run_dir} did not make; give another out=")
        _save(run_dir, agent, State(), 0, best=False)
    checkpoint.load_weights(agent, run_dir, "last")
    checkpoint.load_optimizer(run_dir, agent.optimizer, "last")
    return State(**checkpoint.load_trainer_state(run_dir, "last")["collect"])


def _refill(replay: Replay, folder: Path, episodes: int, family: DMControl) -> None:
    """Takes the newest of the checkpoint's episodes back into memory, and removes files of later ones, which come again."""
    files = sorted(folder.glob("episode_*.npz"))
    for file in files[episodes:]:
        file.unlink()
    if len(files) < episodes:
        raise DataError(f"{folder} holds {len(files)} episodes, but the run to be continued has played {episodes}; start anew")
    replay.added = max(0, episodes - len(replay.states))
    for file in files[replay.added : episodes]:
        replay.add(read_episode(file, family.spec))


def _check(repeat: int, nstep: int, warmup_steps: int, horizon: int) -> None:
    if horizon % repeat:
        raise ConfigError(f"learner.repeat={repeat} does not divide the horizon of {horizon} steps")
    if nstep > horizon // repeat:
        raise ConfigError(f"learner.nstep={nstep} is longer than an episode of {horizon // repeat} decisions")
    if warmup_steps < horizon:
        raise ConfigError(
            f"learner.warmup_steps={warmup_steps}: the first update needs a finished episode, so at least {horizon}"
        )


class _Clock:
    """Wall and processor seconds over all sittings of a run."""

    def __init__(self, state: State) -> None:
        self._wall, self._cpu = time.monotonic() - state.seconds, time.process_time() - state.cpu_seconds

    def read(self, state: State, steps: int) -> dict[str, float]:
        """Brings ``state`` up to date; ``steps`` were taken since the last reading."""
        before, state.seconds = state.seconds, time.monotonic() - self._wall
        state.cpu_seconds = time.process_time() - self._cpu
        speed = steps / max(state.seconds - before, 1e-9)
        return {"time/seconds": state.seconds, "time/cpu_seconds": state.cpu_seconds, "time/steps_per_second": speed}
