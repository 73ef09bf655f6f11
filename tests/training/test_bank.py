"""Fixed questions: the same at every call, independent of each other, with intervals that cover."""

from __future__ import annotations

import pytest
import torch

from maskbench.masking.random import BernoulliMask, FrontierMask
from maskbench.masking.scheme import MaskSet
from maskbench.masking.tasks import TASKS, NamedTask
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.decoder import Decoder
from maskbench.models.encoder import Encoder
from maskbench.models.heads import build_heads
from maskbench.models.objective import Objective
from maskbench.tokens.layout import build_layout
from maskbench.training.bank import Asked, TaskBank
from maskbench.training.masked import Alternating, MaskedProblem
from maskbench.trajectory import Window
from tests.examples import continuous_spec, discrete_spec, random_window


def make_encoder(layout, dropout: float = 0.1) -> Encoder:
    torch.manual_seed(0)
    return Encoder(layout, build_heads(layout.spec, 16, {}), n_layer=1, n_head=2, n_embd=16, n_inner=16, dropout=dropout)


def test_losses_equal_the_objective_on_the_same_masks(grid_layout) -> None:
    model, window = make_encoder(grid_layout), random_window(grid_layout, 300)
    objective = Objective({"return": 0.0})
    bank = TaskBank.build(window, {t: NamedTask(t) for t in TASKS}, grid_layout, seed=3)
    totals = {r.task: r.loss for r in bank.losses(model, objective, chunk=70) if r.factor == "total"}
    model.eval()
    for task, masks in bank.masks.items():
        assert totals[task] == pytest.approx(objective(model, window, masks)["loss"].item(), rel=1e-5)


def test_a_bank_answers_the_same_twice_and_leaves_the_model_training(grid_layout) -> None:
    model = make_encoder(grid_layout).train()
    bank = TaskBank.build(random_window(grid_layout, 50), {"bc": NamedTask("bc")}, grid_layout, 0)
    first, second = (bank.losses(model, Objective()) for _ in range(2))
    assert first == second
    assert model.training


def test_masks_of_a_task_do_not_depend_on_which_others_are_asked(grid_layout) -> None:
    window = random_window(grid_layout, 40)
    alone = TaskBank.build(window, {"goal": NamedTask("goal")}, grid_layout, 1)
    among = TaskBank.build(
        window, {"scheme": BernoulliMask(), "bc": NamedTask("bc"), "goal": NamedTask("goal")}, grid_layout, 1
    )
    assert torch.equal(alone.masks["goal"].visible, among.masks["goal"].visible)


def test_intervals_hold_the_mean_of_many_more_windows(grid_layout) -> None:
    model, objective = make_encoder(grid_layout), Objective({"return": 0.0})
    tasks = {"past": NamedTask("past")}
    truth = TaskBank.build(random_window(grid_layout, 6000, seed=9), tasks, grid_layout, 0).losses(model, objective)[-1].loss
    hits = 0
    for seed in range(20):
        row = TaskBank.build(random_window(grid_layout, 200, seed=seed), tasks, grid_layout, seed).losses(model, objective)[-1]
        assert row.low < row.loss < row.high
        hits += row.low <= truth <= row.high
    assert hits >= 16


def test_causal_models_get_the_masks_of_bidirectional_ones() -> None:
    layout = build_layout(discrete_spec(), 10, by="role")
    window = random_window(layout, 30)
    both = [TaskBank.build(window, {"bc": Asked("bc", attend, "first")}, layout, 0) for attend in ("bidirectional", "causal")]
    assert torch.equal(both[0].masks["bc"].visible, both[1].masks["bc"].visible)
    assert both[1].masks["bc"].attend == "causal"
    assert not Asked.possible("goal", "causal", "first")
    assert not Asked.possible("return", "causal", "none")
    assert Asked.possible("return", "causal", "first")
    assert all(Asked.possible(t, "causal", "first_half", hides=True) for t in TASKS)


@pytest.mark.parametrize("attend", ["bidirectional", "causal"])
@pytest.mark.parametrize(("returns", "shown"), [("all", range(4)), ("all_half", range(4)), ("first", [0])])
def test_models_that_saw_every_return_are_shown_those_of_the_visible_timesteps(attend: str, returns: str, shown) -> None:
    layout = build_layout(discrete_spec(), 10, by="factor")
    masks = Asked("return", attend, returns).sample(torch.Generator().manual_seed(0), 10, layout)
    row = int((masks.visible[:, :, layout.column("state")].sum(1) == 4).nonzero())
    assert masks.visible[row, :, layout.column("rtg")].nonzero().flatten().tolist() == list(shown)


def test_a_causal_model_is_never_asked_for_what_no_token_predicts() -> None:
    layout = build_layout(discrete_spec(), 6, by="factor", inputs=["state", "action"])
    torch.manual_seed(0)
    model = Decoder(layout, build_heads(layout.spec, 16, {}), n_layer=1, n_head=2, n_embd=16)
    bank = TaskBank.build(random_window(layout, 60), {"past": Asked("past", "causal", "none")}, layout, 0)
    counts = {r.factor: r.n for r in bank.losses(model, Objective({"return": 0.0}))}
    asked = int(bank.masks["past"].predict[:, :, layout.column("state")].sum())
    assert counts["state"] == asked - 60  # each row hides its first state, before which there is nothing
    assert counts["state_key"] == asked


def test_what_lies_ahead_does_not_change_a_causal_answer() -> None:
    layout = build_layout(discrete_spec(), 6, by="factor")
    torch.manual_seed(0)
    model = Decoder(layout, build_heads(layout.spec, 16, {}), n_layer=2, n_head=2, n_embd=16).eval()
    window = random_window(layout, 5)
    with_goal, without = (NamedTask(n, attend="causal").at(torch.tensor([1, 2, 3, 4, 5]), layout) for n in ("goal", "bc"))
    at = torch.arange(5)
    assert torch.equal(model(window, with_goal, at=at)["action"], model(window, without, at=at)["action"])


def test_a_causal_model_sees_no_more_under_a_task_mask_than_in_training() -> None:
    layout = build_layout(continuous_spec(3, 2), 6, by="role", inputs=["state", "action"])
    torch.manual_seed(0)
    model = Decoder(layout, build_heads(layout.spec.select(["action"]), 16, {}), n_layer=2, n_head=2, n_embd=16).eval()
    window = random_window(layout, 6)
    masks = Asked("bc", "causal", "none").sample(torch.Generator().manual_seed(0), 6, layout)
    now = masks.predict[:, :, layout.column("action")].int().argmax(1)
    everything = torch.ones_like(masks.visible)
    asked = model(window, masks, at=now)["action"]
    trained = model(window, type(masks)(everything, masks.predict, "causal"), at=now)["action"]
    torch.testing.assert_close(asked, trained)


class Steps:
    """Windows that tell their step."""

    def __init__(self, layout) -> None:
        self.layout, self.asked = layout, []

    def batch(self, step: int) -> Window:
        self.asked.append(step)
        return random_window(self.layout, 8, seed=step)


def test_a_step_of_training_depends_on_its_number_alone(grid_layout) -> None:
    model = make_encoder(grid_layout, dropout=0.0)
    bank = TaskBank.build(random_window(grid_layout, 20), {"scheme": BernoulliMask()}, grid_layout, 0)
    steps = Steps(grid_layout)
    problem = MaskedProblem(steps, BernoulliMask(), Objective(), bank, 8, seed=5)
    first = [problem.losses(model, s)["loss"].item() for s in (3, 4, 3)]
    assert first[0] == first[2] != first[1]
    assert problem.validate(model)["loss"] == problem.validate(model)["loss"]
    parallel = MaskedProblem(steps, BernoulliMask(), Objective(), bank, 8, seed=5, world=2)
    steps.asked.clear()
    parallel.losses(model, 3, rank=1)
    assert steps.asked == [7]


class Numbered:
    """Batches that say which step they are."""

    def __init__(self, sign: int) -> None:
        self.sign = sign

    def batch(self, step: int) -> int:
        return self.sign * (step + 1)


def test_complete_batches_come_first_and_then_by_the_ratio() -> None:
    taken = Alternating(Numbered(1), Numbered(-1), 2)
    assert [taken.batch(step) for step in range(7)] == [1, -2, -3, 4, -5, -6, 7]


def test_episodes_without_actions_teach_states_and_nothing_about_actions() -> None:
    layout = build_layout(continuous_spec(3, 2, returns=True), 4, by="factor")
    torch.manual_seed(0)
    model = Autoencoder(layout, build_heads(layout.spec, 16, {}), 1, 1, 2, 16, style="mtm")
    window = random_window(layout, 6)
    known = torch.ones(6, 4, 3, dtype=torch.bool)
    known[2:, :, layout.column("action")] = False
    masks = FrontierMask([0.7], {"action": 1.0}).sample(torch.Generator().manual_seed(0), 6, layout)
    losses = []
    for noise in (0.0, 100.0):
        values = dict(window.values)
        values["action"] = values["action"].clone()
        values["action"][2:] += noise
        losses.append(Objective()(model, Window(values, known=known), masks))
    assert losses[0] == losses[1]  # whatever the unknown cells hold
    labelled = Objective()(model, window.rows(slice(2)), MaskSet(masks.visible[:2], masks.predict[:2]))
    assert losses[0]["action/mse"].item() == pytest.approx(labelled["action/mse"].item(), rel=1e-5)
    none = Objective()(model, Window(window.values, known=known & (torch.arange(3) != layout.column("action"))), masks)
    none["loss"].backward()
    assert none["action/mse"] == 0
    assert not any(p.grad.any() for p in model.head("action").parameters())
    assert any(p.grad.any() for p in model.head("state").parameters())
