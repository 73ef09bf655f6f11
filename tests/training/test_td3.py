"""TD3's target and losses, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from maskbench.training import td3


def twin(state: Tensor, action: Tensor) -> Tensor:
    """Q1 = state + action, Q2 = 3."""
    first = (state + action).sum(-1)
    return torch.stack([first, torch.full_like(first, 3.0)])


def test_the_target_takes_the_lower_value_at_the_actors_action() -> None:
    next_state, reward = torch.tensor([[1.0], [5.0]]), torch.tensor([0.5, 0.25])
    target = td3.td_target(reward, 0.9, next_state, lambda s: torch.full_like(s, 0.5), twin, std=0.0)
    torch.testing.assert_close(target, torch.tensor([0.5 + 0.9 * 1.5, 0.25 + 0.9 * 3.0]))


def test_the_target_takes_a_discount_per_transition() -> None:
    discount = torch.tensor([0.0, 1.0])
    target = td3.td_target(torch.ones(2), discount, torch.zeros(2, 1), lambda s: s, twin, std=0.0)
    torch.testing.assert_close(target, torch.tensor([1.0, 1.0]))


def test_targets_of_windows_keep_their_timesteps() -> None:
    reward = torch.rand(4, 3)
    assert td3.td_target(reward, 0.9, torch.rand(4, 3, 1), lambda s: s * 0, twin).shape == (4, 3)


def test_the_critic_pays_for_both_estimates() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    loss = td3.critic_loss(values, torch.tensor([1.0, 1.0]))
    assert loss.item() == pytest.approx((0 + 1) / 2 + (4 + 1) / 2)


def test_the_actor_climbs_the_lower_value() -> None:
    mean = torch.zeros(1, 1, requires_grad=True)
    loss = td3.actor_loss(torch.ones(1, 1), lambda s: mean, twin, std=0.0)
    assert loss.item() == pytest.approx(-1.0)
    assert torch.autograd.grad(loss, mean)[0].item() == pytest.approx(-1.0)


@given(st.floats(-1, 1), st.floats(0, 2), st.floats(0, 0.5))
def test_noise_is_clipped_and_actions_stay_inside(mean: float, std: float, clip: float) -> None:
    start = torch.full((64, 3), mean)
    action = td3.noisy(start, std, clip, torch.Generator().manual_seed(0))
    assert action.abs().max() <= 1.0
    assert (action - start).abs().max() <= clip + 2e-6


def test_gradients_pass_the_truncation() -> None:
    mean = torch.ones(5, requires_grad=True)
    td3.noisy(mean, 0.5).sum().backward()
    assert mean.grad is not None
    torch.testing.assert_close(mean.grad, torch.ones(5))


def test_noise_comes_from_the_given_generator() -> None:
    first, second = (td3.noisy(torch.zeros(9), 0.2, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, td3.noisy(torch.zeros(9), 0.2, generator=torch.Generator().manual_seed(4)))


def test_targets_move_by_tau() -> None:
    target, online = [torch.zeros(2)], [torch.full((2,), 10.0)]
    td3.soft_update(target, online, 0.01)
    torch.testing.assert_close(target[0], torch.full((2,), 0.1))
