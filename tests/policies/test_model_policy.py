"""Acting from a model: the window at rollout is the window of training, and rows do not see each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.examples import continuous_spec

from maskbench.data.normalise import Normaliser
from maskbench.data.store import EpisodeStore
from maskbench.envs.doorkey import DoorKey
from maskbench.errors import ConfigError
from maskbench.masking.tasks import NamedTask
from maskbench.models.decoder import Decoder
from maskbench.models.encoder import Encoder
from maskbench.models.heads import build_heads
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query, answerable
from maskbench.rollout.plan import EpisodePlan, PlanRow, Waypoints
from maskbench.rollout.runner import RolloutRunner
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Window

ENV = DoorKey()


def doorkey_policy(query: Query, slots: int = 8, attend: str = "bidirectional", seed: int = 0) -> ModelPolicy:
    torch.manual_seed(seed)
    if attend == "causal":
        layout = build_layout(ENV.spec, 10, by="role")
        model = Decoder(layout, build_heads(layout.spec.select(["action"]), 16, {}), n_layer=1, n_head=2, n_embd=16)
    else:
        layout = build_layout(ENV.spec, 10)
        model = Encoder(layout, build_heads(layout.spec, 16, {}), n_layer=1, n_head=2, n_embd=16, n_inner=16)
    scaling = Normaliser.identity(ENV.spec)
    return ModelPolicy(model, ENV.spec, scaling, query, attend, "first_half", ENV.horizon, slots, ReturnUnits())


def watch(policy: ModelPolicy) -> list[tuple[Window, object, torch.Tensor]]:
    """Records every question that the policy puts to its model."""
    seen: list = []
    forward = policy.model.forward

    def recording(window, masks, only=None, at=None):
        clone = Window({n: v.clone() for n, v in window.values.items()}, window.valid)
        seen.append((clone, masks, at))
        return forward(window, masks, only=only, at=at)

    policy.model.forward = recording  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("name", ["bc", "return", "future", "waypoint"])
def test_the_question_at_step_t_is_the_named_task_of_training(name: str) -> None:
    policy = doorkey_policy(Query(name))
    seen = watch(policy)
    plan = EpisodePlan.build(3, 0, name, target_return=4.0)
    points = Waypoints(np.array([3, 6, 9]), {"state": np.array([1, 2, 3]), "state_key": np.array([1, 2, 3])})
    plan = EpisodePlan(tuple(replace(row, waypoints=points) for row in plan))
    records = RolloutRunner(ENV, lambda: policy, num_slots=3, record_trajectories=True, progress=False).run(plan)
    layout = policy.layout
    for t, (window, masks, at) in enumerate(seen):
        expected = NamedTask(name).at(torch.full((3,), t + 1), layout)
        assert at.tolist() == [t] * 3
        # the sampled action is written into the mask after the model was asked
        visible = masks.visible.clone()
        visible[:, t, layout.column("action")] = False
        assert torch.equal(visible, expected.visible)
        assert torch.equal(masks.predict, expected.predict)
        if name == "waypoint":
            assert window.values["state"][:, 9].tolist() == [3] * 3 or t == 9
        for row, record in enumerate(records):
            assert window.values["state"][row, : t + 1].tolist() == record.trajectory["state"][: t + 1].tolist()
            assert window.values["action"][row, :t].tolist() == record.trajectory["action"][:t].tolist()
            if name == "return":
                assert window.values["rtg"][row, 0] == 4 + 6
                earned = record.trajectory["reward"][:t].sum()
                assert window.values["rtg"][row, t] == np.clip(4 - earned + 6, 0, 16)


def test_the_goal_stands_at_the_end_of_the_window() -> None:
    policy = doorkey_policy(Query("goal"))
    seen = watch(policy)
    plan = EpisodePlan.build(2, 0, "goal", goal=ENV.goal)
    RolloutRunner(ENV, lambda: policy, num_slots=2, progress=False).run(plan)
    column = policy.layout.column("state")
    for t, (window, masks, _) in enumerate(seen[:-1]):
        shown = masks.visible[0, :, column].nonzero().flatten().tolist()
        assert shown == [*range(t + 1), 9]
        assert window.values["state"][0, 9] == 15
    assert seen[-1][1].visible[0, :, column].all()  # the last state is the real one: nothing lies ahead any more


def continuous_policy(query: Query, window: int = 8, horizon: int = 100) -> ModelPolicy:
    torch.manual_seed(0)
    spec = continuous_spec(4, 2)
    layout = build_layout(spec, window, by="factor", inputs=["state", "action"])
    model = Encoder(layout, build_heads(spec, 16, {}), n_layer=1, n_head=2, n_embd=16, n_inner=16)
    return ModelPolicy(model, spec, Normaliser.identity(spec), query, "bidirectional", "none", horizon, 4, ReturnUnits())


def goal_row(row: int, budget: int) -> PlanRow:
    return PlanRow(row, row, row, "goal", goal={"state": np.full(4, 9.0, np.float32)}, budget=budget)


def test_a_budget_inside_the_window_places_the_goal_that_many_steps_ahead_and_hides_what_follows() -> None:
    policy = continuous_policy(Query("goal", history=0))
    seen = watch(policy)
    slots = np.array([0, 1])
    policy.reset(slots, [goal_row(0, 3), goal_row(1, 6)])
    for step in range(3):
        policy.act({"state": np.zeros((2, 4), np.float32)}, slots)
        window, masks, at = seen[step]
        column = policy.layout.column("state")
        assert masks.visible[0, :, column].nonzero().flatten().tolist() == [0, 3 - step]
        assert masks.visible[1, :, column].nonzero().flatten().tolist() == [0, 6 - step]
        assert window.valid[0].sum() == 4 - step
        assert (window.values["state"][0, 3 - step] == 9).all()
        assert at.tolist() == [0, 0]


def test_a_budget_beyond_the_window_keeps_the_goal_at_its_end() -> None:
    policy = continuous_policy(Query("goal"))
    seen = watch(policy)
    policy.reset(np.array([0]), [goal_row(0, 50)])
    for _ in range(3):
        policy.act({"state": np.zeros((1, 4), np.float32)}, np.array([0]))
    assert [m.visible[0, :, policy.layout.column("state")].nonzero().flatten().tolist() for _, m, _ in seen] == [[0, 7]] * 3


def test_waypoints_enter_a_short_window_as_time_goes_on_and_leave_it_when_they_are_due() -> None:
    policy = continuous_policy(Query("waypoint"), window=8)  # waypoints every 2 timesteps: 3 of history, 4 of room ahead
    seen = watch(policy)
    times = np.array([2, 4, 6, 12])
    points = Waypoints(times, {"state": np.repeat(times[:, None], 4, 1).astype(np.float32)})
    policy.reset(np.array([1]), [PlanRow(0, 0, 0, "waypoint", waypoints=points, budget=50)])
    column = policy.layout.column("state")
    shown = []
    for t in range(9):
        policy.act({"state": np.full((1, 4), 100 + t, np.float32)}, np.array([1]))
        window, masks, at = seen[t]
        now = int(at[0])
        assert window.values["state"][0, now, 0] == 100 + t
        ahead = [i for i in masks.visible[0, :, column].nonzero().flatten().tolist() if i > now]
        assert masks.visible[0, : now + 1, column].all()
        assert all(window.values["state"][0, i, 0] == t + i - now for i in ahead)
        shown.append([t + i - now for i in ahead])
    assert shown == [[2, 4, 6], [2, 4, 6], [4, 6], [4, 6], [6], [6], [], [], [12]]


def test_an_open_loop_plan_asks_once_and_plays_exactly_its_budget() -> None:
    policy = continuous_policy(Query("goal", mode="open"))
    seen = watch(policy)
    policy.reset(np.array([0]), [goal_row(0, 5)])
    played = [policy.act({"state": np.zeros((1, 4), np.float32)}, np.array([0]))[0] for _ in range(5)]
    assert len(seen) == 1
    asked = seen[0][1].predict[0, :, policy.layout.column("action")]
    assert asked.nonzero().flatten().tolist() == [0, 1, 2, 3, 4]
    assert len({tuple(a) for a in played}) == 5


def test_long_histories_slide() -> None:
    policy = continuous_policy(Query("bc"), window=4)
    policy.reset(np.array([0]), [PlanRow(0, 0, 0)])
    for t in range(9):
        policy.act({"state": np.full((1, 4), t, np.float32)}, np.array([0]))
    assert policy.cells["state"][0, :, 0].tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize(("attend", "name"), [("bidirectional", "bc"), ("causal", "bc"), ("bidirectional", "waypoint")])
def test_records_are_the_same_bits_for_any_batch_size(attend: str, name: str) -> None:
    points = [Waypoints(np.array(t), {"state": np.array(t)}) for t in ([2, 5, 7], [4], [1, 9])]
    plan = EpisodePlan(tuple(replace(r, waypoints=points[r.row % 3]) for r in EpisodePlan.build(23, 1, name)))
    seen = []
    for slots in (1, 3, 23):
        runner = RolloutRunner(ENV, lambda s=slots: doorkey_policy(Query(name), s, attend), num_slots=slots, progress=False)
        seen.append([r.to_json() for r in runner.run(plan)])
    assert seen[0] == seen[1] == seen[2]


def test_a_policy_seed_is_all_the_chance_there_is() -> None:
    rows = [PlanRow(0, 5, 7), PlanRow(1, 5, 7), PlanRow(2, 5, 8)]
    runner = RolloutRunner(ENV, lambda: doorkey_policy(Query()), num_slots=3, record_trajectories=True, progress=False)
    a, b, c = (r.trajectory["action"].tolist() for r in runner.run(EpisodePlan(tuple(rows))))
    assert a == b != c


def test_what_cannot_be_answered_is_said_with_its_reason() -> None:
    grid = build_layout(ENV.spec, 10)
    every = answerable(grid, "bidirectional", "none", grid.spec.names, ENV.queries)
    nowhere = "the environment cannot start inside a recorded episode"
    told = {"multi_goal": nowhere, "prompt": nowhere}
    assert every == dict.fromkeys(("bc", "return", "goal", "waypoint", "future")) | told
    causal = answerable(grid, "causal", "none", ["action"], ENV.queries)
    assert "cannot look ahead" in causal["goal"]
    assert "cannot look ahead" in causal["waypoint"]
    assert "one step at a time" in causal["future"]
    assert "never saw a return" in causal["return"]
    no_returns = build_layout(ENV.spec, 10, inputs=["state", "action"])
    assert "no part of the model's tokens" in answerable(no_returns, "bidirectional", "none", ["action"], ENV.queries)["return"]
    assert "gives it nothing" in answerable(grid, "bidirectional", "none", grid.spec.names, ("bc",))["goal"]
    assert answerable(grid, "bidirectional", "none", ["state"], ENV.queries)["bc"] == "the model predicts no actions"


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"name": "gaol"}, "Did you mean 'goal'"),
        ({"name": "bc", "mode": "open"}, "needs query=goal"),
        ({"temperature": 0}, "positive"),
    ],
)
def test_impossible_queries_are_refused(wrong: dict, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Query(**wrong)


def test_normalised_models_act_in_the_environments_units() -> None:
    spec = continuous_spec(4, 2)
    rng = np.random.default_rng(0)
    episode = {"state": 100 + 10 * rng.normal(size=(50, 4)), "action": 5 + 2 * rng.normal(size=(50, 2))}
    from maskbench.trajectory import Episode

    store = EpisodeStore.from_episodes(spec, [Episode({k: v.astype(np.float32) for k, v in episode.items()})])
    scaling = Normaliser.fit(store, {"state": "standard", "action": "standard"})
    layout = build_layout(spec, 4, by="factor", inputs=["state", "action"])
    torch.manual_seed(0)
    model = Encoder(layout, build_heads(spec, 16, {}), n_layer=1, n_head=2, n_embd=16, n_inner=16)
    policy = ModelPolicy(model, spec, scaling, Query(), "bidirectional", "none", 10, 1, ReturnUnits())
    seen = watch(policy)
    policy.reset(np.array([0]), [PlanRow(0, 0, 0)])
    action = policy.act({"state": np.full((1, 4), 100, np.float32)}, np.array([0]))
    assert seen[0][0].values["state"][0, 0].abs().max() < 1
    inner = policy.cells["action"][0, 0]
    torch.testing.assert_close(torch.from_numpy(action[0]), scaling.invert("action", inner))


@pytest.mark.parametrize(("horizon", "left"), [(1000, 1000), (None, 10)])
def test_a_mean_return_is_asked_over_the_steps_that_are_left_of_its_horizon(horizon: int | None, left: int) -> None:
    spec = continuous_spec(4, 2, returns=True)
    layout = build_layout(spec, 4, by="factor", inputs=["return", "state", "action"])
    model = Encoder(layout, build_heads(spec, 16, {}), n_layer=1, n_head=2, n_embd=16, n_inner=16)
    scaling, units = Normaliser.identity(spec), ReturnUnits(mean=True, horizon=horizon)
    policy = ModelPolicy(model, spec, scaling, Query("return"), "bidirectional", "first", 10, 1, units)
    slots = np.array([0])
    policy.reset(slots, [PlanRow(0, 0, 0, "return", target_return=30.0)])
    for _ in range(2):
        policy.act({"state": np.zeros((1, 4), np.float32)}, slots)
        policy.record(slots, np.array([5.0], np.float32))
    torch.testing.assert_close(policy.cells["rtg"][0, :2, 0], torch.tensor([30 / left, 25 / (left - 1)]))
