"""Two-stage rollouts and returns in every slot: what the model is asked, and with which values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.examples import continuous_spec
from tests.policies.test_model_policy import ENV, doorkey_policy, watch

from maskbench.data.normalise import Normaliser
from maskbench.errors import ConfigError
from maskbench.masking.mtm import PatternMask
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.heads import HeadChoice, build_heads
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query
from maskbench.rollout.plan import EpisodePlan, PlanRow
from maskbench.rollout.runner import RolloutRunner
from maskbench.tokens.layout import build_layout

SLOTS = np.array([0, 1])


def mtm_policy(query: Query, outputs=None, choices=None, mean: bool = True, returns="all") -> ModelPolicy:
    torch.manual_seed(0)
    spec = continuous_spec(4, 2, returns=True)
    layout = build_layout(spec, 5, by="factor", order="stream")
    heads = build_heads(layout.spec.select(outputs or layout.spec.names), 16, choices or {})
    model = Autoencoder(layout, heads, 1, 1, 2, 16, style="mtm")
    units = ReturnUnits(1.0, mean)
    return ModelPolicy(model, spec, Normaliser.identity(spec), query, "bidirectional", returns, 10, 2, units)


def play(policy: ModelPolicy, steps: int, reward: float = 0.0) -> list:
    seen = watch(policy)
    policy.reset(SLOTS, [PlanRow(0, 0, 0, target_return=20.0), PlanRow(1, 1, 1, target_return=40.0)])
    for t in range(steps):
        policy.act({"state": np.full((2, 4), t + 1, np.float32)}, SLOTS)
        policy.record(SLOTS, np.full(2, reward))
    return seen


def test_the_second_question_is_inverse_dynamics_on_foreseen_states() -> None:
    policy = mtm_policy(Query("bc", mode="two_stage"))
    first, second = play(policy, 1)
    layout = policy.layout
    # the action drawn at the current timestep is written into the mask after the model was asked
    visible = second[1].visible.clone()
    visible[:, 0, layout.column("action")] = False
    assert torch.equal(visible, PatternMask("id").at(torch.zeros(2, dtype=torch.long), layout))
    assert first[1].visible.sum() == 2  # the current state of each slot
    assert second[2].tolist() == [0, 0]
    with torch.no_grad():
        expected = policy.model(first[0], first[1], only=["state"])["state"]
    torch.testing.assert_close(second[0].values["state"][:, 1:], expected[:, 1:])
    assert (second[0].values["state"][:, 0] == 1).all()


def test_history_stays_as_it_was_and_the_rest_is_foreseen() -> None:
    policy = mtm_policy(Query("bc", mode="two_stage", history=2))
    seen = play(policy, 4)
    first, second = seen[-2:]
    assert second[2].tolist() == [2, 2]
    assert second[0].values["state"][0, :3, 0].tolist() == [2, 3, 4]
    assert second[1].visible[..., policy.layout.column("state")].all()
    assert first[1].visible[0, :, policy.layout.column("action")].tolist() == [True, True, False, False, False]
    assert not second[1].visible[:, :2, policy.layout.column("action")].any()
    assert not second[1].visible[..., policy.layout.column("rtg")].any()


def test_a_wanted_return_is_shown_in_both_questions() -> None:
    first, second = play(mtm_policy(Query("return", mode="two_stage")), 1)
    for window, masks, _ in (first, second):
        assert masks.visible[..., 0].all()
        assert window.values["rtg"][:, :, 0].tolist() == [[2.0] * 5, [4.0] * 5]


def test_a_return_that_is_shown_once_is_foreseen_for_the_other_timesteps() -> None:
    policy = mtm_policy(Query("return", mode="two_stage"), returns="none")
    first, second = play(policy, 1)
    assert first[1].visible[0, :, 0].tolist() == [True, False, False, False, False]
    assert second[1].visible[..., 0].all()
    with torch.no_grad():
        expected = policy.model(first[0], first[1], only=["rtg"])["rtg"]
    torch.testing.assert_close(second[0].values["rtg"][:, 1:], expected[:, 1:])


def test_mtm_asks_for_the_same_average_in_every_slot_whatever_was_earned() -> None:
    policy = mtm_policy(Query("return"))
    seen = play(policy, 7, reward=1.5)
    for window, masks, _ in seen:
        assert masks.visible[..., policy.layout.column("rtg")].all()
        assert window.values["rtg"][0, :, 0].tolist() == [2.0] * 5


def test_sums_of_rewards_are_asked_up_to_now_and_fall_by_what_was_earned() -> None:
    policy = mtm_policy(Query("return"), mean=False)
    seen = play(policy, 3, reward=1.5)
    assert [w.values["rtg"][0, 0, 0].item() for w, _, _ in seen] == [20.0] * 3
    assert seen[-1][0].values["rtg"][0, 2, 0] == 17.0
    assert seen[-1][1].visible[0, :, policy.layout.column("rtg")].tolist() == [True, True, True, False, False]
    once = play(mtm_policy(Query("return"), mean=False, returns="first"), 3)
    assert once[-1][1].visible[0, :, policy.layout.column("rtg")].tolist() == [True, False, False, False, False]


def test_classes_are_foreseen_as_classes() -> None:
    policy = doorkey_policy(Query("bc", mode="two_stage"), slots=2)
    seen = watch(policy)
    policy.reset(SLOTS, [PlanRow(0, 0, 0), PlanRow(1, 1, 1)])
    policy.act({n: np.array([3, 4]) for n in ("state", "state_key_pos", "state_door", "state_key")}, SLOTS)
    window = seen[1][0]
    assert window.values["state"].dtype == torch.int64
    assert window.values["state"][:, 0].tolist() == [3, 4]


def test_records_are_the_same_bits_for_any_batch_size() -> None:
    plan = EpisodePlan.build(11, 1, "bc")
    seen = []
    for slots in (1, 4, 11):
        policy = doorkey_policy(Query("bc", mode="two_stage", history=2), slots=slots)
        runner = RolloutRunner(ENV, lambda p=policy: p, num_slots=slots, record_trajectories=True, progress=False)
        seen.append([r.trajectory["action"].tolist() for r in runner.run(plan)])
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: mtm_policy(Query("bc", mode="two_stage", history=4)), "leaves no timestep"),
        (lambda: mtm_policy(Query("bc", mode="two_stage"), outputs=["action"]), "both see and predict"),
        (lambda: mtm_policy(Query("bc", mode="two_stage"), choices={"state": HeadChoice(target="l2")}), "normalised states"),
        (lambda: doorkey_policy(Query("bc", mode="two_stage"), attend="causal"), "causal"),
        (lambda: Query("goal", mode="two_stage"), "bc or return"),
    ],
)
def test_what_cannot_plan_is_refused_with_the_reason(make, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make()
