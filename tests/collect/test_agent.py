"""The learner and its intrinsic rewards."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from maskbench.collect.agent import Agent, Learner
from maskbench.collect.networks import Actor, Sizes, TwinCritic, symlog
from maskbench.collect.replay import Transitions
from maskbench.collect.rewards.icm_apt import ICMAPT
from maskbench.collect.rewards.neighbours import nearest
from maskbench.collect.rewards.proto import Proto, sinkhorn
from maskbench.collect.rewards.rnd import RND
from maskbench.collect.rewards.running import RunningScale

SIZES = Sizes(5, 2, 16)
EXPLORERS = {
    "rnd": lambda: RND(SIZES, features=8),
    "icm_apt": lambda: ICMAPT(SIZES, features=8),
    "proto": lambda: Proto(SIZES, features=8, prototypes=12, queue=64),
}


def batch(rows: int = 32, seed: int = 0) -> Transitions:
    g = torch.Generator().manual_seed(seed)
    action = torch.rand(rows, 2, generator=g) * 2 - 1
    state, after = (torch.randn(rows, 5, generator=g) for _ in range(2))
    return Transitions(state, action, torch.rand(rows, generator=g), after, 0.97)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_the_networks_are_exorls() -> None:
    sizes = Sizes(24, 6, 1024)
    actor = (24 * 1024 + 1024) + 2 * 1024 + (1024 * 1024 + 1024) + (1024 * 6 + 6)
    critic = (30 * 1024 + 1024) + 2 * 1024 + 2 * ((1024 * 1024 + 1024) + (1024 + 1))
    assert sum(p.numel() for p in Actor(sizes).parameters()) == actor
    assert sum(p.numel() for p in TwinCritic(sizes).parameters()) == critic


@pytest.mark.parametrize("norm", [True, False])
def test_both_heads_of_the_critic_are_networks_of_their_own(norm: bool) -> None:
    critic, b = TwinCritic(SIZES, norm=norm), batch()
    values = critic(b.state, b.action)
    assert values.shape == (2, 32)
    assert not torch.allclose(values[0], values[1])
    hidden = critic.body[3].out_features // 2
    with torch.no_grad():
        critic.body[3].weight[hidden] += 1.0  # one unit: LayerNorm would undo a shift of all
    moved = critic(b.state, b.action)
    assert torch.equal(moved[0], values[0])
    assert not torch.allclose(moved[1], values[1])


def test_bfloat16_values_are_close_to_exact_ones() -> None:
    exact, fast = TwinCritic(SIZES, precision="fp32"), TwinCritic(SIZES, precision="bf16")
    fast.load_state_dict(exact.state_dict())
    b = batch()
    assert fast(b.state, b.action).dtype == torch.float32
    torch.testing.assert_close(fast(b.state, b.action), exact(b.state, b.action), atol=0.05, rtol=0.05)


def test_symlog_keeps_signs_and_small_numbers() -> None:
    torch.testing.assert_close(
        symlog(torch.tensor([0.0, 1e-4, -1.0, 30.0])), torch.tensor([0.0, 1e-4, -0.6931, 3.434]), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("name", [None, *EXPLORERS])
def test_an_update_trains_every_network_and_leaves_what_is_frozen(name: str | None) -> None:
    torch.manual_seed(0)
    agent = Agent(SIZES, Learner(hidden=16), None if name is None else EXPLORERS[name](), bonus=1.0)
    before = copy.deepcopy(dict(agent.named_parameters()))
    for seed in range(3):
        agent.update(batch(seed=seed), generator())
    still = {n for n, p in agent.named_parameters() if torch.equal(p, before[n])}
    assert {n.split(".")[1] for n in still} <= {"frozen"}
    assert all(p.grad is None for p in agent.parameters())


def test_the_actor_may_wait() -> None:
    agent = Agent(SIZES, Learner(hidden=16))
    before = copy.deepcopy(agent.actor.state_dict())
    agent.update(batch(), generator(), actor=False)
    assert all(torch.equal(v, before[k]) for k, v in agent.actor.state_dict().items())


def test_a_bonus_of_one_ignores_the_tasks_reward() -> None:
    def critic(bonus: float, reward: float) -> torch.Tensor:
        torch.manual_seed(0)
        agent = Agent(SIZES, Learner(hidden=16), ICMAPT(SIZES, features=8), bonus)
        b = batch()
        agent.update(Transitions(b.state, b.action, torch.full((32,), reward), b.next_state, 0.9), generator())
        return nn.utils.parameters_to_vector(agent.critic.parameters()).detach()

    assert torch.equal(critic(1.0, 0.0), critic(1.0, 9.0))
    assert not torch.equal(critic(0.5, 0.0), critic(0.5, 9.0))


def test_actions_are_deterministic_means() -> None:
    agent, states = Agent(SIZES, Learner(hidden=16)), np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    assert agent.act(states).shape == (4, 2)
    assert np.array_equal(agent.act(states), agent.act(states))
    assert np.abs(agent.act(1e6 * states)).max() <= 1.0


@pytest.mark.parametrize("name", EXPLORERS)
def test_rewards_are_finite_and_not_negative(name: str) -> None:
    torch.manual_seed(0)
    explorer = EXPLORERS[name]()
    reward = explorer.reward(batch(), generator())
    assert reward.shape == (32,)
    assert not reward.requires_grad
    assert torch.isfinite(reward).all()
    assert reward.min() >= 0


def test_rnd_pays_more_for_states_that_it_has_not_seen() -> None:
    torch.manual_seed(0)
    rnd, seen = RND(SIZES, features=8), batch(64)
    optimizer = torch.optim.Adam(rnd.learned(), lr=1e-3)
    for _ in range(200):
        rnd.loss(seen).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = torch.cat((seen.next_state, 0.3 * torch.randn(64, 5) + torch.tensor([3.0, -3.0, 3.0, -3.0, 3.0])))
    both = Transitions(seen.state, seen.action, seen.reward, after, 0.9)
    rnd.normalise.eval()
    reward = rnd.reward(both, generator())
    assert reward[64:].mean() > 3 * reward[:64].mean()


def test_apt_pays_more_for_the_outlier() -> None:
    torch.manual_seed(0)
    b = batch()
    crowd = 0.01 * b.next_state
    crowd[7] = torch.tensor([3.0, -3.0, 3.0, -3.0, 3.0])
    reward = ICMAPT(SIZES, features=8, neighbours=3).reward(Transitions(b.state, b.action, b.reward, crowd, 0.9), generator())
    assert reward.argmax() == 7


def test_proto_pays_less_for_what_is_queued() -> None:
    torch.manual_seed(0)
    proto = Proto(SIZES, features=8, prototypes=64, queue=64)
    first = proto.reward(batch(), generator())
    again = proto.reward(batch(), generator())
    assert again.mean() < 0.5 * first.mean()
    assert int(proto.head) == 0  # two times 64 entries into a queue of 64


def test_assignments_are_balanced() -> None:
    assigned = sinkhorn(torch.randn(40, 10, generator=generator()) * 5, rounds=30)
    torch.testing.assert_close(assigned.sum(1), torch.ones(40))
    torch.testing.assert_close(assigned.sum(0), torch.full((10,), 4.0), atol=0.05, rtol=0)


def test_neighbours_are_the_nearest() -> None:
    points = torch.tensor([[0.0], [1.0]])
    torch.testing.assert_close(nearest(points, torch.tensor([[0.0], [3.0], [0.5]]), 2), torch.tensor([[0.0, 0.5], [0.5, 1.0]]))


def test_the_running_scale_is_that_of_everything_shown() -> None:
    scale, values = RunningScale(), torch.randn(10, 100, generator=generator()) * 3 + 5
    for row in values:
        deviation = scale(row)
    assert float(deviation) == pytest.approx(float(values.std()), rel=1e-2)
