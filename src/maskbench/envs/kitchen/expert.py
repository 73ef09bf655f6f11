"""Demonstrations: chains of skills in many orders, as people recorded them for Relay Policy Learning and BeT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from maskbench.envs.kitchen.arm import Arm
from maskbench.envs.kitchen.environment import KitchenEnv
from maskbench.envs.kitchen.skills import PLAIN, SKILLS, Actions, Style, home
from maskbench.envs.kitchen.tasks import LETTERS, TASKS, completed
from maskbench.errors import ConfigError, did_you_mean
from maskbench.trajectory import Episode, TrajectorySpec

_ORDERS = """
    mkls mkbl mkth kbls mbtl klsh mlsh kbts mksh btls tlsh kmbs bkts mtlh
    lsmk tbkl kshl bmsl htkm slbt mbhk ltks hkmb tskb lhbm stmh bhlk shkt
"""
#: Demonstrated orders with their relative frequencies: unequal ones of 4.69 bits, as measured on the 566 human recordings.
ORDERS: Mapping[str, float] = {order: 0.95**rank for rank, order in enumerate(_ORDERS.split())}
_PLACE = {name: i for i, name in enumerate(TASKS)}


class KitchenExpert:
    """Does the tasks of ``order`` one after the other, going home in between; tries each up to ``tries`` times.

    order: letters of tasks (see ``TASKS``), each at most once, one to seven of them.
    pace:  fraction of the largest action that free motion may use.
    The expert reads the simulation (poses, gravity), not the observation. It adds no noise of its own.
    """

    def __init__(self, env: KitchenEnv, order: str, style: Style = PLAIN, pace: float = 1.0, tries: int = 2) -> None:
        check_order(order)
        self._arm, self._style, self._tries = Arm(env, pace), style, tries
        self._tasks = [LETTERS[letter].name for letter in order]

    def actions(self) -> Actions:
        """``(9,)`` float32 actions, each to be executed before the next is asked for. Ends after the last task's skill."""
        for place, task in enumerate(self._tasks):
            for attempt in range(self._tries):
                if place or attempt:
                    self._arm.rest()
                    yield from home(self._arm, self._style)
                self._arm.rest()
                yield from SKILLS[task](self._arm, self._style)
                if completed(self._arm.data.qpos)[_PLACE[task]]:
                    break


@dataclass(frozen=True)
class Recipe:
    """How demonstrations vary: see ``Kitchen.generate``. Raises ConfigError for impossible numbers."""

    action_noise: float
    jitter: float
    slowest: float
    max_length: int

    def __post_init__(self) -> None:
        if self.action_noise < 0 or self.jitter < 0 or not 0 < self.slowest <= 1 or self.max_length < 1:
            raise ConfigError(
                "demonstrations need action_noise >= 0, jitter >= 0, 0 < slowest <= 1 and max_length >= 1; found "
                f"{self.action_noise}, {self.jitter}, {self.slowest}, {self.max_length}"
            )


def demonstrate(env: KitchenEnv, spec: TrajectorySpec, order: str, recipe: Recipe, rng: np.random.Generator) -> Episode | None:
    """One episode of ``order`` with everything else drawn from ``rng``; None where a task is left undone.

    ``meta``: the order, and per task the timestep whose action completed it.
    """
    start = int(rng.integers(2**31))
    observation, _ = env.reset(seed=start)
    style = Style(tuple(rng.uniform(-recipe.jitter, recipe.jitter, 3)), rng.uniform(0.9, 1.1))
    expert = KitchenExpert(env, order, style, pace=rng.uniform(recipe.slowest, 1.0))
    rows: dict[str, list[Any]] = {name: [] for name in spec.names}
    completions: dict[str, int] = {}
    terminated = False
    for t, clean in enumerate(expert.actions()):
        if t == recipe.max_length:
            return None
        noisy = clean + recipe.action_noise * rng.standard_normal(9)
        action = np.minimum(np.maximum(noisy, -1.0), 1.0).astype(np.float32)
        now = (observation["state"], action, env.physics())
        observation, reward, terminated, _, info = env.step(action)
        for name, value in zip(("state", "action", "physics", "reward"), (*now, [reward]), strict=True):
            rows[name].append(value)
        completions.update({e.removeprefix("task:"): t for e in info["events"] if e.startswith("task:")})
        if terminated:
            break
    if not {LETTERS[letter].name for letter in order} <= set(completions):
        return None
    meta = {"env": "kitchen", "env_seed": start, "quality": "expert", "order": order, "completions": completions}
    values = {f.name: np.array(rows[f.name], f.dtype) for f in spec}
    return Episode(values, final=observation, terminated=terminated, meta=meta)


def choose_orders(orders: Mapping[str, float] | Sequence[str] | None, tasks: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Orders and their probabilities: given ones (a mapping holds weights), else the published-like ones over ``tasks``.

    Where no default order fits ``tasks``, all orders of up to four of them. Raises ConfigError for an order that is empty,
    repeats a task, names an unknown one or one that is not in ``tasks``, and for weights that are no weights.
    """
    letters = [TASKS[name].letter for name in tasks]
    if orders is None:
        fitting = {order: weight for order, weight in ORDERS.items() if set(order) <= set(letters)}
        orders = fitting or ["".join(p) for p in permutations(letters, min(4, len(letters)))]
    weights = dict(orders) if isinstance(orders, Mapping) else dict.fromkeys(orders, 1.0)
    for order in weights:
        check_order(order)
        if not set(order) <= set(letters):
            raise ConfigError(f"the order '{order}' holds tasks that do not count here; found tasks {list(tasks)}")
    chances = np.array(list(weights.values()), np.float64)
    if not len(chances) or not np.isfinite(chances).all() or (chances < 0).any() or not chances.sum():
        raise ConfigError(f"orders need weights >= 0, at least one of them positive; found {weights}")
    return list(weights), chances / chances.sum()


def check_order(order: str) -> None:
    """Raises ConfigError unless ``order`` is one to seven different letters of tasks."""
    for letter in order:
        if letter not in LETTERS:
            raise ConfigError(f"the order '{order}' holds '{letter}', which is no task. {did_you_mean(letter, LETTERS)}")
    if not order or len(set(order)) < len(order):
        raise ConfigError(f"an order names at least one task and each once; found '{order}'")
