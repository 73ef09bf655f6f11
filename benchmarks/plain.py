"""The same work one item at a time, as research code commonly does it; kept simple, not slow on purpose.

Windows are slices stacked by a loop, masks are drawn row by row, heads answer for the whole sequence, and rollouts play one
environment after the other with a forward pass of one window a step. The network is maskbench's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import Case
from maskbench.masking.random import BernoulliMask, RatioMask
from maskbench.masking.scheme import MaskSet
from maskbench.models.heads import RegressionHead
from maskbench.models.sequence import SequenceModel
from maskbench.rollout.plan import PlanRow
from maskbench.tokens.layout import TokenLayout
from maskbench.training.optim import build_optimizer
from maskbench.trajectory import Window

DrawMasks = Callable[[np.random.Generator, int], MaskSet]


class WindowDataset:
    """A map-style dataset: item ``i`` is one window, sliced from its episode. Episodes are normalised once, when loaded."""

    def __init__(self, case: Case) -> None:
        self.length, self.names = case.layout.length, case.layout.spec.names
        self.episodes: list[dict[str, Tensor]] = []
        self.places: list[tuple[int, int]] = []
        for e in range(case.store.num_episodes):
            values = {n: torch.from_numpy(np.array(case.store.episode(e).values[n])) for n in self.names}
            self.episodes.append({n: case.normaliser.apply(n, v) for n, v in values.items()})
            self.places += [(e, t) for t in range(case.store.lengths[e] - self.length + 1)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        episode, start = self.places[i]
        return {n: v[start : start + self.length] for n, v in self.episodes[episode].items()}

    def collate(self, indices: np.ndarray) -> Window:
        items = [self[int(i)] for i in indices]
        return Window({n: torch.stack([item[n] for item in items]) for n in self.names})


def mask_drawer(case: Case) -> DrawMasks:
    """A loop over rows that draws from the same distribution as the scheme of ``case``."""
    scheme, layout = case.scheme, case.layout
    if isinstance(scheme, BernoulliMask):
        return lambda random, batch: _bernoulli(scheme, layout, random, batch)
    if isinstance(scheme, RatioMask):
        return lambda random, batch: _ratio(scheme, layout, random, batch)
    raise NotImplementedError(f"no plain implementation of {type(scheme).__name__}")


def _bernoulli(scheme: BernoulliMask, layout: TokenLayout, random: np.random.Generator, batch: int) -> MaskSet:
    visible = np.zeros((batch, layout.length, len(layout.spec)), bool)
    predict = np.zeros_like(visible)
    for row in range(batch):
        rate = random.random() if scheme.p is None else scheme.p
        shown = {role: random.random(layout.length) >= rate for role in ("state", "action")}
        for column, factor in enumerate(layout.spec):
            if factor.role == "return":
                visible[row, 0, column] = random.random() < scheme.first_return
            else:
                visible[row, :, column] = shown[factor.role]
                predict[row, :, column] = ~shown[factor.role]
    return MaskSet(torch.from_numpy(visible), torch.from_numpy(predict))


def _ratio(scheme: RatioMask, layout: TokenLayout, random: np.random.Generator, batch: int) -> MaskSet:
    """One factor a token, interleaved over time."""
    kept = int(layout.num_tokens * (1 - random.choice(scheme.ratios)))
    visible = np.zeros((batch, layout.length, len(layout.spec)), bool)
    for row in range(batch):
        tokens = random.permutation(layout.num_tokens)[:kept]
        visible[row].reshape(-1)[tokens] = True
    shown = torch.from_numpy(visible)
    return MaskSet(shown, torch.ones_like(shown), max_visible=kept)


def loss(case: Case, network: SequenceModel, window: Window, masks: MaskSet) -> Tensor:
    """Mean loss of the asked cells of each factor, weighted and summed; every head answers for every cell."""
    params = network(window, masks)
    total = torch.zeros(())
    for column, factor in enumerate(case.layout.spec):
        asked, target = masks.predict[:, :, column], window.values[factor.name]
        weight = case.objective.weight(network, factor.name)
        if weight == 0 or not asked.any():
            continue
        answer, wanted = params[factor.name][asked], target[asked]
        if factor.kind == "discrete":
            total = total + weight * F.cross_entropy(answer, wanted)
        else:
            head = network.head(factor.name)
            if isinstance(head, RegressionHead) and head.target == "l2":
                wanted = F.normalize(wanted, dim=-1)
            total = total + weight * F.mse_loss(answer, wanted)
    return total


def train(case: Case, network: SequenceModel, dataset: WindowDataset, settings: Mapping[str, Any], steps: int) -> None:
    """``steps`` updates of ``network``, with the optimiser that maskbench would build."""
    network.train()
    optimizer = build_optimizer(network, **settings)
    random, draw = np.random.default_rng(0), mask_drawer(case)
    for _ in range(steps):
        window = dataset.collate(random.integers(0, len(dataset), case.batch_size))
        value = loss(case, network, window, draw(random, case.batch_size))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def roll_out(case: Case, network: SequenceModel) -> list[tuple[float, int]]:
    """Plays the plan of ``case`` one episode after the other; return and length of each."""
    network.eval()
    env = case.environment.make()
    with torch.no_grad():
        played = [_episode(case, network, env, row) for row in case.plan]
    env.close()
    return played


def _episode(case: Case, network: SequenceModel, env: Any, row: PlanRow) -> tuple[float, int]:
    noise = np.random.Generator(np.random.Philox(key=row.policy_seed))
    action = case.layout.spec.with_role("action")[0]
    head = network.head(action.name)
    options = None if row.start is None else {"simulator": row.start.simulator}
    observation, _ = env.reset(seed=row.env_seed, options=options)
    states: list[Mapping[str, Any]] = [observation]
    actions: list[Any] = []
    total = 0.0
    for step in range(row.budget or case.environment.horizon):
        window, masks, now = _question(case, states, actions, row)
        answer = network(window, masks)[action.name][0, now]
        uniform = torch.from_numpy(noise.random(head.num_uniforms))
        drawn = case.normaliser.invert(action.name, head.sample(answer, uniform))
        actions.append(drawn.numpy())
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        states.append(observation)
        total += float(reward)
        if terminated or truncated:
            return total, step + 1
    return total, row.budget or case.environment.horizon


def _question(case: Case, states: list[Mapping[str, Any]], actions: list[Any], row: PlanRow) -> tuple[Window, MaskSet, int]:
    """Rebuilds the window from the episode so far: states up to now, actions before now, and the goal where it will be due."""
    layout = case.layout
    history = layout.length if case.query.history is None else case.query.history + 1
    first = max(0, len(states) - history)
    now = len(states) - 1 - first
    values: dict[str, Tensor] = {}
    visible = torch.zeros(1, layout.length, len(layout.spec), dtype=torch.bool)
    predict = torch.zeros_like(visible)
    for column, factor in enumerate(layout.spec):
        cells = np.zeros((1, layout.length, *factor.shape), factor.dtype)
        if factor.role == "state":
            recorded = [s[factor.name] for s in states[first:]]
        else:
            recorded = actions[first:] if factor.role == "action" else []
        for t, value in enumerate(recorded):
            cells[0, t] = value
            visible[0, t, column] = True
        if factor.role == "state" and row.goal is not None:
            due = now + (row.budget or 0) - (len(states) - 1)
            cells[0, due] = row.goal[factor.name]
            visible[0, due, column] = True
        values[factor.name] = case.normaliser.apply(factor.name, torch.from_numpy(cells))
        if factor.role == "action":
            predict[0, now, column] = True
    valid = None
    if row.goal is not None:
        valid = torch.arange(layout.length)[None] <= now + (row.budget or 0) - (len(states) - 1)
    return Window(values, valid), MaskSet(visible, predict), now
