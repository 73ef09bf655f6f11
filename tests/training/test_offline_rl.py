"""Offline TD3 on a trunk: what learns, what follows slowly, what stays; runs resume exactly."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from maskbench.errors import ConfigError, DataError
from maskbench.models.actor_critic import ActorCritic, Trunk
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.decoder import Decoder
from maskbench.models.encoder import Encoder
from maskbench.models.heads import HeadChoice, build_heads
from maskbench.tokens.layout import build_layout
from maskbench.training.offline_rl import TD3, TD3Problem, Transitions
from maskbench.training.optim import build_optimizer
from maskbench.training.trainer import Trainer
from tests.examples import continuous_spec

SPEC = continuous_spec(4, 2)
HEADS = {"state": HeadChoice(target="l2"), "action": HeadChoice(tanh=True)}


def maskdp() -> Autoencoder:
    torch.manual_seed(0)
    layout = build_layout(SPEC, 8, by="factor", inputs=["state", "action"])
    return Autoencoder(layout, build_heads(layout.spec, 16, HEADS, "norm_relu"), 2, 1, 2, 16)


def gpt() -> Decoder:
    torch.manual_seed(0)
    layout = build_layout(SPEC, 8, by="factor", inputs=["state", "action"])
    heads = build_heads(layout.spec, 16, HEADS, "norm_relu")
    return Decoder(layout, heads, 5, 2, 16, dropout=0.0, positions="sincos", final_norm=False, init="xavier")


def transitions(timesteps: int = 1, lengths: tuple[int, ...] = (30, 20)) -> Transitions:
    """Reward is how near the first action is to 0.5, whatever the state."""
    rng = np.random.default_rng(0)
    states = [torch.tensor(rng.normal(size=(n + 1, 4)), dtype=torch.float32) for n in lengths]
    actions = [torch.tensor(rng.uniform(-1, 1, (n, 2)), dtype=torch.float32) for n in lengths]
    rewards = [1 - (a[:, 0] - 0.5).square() for a in actions]
    return Transitions(states, actions, rewards, timesteps, seed=0)


def problem(settings: TD3 = TD3(), **options) -> TD3Problem:  # noqa: B008
    return TD3Problem(transitions(settings.timesteps, **options), settings, 32, lambda agent: {"return": 1.0})


def one_step(agent: ActorCritic, settings: TD3 = TD3(), step: int = 1) -> dict[str, torch.Tensor]:  # noqa: B008
    terms = problem(settings).losses(agent, step)
    terms["loss"].backward()
    return terms


def touched(module: nn.Module) -> bool:
    return any(p.grad is not None and bool((p.grad != 0).any()) for p in module.parameters())


@pytest.mark.parametrize("timesteps", [1, 4])
def test_windows_of_transitions_follow_each_other(timesteps: int) -> None:
    state, action, reward, after = transitions(timesteps).batch(0, 64)
    assert state.shape == (64, timesteps, 4)
    assert action.shape == (64, timesteps, 2)
    assert torch.allclose(reward, 1 - (action[..., 0] - 0.5).square())
    assert torch.equal(state[:, 1:], after[:, :-1])
    assert torch.equal(transitions(timesteps).batch(3, 8)[0], transitions(timesteps).batch(3, 8)[0])


def test_episodes_that_are_too_short_are_left_out_or_refused() -> None:
    assert len(transitions(25).first) == 6
    with pytest.raises(DataError, match="no episode has 31 transitions; the longest has 30"):
        transitions(31)


def test_actor_and_critic_have_trunks_of_their_own_and_neither_moves_the_other() -> None:
    agent = ActorCritic(maskdp())
    one_step(agent)
    assert touched(agent.actor.trunk)
    assert touched(agent.critic.trunk)
    actor = {p.data_ptr() for p in agent.actor.parameters()}
    assert not actor & {p.data_ptr() for p in agent.critic.parameters()}


def test_the_actor_learns_nothing_from_the_critics_error() -> None:
    """The actor's gradient is that of -min(Q1, Q2) alone."""
    agent = ActorCritic(maskdp())
    p = problem()
    torch.manual_seed(3)
    p.losses(agent, 0)["loss"].backward()
    found = [q.grad.clone() for q in agent.actor.head.parameters()]
    agent.zero_grad()
    state = p.data.batch(0, 32)[0]
    (-agent.critic(state, agent.actor(state)).amin(0).mean()).backward()
    for a, q in zip(found, agent.actor.head.parameters(), strict=True):
        assert torch.allclose(a, q.grad, atol=1e-6)


@pytest.mark.parametrize("target", ["heads", "all"])
def test_slow_copies_follow_and_get_no_gradient(target: str) -> None:
    agent = ActorCritic(maskdp(), target=target)
    learned = agent.critic.heads.first[1].weight
    slow = agent.critic.target_heads.first[1].weight
    assert torch.equal(learned, slow)
    with torch.no_grad():
        learned += 1.0
    before = slow.clone()
    agent.critic.follow(0.25)
    assert torch.allclose(slow, before + 0.25)
    assert (agent.critic.target_trunk is not None) == (target == "all")
    one_step(agent)
    assert slow.grad is None


def test_freezing_is_that_of_the_published_code() -> None:
    """Spec 3.4: MaskDP trains everything; of a GPT the critic's three blocks and the heads."""
    ours = ActorCritic(maskdp(), freeze="as_published")
    assert all(p.requires_grad for p in ours.actor.parameters())
    theirs = ActorCritic(gpt(), freeze="as_published")
    assert not any(p.requires_grad for p in theirs.actor.trunk.parameters())
    assert all(p.requires_grad for p in theirs.actor.head.parameters())
    free = {n.split(".")[3] for n, p in theirs.critic.named_parameters() if n.startswith("trunk.") and p.requires_grad}
    blocks = [all(p.requires_grad for p in b.parameters()) for b in theirs.critic.trunk.blocks]
    assert blocks == [True, True, True, False, False]
    assert free == {"blocks"}
    assert not any(p.requires_grad for p in ActorCritic(maskdp(), freeze="actor").actor.trunk.parameters())


def test_the_baseline_from_scratch_forgets_the_pretrained_trunk() -> None:
    model = maskdp()
    kept, new = ActorCritic(model), ActorCritic(model, init="orthogonal")
    weight = model.embed.streams[0].weight
    assert torch.equal(kept.actor.trunk.model.embed.streams[0].weight, weight)
    fresh = new.actor.trunk.model.embed.streams[0].weight
    assert torch.allclose(fresh.T @ fresh, torch.eye(4), atol=1e-5)
    assert torch.equal(new.critic.heads.first[1].weight, new.critic.target_heads.first[1].weight)


def test_a_causal_trunk_does_not_see_later_states() -> None:
    state = torch.randn(3, 5, 4)
    later = torch.cat([state[:, :3], torch.randn(3, 2, 4)], 1)
    causal, both = Trunk(maskdp()), Trunk(maskdp(), attend="bidirectional")
    assert torch.allclose(causal(state)[:, :3], causal(later)[:, :3], atol=1e-6)
    assert not torch.allclose(both(state)[:, :3], both(later)[:, :3])


def test_positions_of_the_actor_agree_for_single_states_only() -> None:
    """Spec 3.4: dense positions in the published actor, even ones in pretraining."""
    state = torch.randn(2, 3, 4)
    dense, even = Trunk(maskdp()), Trunk(maskdp(), placed="interleaved")
    assert torch.equal(dense(state[:, :1]), even(state[:, :1]))
    assert not torch.allclose(dense(state), even(state))


def test_models_without_a_token_of_state_and_action_are_refused() -> None:
    layout = build_layout(SPEC, 8)
    stacked = Encoder(layout, build_heads(layout.spec, 16, {}), 1, 2, 16)
    with pytest.raises(ConfigError, match="autoencoder or a decoder"):
        Trunk(stacked)
    observation = build_layout(SPEC, 8, inputs=["state"])
    with pytest.raises(ConfigError, match="one token of the state and one of the action"):
        Trunk(Decoder(observation, build_heads(observation.spec.select(["action"]), 16, {}), 1, 2, 16))


def fit(folder, steps: int, resume: bool = False) -> ActorCritic:
    torch.manual_seed(0)
    agent = ActorCritic(maskdp())
    trainer = Trainer(steps, seed=0, device="cpu", validate_every=5, checkpoint_every=5, log_every=5, progress=False)
    trainer.fit(agent, problem(), partial(build_optimizer, name="adam", lr=1e-3), None, folder, resume=resume)
    return agent


def test_a_resumed_run_ends_with_the_same_weights(tmp_path) -> None:
    whole = fit(tmp_path / "whole", 10)
    fit(tmp_path / "parts", 5)
    parts = fit(tmp_path / "parts", 10, resume=True)
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.slow
def test_the_actor_finds_the_action_that_pays(tmp_path) -> None:
    agent = fit(tmp_path, 600)
    with torch.no_grad():
        chosen = agent.actor(torch.randn(100, 1, 4))[..., 0].mean()
    assert abs(float(chosen) - 0.5) < 0.2
