"""Goal-conditioned BeT: goals stand in front of the history, decide between modes, and are left out where none is wanted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskbench.data.normalise import Normaliser
from maskbench.data.store import EpisodeStore
from maskbench.data.windows import WindowSampler
from maskbench.errors import ConfigError
from maskbench.masking.causal import CausalMask
from maskbench.models.decoder import Decoder
from maskbench.models.heads import HeadChoice, build_heads
from maskbench.models.leakage import prove_no_leak
from maskbench.models.objective import Objective
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query, answerable
from maskbench.rollout.plan import PlanRow
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Episode, Factor, TrajectorySpec

SPEC = TrajectorySpec((Factor("state", "continuous", "state", (1,)), Factor("action", "continuous", "action", (1,))))
SCHEME = CausalMask(returns="none")


def untrained(frames: int = 1, window: int = 2) -> Decoder:
    torch.manual_seed(0)
    layout = build_layout(SPEC, frames + window, inputs=["state"])
    heads = build_heads(layout.spec.select(["action"]), 16, {"action": HeadChoice(kind="bins", num_bins=2)})
    heads["action"].fit(torch.tensor([[1.0], [-1.0]]).repeat(4, 1))
    return Decoder(layout, heads, n_layer=1, n_head=2, n_embd=16, dropout=0.0)


def routes() -> EpisodeStore:
    """From 0 one step at a time to 5 or to -5."""

    def walk(side: int) -> Episode:
        state = (side * np.arange(6, dtype=np.float32))[:, None]
        return Episode({"state": state[:-1], "action": np.diff(state, axis=0)}, final={"state": state[-1]})

    return EpisodeStore.from_episodes(SPEC, [walk(1), walk(-1)])


@pytest.fixture(scope="module")
def trained() -> Decoder:
    model, objective = untrained(), Objective()
    sampler = WindowSampler(routes(), 3, 64, 0, goal_frames=1, goal_drop=0.2)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for step in range(250):
        window = sampler.batch(step)
        masks = SCHEME.sample(torch.Generator().manual_seed(step), 64, model.layout)
        optimiser.zero_grad()
        objective(model, window, masks)["loss"].backward()
        optimiser.step()
    return model.eval()


def policy(model: Decoder, query: Query, frames: int = 1, slots: int = 40) -> ModelPolicy:
    args = (model, SPEC, Normaliser.identity(SPEC), query, "causal", "none", 50, slots, ReturnUnits(), frames)
    return ModelPolicy(*args)


def first_actions(model: Decoder, goal: float | None) -> np.ndarray:
    wanted = None if goal is None else {"state": np.array([goal], np.float32)}
    acting, slots = policy(model, Query("bc" if goal is None else "goal")), np.arange(40)
    acting.reset(slots, [PlanRow(i, i, i, acting.query.name, goal=wanted) for i in range(40)])
    return acting.act({"state": np.zeros((40, 1), np.float32)}, slots)[:, 0]


def test_the_goal_decides_between_the_modes(trained: Decoder) -> None:
    assert (first_actions(trained, 4.0) > 0.5).mean() > 0.9
    assert (first_actions(trained, -4.0) < -0.5).mean() > 0.9


def test_without_a_goal_both_modes_are_drawn(trained: Decoder) -> None:
    assert 0.2 < (first_actions(trained, None) > 0).mean() < 0.8


def test_the_goal_stays_in_front_while_the_history_moves() -> None:
    model = untrained(frames=2, window=3)
    acting, slots, seen = policy(model, Query("goal"), frames=2), np.array([0, 1]), []
    forward = model.forward

    def recording(window, masks, only=None, at=None):
        seen.append((window.values["state"][:, :, 0].clone(), masks.visible[:, :, 0].clone(), at.tolist()))
        return forward(window, masks, only=only, at=at)

    model.forward = recording  # type: ignore[method-assign]
    goal = {"state": np.array([9.0], np.float32)}
    acting.reset(slots, [PlanRow(0, 0, 0, "goal", goal=goal), PlanRow(1, 1, 1, "goal")])
    for t in range(5):
        acting.act({"state": np.full((2, 1), 10.0 + t, np.float32)}, slots)
    assert [row[0][0].tolist() for row in seen] == [
        [9, 9, 10, 0, 0],
        [9, 9, 10, 11, 0],
        [9, 9, 10, 11, 12],
        [9, 9, 11, 12, 13],
        [9, 9, 12, 13, 14],
    ]
    assert [row[2] for row in seen] == [[2, 2], [3, 3], [4, 4], [4, 4], [4, 4]]
    assert seen[0][1].tolist() == [[True, True, True, False, False], [False, False, True, False, False]]


@pytest.mark.parametrize(("before", "shown"), [([5.0, 6.0, 7.0], [6, 7, 9]), ([7.0], [7, 7, 9]), ([], [9, 9, 9])])
def test_a_goal_of_several_frames_shows_the_states_that_led_to_it(before: list[float], shown: list[int]) -> None:
    acting = policy(untrained(frames=3), Query("goal"), frames=3, slots=1)
    goal, approach = {"state": np.array([9.0], np.float32)}, {"state": np.array(before, np.float32)[:, None]}
    acting.reset(np.array([0]), [PlanRow(0, 0, 0, "goal", goal=goal, approach=approach)])
    assert acting.cells["state"][0, :3, 0].tolist() == shown


def test_only_models_that_learned_with_goals_are_asked_for_one() -> None:
    layout = build_layout(SPEC, 3, inputs=["state"])
    reasons = [answerable(layout, "causal", "none", ["action"], ("bc", "goal"), frames)["goal"] for frames in (0, 1)]
    assert "cannot look ahead" in reasons[0]
    assert reasons[1] is None
    with pytest.raises(ConfigError, match="one step at a time"):
        policy(untrained(), Query("goal", "open"))


def test_nothing_later_reaches_a_prediction() -> None:
    prove_no_leak(untrained(2, 3), SCHEME)
