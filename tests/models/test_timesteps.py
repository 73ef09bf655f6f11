"""Embeddings of the timestep inside the episode: where they enter, and that windows tell them right."""

import numpy as np
import pytest
import torch
from tests.examples import continuous_spec, discrete_spec, random_window

from maskbench.data.normalise import Normaliser
from maskbench.errors import ConfigError
from maskbench.masking.causal import CausalMask
from maskbench.masking.scheme import MaskSet
from maskbench.masking.tasks import NamedTask
from maskbench.models.decoder import Decoder
from maskbench.models.encoder import Encoder
from maskbench.models.heads import build_heads
from maskbench.models.leakage import prove_no_leak
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query
from maskbench.rollout.plan import PlanRow
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Window


def make(kind: str, layout, **options):
    torch.manual_seed(0)
    heads = build_heads(layout.spec, 16, {})
    if kind == "encoder":
        return Encoder(layout, heads, n_layer=1, n_head=2, n_embd=16, n_inner=16, timesteps="learned", **options)
    return Decoder(layout, heads, n_layer=1, n_head=2, n_embd=16, timesteps="learned", **options)


def ask(model, window: Window, layout):
    n = window.batch
    if isinstance(model, Decoder):
        masks = CausalMask(returns="none").sample(torch.Generator().manual_seed(0), n, layout)
    else:
        masks = NamedTask("bc").at(torch.full((n,), 4), layout)
    return model.eval()(window, masks)["action"]


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("order", ["time", "stream"])
def test_rows_differ_by_where_they_start_and_by_nothing_else(kind: str, order: str) -> None:
    layout = build_layout(discrete_spec(), 6, "factor", order)
    one = random_window(layout, 1)
    values = {n: v.expand(3, *v.shape[1:]) for n, v in one.values.items()}
    out = ask(make(kind, layout), Window(values, start=torch.tensor([0, 40, 40])), layout)
    assert not torch.allclose(out[0], out[1])
    assert torch.equal(out[1], out[2])


def test_the_encoder_trades_positions_and_their_dropout_for_the_clock() -> None:
    layout = build_layout(discrete_spec(), 10)
    model = make("encoder", layout)
    plain = Encoder(layout, build_heads(layout.spec, 16, {}), n_layer=1, n_head=2, n_embd=16, n_inner=16)
    assert model.num_parameters == plain.num_parameters + 1000 * 16
    assert model.positions is None
    seen = []
    model.trunk.forward = lambda x, **_: seen.append(x) or x
    window, masks = random_window(layout, 2), NamedTask("bc").at(torch.tensor([3, 5]), layout)
    window = Window(window.values, start=torch.tensor([0, 7]))
    model.train()(window, masks)
    embedded = model.embed(window.values, masks.visible)[:, :, 0].relu() * 4  # sqrt(16)
    rows = torch.arange(10)[None] + torch.tensor([[0], [7]])
    torch.testing.assert_close(seen[0], embedded + model.timesteps.table.weight[rows])


def test_the_decoder_adds_the_clock_before_the_norm_of_its_embeddings_and_keeps_its_positions() -> None:
    layout = build_layout(discrete_spec(), 4, "factor")
    model = make("decoder", layout, embed_norm=True).eval()
    seen = []
    model.trunk.forward = lambda x, **_: seen.append(x) or x
    window = Window(random_window(layout, 1).values, start=torch.tensor([5]))
    masks = CausalMask().sample(torch.Generator().manual_seed(0), 1, layout)
    model(window, masks)
    tokens = model.embed(window.values, masks.visible) + model.timesteps.table.weight[5:9][None, :, None]
    want = model.embed_norm(tokens.flatten(1, 2)) + model.positions.table
    torch.testing.assert_close(seen[0], want)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_window_without_a_clock_is_refused(kind: str) -> None:
    layout = build_layout(discrete_spec(), 6, "factor")
    with pytest.raises(ConfigError, match="has no start"):
        ask(make(kind, layout), random_window(layout, 2), layout)


def test_an_unknown_kind_is_refused() -> None:
    layout = build_layout(discrete_spec(), 6)
    with pytest.raises(ConfigError, match="'none' or 'learned'"):
        Encoder(layout, build_heads(layout.spec, 16, {}), n_embd=16, n_head=2, timesteps="sinusoidal")


def test_padding_behind_the_last_embedding_changes_nothing() -> None:
    layout = build_layout(discrete_spec(), 6)
    model = make("encoder", layout, max_timesteps=8).eval()
    window = random_window(layout, 1)
    valid = torch.arange(6)[None] < 3
    masks = MaskSet(*[torch.ones(1, 6, 4, dtype=torch.bool)] * 2)
    padded = model(Window(window.values, valid, torch.tensor([5])), masks)["action"][:, :3]
    assert model.max_timesteps == 8
    model.timesteps.table.weight.data[:5] = 0  # rows 5, 6, 7 are those of the recorded timesteps
    torch.testing.assert_close(model(Window(window.values, valid, torch.tensor([5])), masks)["action"][:, :3], padded)


@pytest.mark.parametrize(("kind", "scheme"), [("encoder", NamedTask("goal")), ("decoder", CausalMask())])
def test_the_proof_against_leaks_covers_models_with_a_clock(kind: str, scheme) -> None:
    prove_no_leak(make(kind, build_layout(discrete_spec(), 6, "factor")), scheme)


@pytest.mark.parametrize(
    ("query", "budget"), [(Query("bc"), None), (Query("bc", history=1), None), (Query("goal"), 7), (Query("goal"), 50)]
)
def test_in_a_rollout_the_current_row_stands_at_the_current_timestep(query: Query, budget: int | None) -> None:
    spec = continuous_spec(4, 2)
    layout = build_layout(spec, 4, by="factor", inputs=["state", "action"])
    model = Encoder(layout, build_heads(spec, 16, {}), n_layer=1, n_head=2, n_embd=16, n_inner=16, timesteps="learned")
    policy = ModelPolicy(model, spec, Normaliser.identity(spec), query, "bidirectional", "none", 100, 2, ReturnUnits())
    forward, seen = model.forward, []
    model.forward = lambda window, masks, only=None, at=None: seen.append((window, at)) or forward(window, masks, only, at)
    goal = None if query.name == "bc" else {"state": np.full(4, 9.0, np.float32)}
    observation = {"state": np.zeros((1, 4), np.float32)}
    clock = {0: 0, 1: 0}
    policy.reset(np.array([0]), [PlanRow(0, 0, 0, query.name, goal=goal, budget=budget)])
    for step in range(9):
        if step == 2:  # a second episode begins later in its own slot
            policy.reset(np.array([1]), [PlanRow(1, 1, 1, query.name, goal=goal, budget=budget)])
        for slot in (0, 1) if step >= 2 else (0,):
            policy.act(observation, np.array([slot]))
            window, at = seen[-1]
            assert int(window.start[0] + at[0]) == clock[slot]
            assert 0 <= int(window.start[0]) <= clock[slot]
            clock[slot] += 1
