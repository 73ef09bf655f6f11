"""The two workloads: a discrete toy world with a small encoder, and continuous control with a masked autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from maskbench.data.normalise import Mode, Normaliser
from maskbench.data.store import EpisodeStore
from maskbench.data.windows import WindowSampler
from maskbench.envs.base import Environment, Start
from maskbench.envs.dmc import DMControl
from maskbench.envs.doorkey import DoorKey
from maskbench.masking.random import BernoulliMask, RatioMask
from maskbench.masking.scheme import MaskScheme
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.encoder import Encoder
from maskbench.models.heads import HeadChoice, build_heads
from maskbench.models.objective import Objective
from maskbench.models.sequence import SequenceModel
from maskbench.policies.queries import Query
from maskbench.rollout.plan import EpisodePlan, PlanRow
from maskbench.tokens.layout import TokenLayout, build_layout

SEED = 0
RETURN_WEIGHT = {"return": 0.0}  # read, never predicted
MASKDP_HEADS = {"state": HeadChoice(target="l2"), "action": HeadChoice(tanh=True)}


@dataclass(frozen=True)
class Case:
    """One workload; both sides of a comparison take everything from here.

    batch_size: windows per draw and per optimiser step.
    plan:       episodes of one timed rollout.
    query:      what is asked at every step of it.
    slots:      environments that maskbench keeps alive at once (``experiment.num_envs``).
    """

    name: str
    environment: Environment
    store: EpisodeStore
    normaliser: Normaliser
    scheme: MaskScheme
    network: SequenceModel
    objective: Objective
    batch_size: int
    plan: EpisodePlan
    query: Query
    slots: int = 16

    @property
    def layout(self) -> TokenLayout:
        return self.network.layout

    def sampler(self) -> WindowSampler:
        names = self.layout.spec.names
        return WindowSampler(self.store, self.layout.length, self.batch_size, SEED, factors=names, normaliser=self.normaliser)


def doorkey(episodes: int = 2000, rollouts: int = 128) -> Case:
    """Defaults of ``train.py``: uniMASK's random masks on the 4x4 gridworld, T = 10, encoder of width 128."""
    environment = DoorKey()
    store, normaliser = _data(environment, episodes, {})
    layout = build_layout(store.spec, 10, "timestep")
    torch.manual_seed(SEED)
    network = Encoder(layout, build_heads(layout.spec, 128, {}))
    plan = EpisodePlan.build(rollouts, SEED)
    return Case(
        "doorkey", environment, store, normaliser, BernoulliMask(), network, Objective(RETURN_WEIGHT), 256, plan, Query("bc")
    )


def walker(episodes: int = 8, rollouts: int = 64) -> Case:
    """MaskDP's ratios, tokens and heads on walker, T = 32, autoencoder of width 64 with 2 + 1 blocks.

    Exploratory episodes of 1000 steps; rollouts are MaskDP's closed-loop goal reaching: from a recorded state to one 18 steps
    later, asked anew at every step from the current state and the goal alone.
    Raises MissingExtraError where dm_control is not installed.
    """
    environment = DMControl("walker", "walk")
    store, normaliser = _data(environment, episodes, {"state": "standard"})
    layout = build_layout(store.spec, 32, "factor", inputs=("state", "action"))
    torch.manual_seed(SEED)
    network = Autoencoder(layout, build_heads(layout.spec, 64, MASKDP_HEADS, "norm_relu"), 2, 1, 4, 64)
    scheme = RatioMask([0.55])  # the mean of the published ratios, so that every step is the same work
    plan = EpisodePlan(tuple(_goal_row(store, row, 18) for row in range(rollouts)))
    query = Query("goal", history=0)
    return Case("walker", environment, store, normaliser, scheme, network, Objective(RETURN_WEIGHT), 128, plan, query)


def _goal_row(store: EpisodeStore, row: int, steps: int) -> PlanRow:
    first = 37 * row  # spread over the recorded steps
    start = Start(np.array(store.array("physics")[first]))
    return PlanRow(
        row, row, row, "goal", goal={"state": np.array(store.array("state")[first + steps])}, budget=steps, start=start
    )


CASES: Mapping[str, Callable[..., Case]] = {"doorkey": doorkey, "walker": walker}
#: Arguments of each case in a smoke run.
QUICK: Mapping[str, Mapping[str, int]] = {
    "doorkey": {"episodes": 200, "rollouts": 32},
    "walker": {"episodes": 2, "rollouts": 16},
}


def _data(environment: Environment, episodes: int, modes: Mapping[str, Mode]) -> tuple[EpisodeStore, Normaliser]:
    store = EpisodeStore.from_episodes(environment.spec, environment.generate(episodes, SEED))
    return store, Normaliser.fit(store, modes)
