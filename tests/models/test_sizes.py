"""Parameter counts that the papers' code has (maskdp.md 2.7, unimask.md 3.1, bet.md 1.3)."""

import pytest
from tests.examples import continuous_spec, discrete_spec

from maskbench.models.actor_critic import ActorCritic
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.decoder import Decoder
from maskbench.models.encoder import Encoder
from maskbench.models.heads import HeadChoice, build_heads
from maskbench.models.mlp import MLP
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Factor, TrajectorySpec

MASKDP_HEADS = {"state": HeadChoice(target="l2"), "action": HeadChoice(tanh=True)}
DOMAINS = {"walker": (24, 6), "cheetah": (17, 6), "quadruped": (78, 12)}


def pair_layout(domain: str):
    return build_layout(continuous_spec(*DOMAINS[domain]), 64, by="factor", inputs=["state", "action"])


def goal_layout(domain: str, length: int):
    spec = continuous_spec(*DOMAINS[domain])
    goal = Factor("goal_state", "continuous", "goal", spec["state"].shape)
    return build_layout(TrajectorySpec((*spec.factors, goal)), length, inputs=["goal", "state"])


@pytest.mark.parametrize(("domain", "count"), [("walker", 4_098_078), ("cheetah", 4_094_487), ("quadruped", 4_128_858)])
def test_maskdp_at_paper_size(domain: str, count: int) -> None:
    layout = pair_layout(domain)
    assert Autoencoder(layout, build_heads(layout.spec, 256, MASKDP_HEADS, "norm_relu")).num_parameters == count


@pytest.mark.parametrize(("domain", "count"), [("walker", 438_430), ("cheetah", 436_631), ("quadruped", 453_850)])
def test_maskdp_small(domain: str, count: int) -> None:
    layout = pair_layout(domain)
    heads = build_heads(layout.spec, 128, MASKDP_HEADS, "norm_relu")
    assert Autoencoder(layout, heads, n_enc_layer=1, n_dec_layer=1, n_head=2, n_embd=128).num_parameters == count


@pytest.mark.parametrize(("domain", "count"), [("walker", 3_965_726), ("cheetah", 3_962_135), ("quadruped", 3_996_506)])
def test_maskdp_gpt_baseline(domain: str, count: int) -> None:
    layout = pair_layout(domain)
    heads = build_heads(layout.spec, 256, MASKDP_HEADS, "norm_relu")
    model = Decoder(layout, heads, n_layer=5, n_embd=256, dropout=0.0, positions="sincos", final_norm=False, init="xavier")
    assert model.num_parameters == count


@pytest.mark.parametrize(("domain", "count"), [("walker", 3_963_398), ("cheetah", 3_959_814), ("quadruped", 3_992_588)])
def test_maskdp_goal_gpt_baseline(domain: str, count: int) -> None:
    layout = goal_layout(domain, 64)
    heads = build_heads(layout.spec.select(["action"]), 256, MASKDP_HEADS, "norm_relu")
    model = Decoder(layout, heads, n_layer=5, n_embd=256, dropout=0.0, positions="sincos_half", final_norm=False, init="xavier")
    assert model.num_parameters == count


@pytest.mark.parametrize(("domain", "count"), [("walker", 3_207_174), ("cheetah", 3_192_838), ("quadruped", 3_323_916)])
def test_maskdp_goal_mlp_baseline(domain: str, count: int) -> None:
    layout = goal_layout(domain, 1)
    heads = build_heads(layout.spec.select(["action"]), 1024, {"action": HeadChoice("gaussian", tanh=True, std=0.2)})
    model = MLP(layout, heads, n_layer=3, n_hidden=1024, n_embd=1024, dropout=0.0, norm="layer", init="orthogonal")
    assert model.num_parameters == count


@pytest.mark.parametrize(
    ("domain", "actor", "critic"),
    [("walker", 4_165_924, 4_363_298), ("cheetah", 4_162_333, 4_359_707), ("quadruped", 4_198_246, 4_394_078)],
)
def test_maskdp_actor_and_critic_with_all_that_they_carry(domain: str, actor: int, critic: int) -> None:
    layout = pair_layout(domain)
    agent = ActorCritic(Autoencoder(layout, build_heads(layout.spec, 256, MASKDP_HEADS, "norm_relu")))
    assert sum(p.numel() for p in agent.actor.parameters()) == actor
    assert sum(p.numel() for p in agent.critic.parameters()) == critic


def test_bet_on_block_push() -> None:
    layout = build_layout(continuous_spec(16, 2), 5, inputs=["state"])
    heads = build_heads(layout.spec.select(["action"]), 72, {"action": HeadChoice(kind="bins", num_bins=24)})
    assert Decoder(layout, heads).num_parameters == 259_488


@pytest.mark.parametrize(("size", "count"), [((2, 128, 128), 212_917), ((3, 128, 128), 312_501), ((2, 32, 128), 28_885)])
def test_unimask_on_the_gridworld(size: tuple[int, int, int], count: int) -> None:
    layers, width, inner = size
    layout = build_layout(discrete_spec(), 10)
    model = Encoder(layout, build_heads(layout.spec, width, {}), n_layer=layers, n_embd=width, n_inner=inner)
    assert model.num_parameters == count


@pytest.mark.parametrize(("timesteps", "count"), [("none", 41_476), ("learned", 41_476 + 32_000)])
def test_decision_gpt_and_decision_transformer_on_the_gridworld(timesteps: str, count: int) -> None:
    """unimask.md 3.3 and 3.6; positions are one a token of the window, and only the action has a head."""
    layout = build_layout(discrete_spec(), 10, "factor")
    heads = build_heads(layout.spec.select(["action"]), 32, {})
    sizes = {"n_layer": 3, "n_head": 8, "n_embd": 32, "n_inner": 128}
    model = Decoder(layout, heads, **sizes, activation="relu", embed_norm=True, timesteps=timesteps)
    block = 4 * (32 * 32 + 32) + 2 * 64 + (32 * 128 + 128) + (128 * 32 + 32)
    embedding = 53 * 32 + 4 * 32 + 64 + 40 * 32  # four Linears, their LayerNorm, positions
    assert embedding + 3 * block + 64 + (32 * 4 + 4) == 41_476
    assert model.num_parameters == count


@pytest.mark.parametrize(
    ("sizes", "widths", "window", "bins", "count"),
    [((6, 6, 120), (60, 9), 10, 64, 1_131_720), ((1, 2, 20), (2, 2), 2, 2, 5_320), ((1, 2, 20), (2, 2), 2, 3, 5_380)],
    ids=["kitchen", "pointmass1", "pointmass2"],
)
def test_bet_elsewhere(sizes: tuple[int, int, int], widths: tuple[int, int], window: int, bins: int, count: int) -> None:
    layers, _, d = sizes
    layout = build_layout(continuous_spec(*widths), window, inputs=["state"])
    head = build_heads(layout.spec.select(["action"]), d, {"action": HeadChoice(kind="bins", num_bins=bins)})
    block = 12 * d * d + 13 * d
    assert (widths[0] + 1) * d + window * d + layers * block + 2 * d + d * bins * (1 + widths[1]) == count
    assert Decoder(layout, head, *sizes).num_parameters == count


def test_bet_without_offsets_and_with_one_bin_on_block_push() -> None:
    layout = build_layout(continuous_spec(16, 2), 5, inputs=["state"])
    for choice, count in (({"predict_offsets": False}, 24), ({"num_bins": 1}, 3)):
        head = build_heads(layout.spec.select(["action"]), 72, {"action": HeadChoice(kind="bins", **choice)})
        assert Decoder(layout, head).num_parameters == 259_488 - 72 * 72 + 72 * count
