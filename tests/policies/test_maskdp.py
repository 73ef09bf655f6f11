"""MaskDP's questions (spec 2.10, 3, 8): plans of exactly T actions, prompts of constant length, goals in every token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.examples import continuous_spec, random_window

from maskbench.data.normalise import Normaliser
from maskbench.errors import ConfigError
from maskbench.masking.causal import CausalMask
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.decoder import Decoder
from maskbench.models.heads import HeadChoice, build_heads
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query
from maskbench.rollout.plan import PlanRow, Waypoints
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Factor, TrajectorySpec

SPEC = continuous_spec(4, 2)
GOAL_SPEC = TrajectorySpec((*SPEC.factors, Factor("goal_state", "continuous", "goal", (4,))))
HEADS = {"state": HeadChoice(target="l2"), "action": HeadChoice(tanh=True)}


def autoencoder(length: int = 8) -> Autoencoder:
    torch.manual_seed(0)
    layout = build_layout(SPEC, length, by="factor", inputs=["state", "action"])
    return Autoencoder(layout, build_heads(layout.spec, 16, HEADS, "norm_relu"), 1, 1, 2, 16)


def gpt(length: int = 8) -> Decoder:
    torch.manual_seed(0)
    layout = build_layout(SPEC, length, by="factor", inputs=["state", "action"])
    heads = build_heads(layout.spec, 16, HEADS, "norm_relu")
    return Decoder(layout, heads, 1, 2, 16, dropout=0.0, positions="sincos", final_norm=False, init="xavier")


def goal_gpt(length: int = 8) -> Decoder:
    torch.manual_seed(0)
    layout = build_layout(GOAL_SPEC, length, inputs=["goal", "state"])
    heads = build_heads(layout.spec.select(["action"]), 16, HEADS, "norm_relu")
    return Decoder(layout, heads, 1, 2, 16, dropout=0.0, positions="sincos_half", final_norm=False, init="xavier")


def policy(model, query: Query, length: int | None = None, slots: int = 2) -> ModelPolicy:
    attend = "bidirectional" if isinstance(model, Autoencoder) else "causal"
    scaling = Normaliser.identity(SPEC)
    return ModelPolicy(model, SPEC, scaling, query, attend, "none", 1000, slots, ReturnUnits(), length=length)


def states(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)


def play(by: ModelPolicy, row: PlanRow, steps: int, seed: int = 1) -> np.ndarray:
    by.reset(np.array([0]), [row])
    return np.stack([by.act({"state": s[None]}, np.array([0]))[0] for s in states(steps, seed)])


@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_a_plan_to_a_goal_has_exactly_t_actions_in_range(steps: int) -> None:
    """30 steps need more positions than the table of 16 tokens holds: it is stretched."""
    by = policy(autoencoder(), Query("goal", "open"), length=max(8, steps + 1))
    actions = play(by, PlanRow(0, 0, 0, "goal", goal={"state": states(1, 5)[0]}, budget=steps), steps)
    assert actions.shape == (steps, 2)
    assert (np.abs(actions) <= 1).all()
    assert len(np.unique(actions.round(6), axis=0)) == steps


def test_a_plan_depends_on_start_and_goal_alone() -> None:
    row = PlanRow(0, 0, 0, "goal", goal={"state": states(1, 5)[0]}, budget=6)
    model = autoencoder()
    by = policy(model, Query("goal", "open"))
    first = states(1, 1)
    by.reset(np.array([0]), [row])
    open_loop = by.act({"state": first}, np.array([0]))
    again = policy(model, Query("goal", "open"))
    other = PlanRow(1, 9, 9, "goal", goal={"state": states(1, 5)[0]}, budget=6)
    again.reset(np.array([1]), [other])
    assert np.array_equal(open_loop, again.act({"state": first}, np.array([1])))


def watched(by: ModelPolicy) -> list:
    """``(visible states, visible actions, valid)`` of every question, as sets of timesteps."""
    seen, forward = [], by.model.forward

    def recording(window, masks, only=None, at=None):
        masks = masks.within(window)
        columns = [by.layout.column(n) for n in ("state", "action")]
        shown = [masks.visible[0, :, c].nonzero().flatten().tolist() for c in columns]
        seen.append((*shown, window.length if window.valid is None else int(window.valid[0].sum())))
        return forward(window, masks, only=only, at=at)

    by.model.forward = recording
    return seen


def context(steps: int) -> dict[str, np.ndarray]:
    return {"state": states(steps, 3), "action": np.tanh(states(steps, 4))[:, :2]}


@pytest.mark.parametrize(("make", "forecast"), [(autoencoder, 4), (autoencoder, 20), (gpt, 4), (gpt, 20)])
def test_a_prompt_grows_with_own_steps_inside_a_constant_length(make, forecast: int) -> None:
    """The context, then what the model did itself; never what the expert did later (spec 8.8)."""
    by = policy(make(), Query("prompt"), length=max(8, 3 + forecast))
    seen = watched(by)
    play(by, PlanRow(0, 0, 0, "prompt", budget=forecast, context=context(3)), forecast)
    assert [s for s, _, _ in seen] == [list(range(4 + t)) for t in range(forecast)]
    assert [a for _, a, _ in seen] == [list(range(3 + t)) for t in range(forecast)]
    if make is autoencoder:
        assert {length for *_, length in seen} == {3 + forecast}


def test_the_shown_cells_of_a_prompt_are_those_of_the_expert() -> None:
    by, shown = policy(autoencoder(), Query("prompt")), context(3)
    by.reset(np.array([0]), [PlanRow(0, 0, 0, "prompt", budget=4, context=shown)])
    now = states(1, 8)
    by.act({"state": now}, np.array([0]))
    assert np.allclose(by.cells["state"][0, :3], shown["state"])
    assert np.allclose(by.cells["action"][0, :3], shown["action"])
    assert np.allclose(by.cells["state"][0, 3], now[0])


def test_a_prompt_is_planned_once_from_where_it_ends() -> None:
    by = policy(autoencoder(), Query("prompt", "open"))
    seen = watched(by)
    actions = play(by, PlanRow(0, 0, 0, "prompt", budget=4, context=context(3)), 4)
    assert seen == [([0, 1, 2, 3], [0, 1, 2], 7)]
    assert len(np.unique(actions.round(6), axis=0)) == 4


def test_a_prompt_as_long_as_the_window_is_refused() -> None:
    by = policy(autoencoder(), Query("prompt"))
    with pytest.raises(ConfigError, match="a prompt of 8 timesteps leaves no room in a window of 8"):
        by.reset(np.array([0]), [PlanRow(0, 0, 0, "prompt", budget=4, context=context(8))])


def test_several_goals_are_dropped_as_they_fall_due() -> None:
    by = policy(autoencoder(), Query("multi_goal", history=0), length=8)
    seen = watched(by)
    points = Waypoints(np.array([2, 4, 6]), {"state": states(3, 5)})
    play(by, PlanRow(0, 0, 0, "multi_goal", budget=6, waypoints=points), 6)
    ahead = [[2, 4, 6], [1, 3, 5], [2, 4], [1, 3], [2], [1]]
    assert [s for s, _, _ in seen] == [[0, *later] for later in ahead]
    assert [length for *_, length in seen] == [7, 6, 5, 4, 3, 2]


def test_goal_gpt_is_shown_the_goal_that_is_due_next_and_forgets_what_came_before() -> None:
    by = policy(goal_gpt(), Query("multi_goal"))
    wanted = states(2, 5)
    points = Waypoints(np.array([2, 5]), {"state": wanted})
    by.reset(np.array([0]), [PlanRow(0, 0, 0, "multi_goal", budget=5, waypoints=points)])
    goals, lengths = [], []
    for s in states(6, 1):
        by.act({"state": s[None]}, np.array([0]))
        goals.append(by.cells["goal_state"][0, 0].numpy().copy())
        lengths.append(int(by.now[0]) + 1)
    assert np.allclose(goals, wanted[[0, 0, 1, 1, 1, 1]])
    assert lengths == [1, 2, 1, 2, 3, 4]


def test_a_goal_in_every_token_reaches_the_action() -> None:
    row = [PlanRow(0, 0, 0, "goal", goal={"state": states(1, seed)[0]}, budget=5) for seed in (5, 6)]
    one, other = (play(policy(goal_gpt(), Query("goal")), r, 3) for r in row)
    assert not np.allclose(one, other)


def test_gpt_stays_causal_beyond_its_training_length() -> None:
    """Spec 6.8: published prompts longer than the window attend to everything."""
    model = gpt(4)
    layout = model.layout.with_length(12)
    window = random_window(layout, 2)
    masks = CausalMask(["state", "action"]).sample(torch.Generator().manual_seed(0), 2, layout)
    changed = random_window(layout, 2, seed=1)
    for name, value in window.values.items():
        changed.values[name][:, :6] = value[:, :6]
    with torch.no_grad():
        a, b = model(window, masks)["action"], model(changed, masks)["action"]
    assert torch.allclose(a[:, :6], b[:, :6], atol=1e-6)
    assert not torch.allclose(a[:, 8:], b[:, 8:])
