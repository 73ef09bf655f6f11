"""What maskbench does when asked for the same work, through the objects that its entrypoints use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cases import SEED, Case
from maskbench.data.windows import WindowSampler
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.rollout.runner import RolloutRunner
from maskbench.training.bank import TaskBank
from maskbench.training.masked import MaskedProblem
from maskbench.training.optim import build_optimizer
from maskbench.training.seeding import step_generator
from maskbench.training.trainer import Trainer
from maskbench.trajectory import EpisodeRecord


def draw_masks(case: Case, steps: int) -> None:
    for step in range(steps):
        case.scheme.sample(step_generator(SEED, step), case.batch_size, case.layout, step)


def train(case: Case, sampler: WindowSampler, settings: Mapping[str, Any], trainer: Trainer) -> float:
    """Seconds of ``trainer.num_steps`` updates, logging and gradient norms included, the final checkpoint left out."""
    problem = MaskedProblem(sampler, case.scheme, case.objective, TaskBank(sampler.batch(0), {}), case.batch_size, SEED)
    case.network.train()
    with TemporaryDirectory() as folder:
        result = trainer.fit(case.network, problem, partial(build_optimizer, **settings), None, Path(folder))
    return result.step * case.batch_size / result.samples_per_second


def roll_out(case: Case, slots: int) -> list[EpisodeRecord]:
    """The plan of ``case``, ``slots`` episodes at once, asked by its query."""
    scheme = case.scheme
    policy = partial(
        ModelPolicy,
        case.network,
        case.layout.spec,
        case.normaliser,
        case.query,
        scheme.attend,
        scheme.returns,
        case.environment.horizon,
        slots,
        ReturnUnits(),
    )
    return RolloutRunner(case.environment, policy, num_slots=slots, progress=False).run(case.plan)
