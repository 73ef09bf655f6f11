"""Trunks on a task that needs the past: the action is the observation of two steps before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.examples import continuous_spec, random_window

from maskbench.data.normalise import Normaliser
from maskbench.envs.pointmass import PointMass
from maskbench.masking.causal import CausalMask
from maskbench.masking.random import BernoulliMask
from maskbench.models.decoder import Decoder
from maskbench.models.heads import build_heads
from maskbench.models.leakage import prove_no_leak
from maskbench.models.lstm import LSTM
from maskbench.models.mlp import MLP
from maskbench.models.objective import Objective
from maskbench.models.sequence import SequenceModel
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.runner import RolloutRunner
from maskbench.tokens.layout import TokenLayout, build_layout
from maskbench.training.optim import decay_groups
from maskbench.trajectory import TrajectorySpec, Window

MODELS: dict[str, Callable[..., SequenceModel]] = {
    "lstm": lambda layout, heads: LSTM(layout, heads, n_layer=1, n_embd=32),
    "mlp": lambda layout, heads: MLP(layout, heads, n_layer=2, n_hidden=64, n_embd=32, dropout=0.0),
    "batchnorm": lambda layout, heads: MLP(layout, heads, 2, 64, 32, dropout=0.0, norm="batch", init="orthogonal"),
    "decoder": lambda layout, heads: Decoder(layout, heads, n_layer=1, n_head=2, n_embd=32, dropout=0.0),
}


def make(name: str, spec: TrajectorySpec, length: int, **options) -> SequenceModel:
    torch.manual_seed(0)
    layout = build_layout(spec, length, inputs=["state"])
    return MODELS[name](layout, build_heads(layout.spec.select(["action"]), 32, {}), **options)


def echoes(layout: TokenLayout, batch: int, seed: int) -> Window:
    """Observations of -1 or 1; the action repeats that of two steps before, zero where there was none."""
    state = torch.randint(2, (batch, layout.length, 1), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    action = torch.nn.functional.pad(state, (0, 0, 2, 0))[:, : layout.length]
    return Window({"state": state, "action": action})


def error(name: str, length: int, steps: int = 250) -> float:
    """Validation error after training on windows of ``length``, from the third step on; a constant has 1."""
    model = make(name, continuous_spec(1, 1), length)
    scheme, objective = CausalMask(returns="none"), Objective()
    optimiser = torch.optim.Adam(model.parameters(), 0.005)
    full = echoes(model.layout.with_length(6), 4096, 0)
    starts = torch.randint(6 - length + 1, (steps, 64), generator=torch.Generator().manual_seed(1))
    for i in range(steps):
        rows, at = torch.randint(4096, (64,)), starts[i][:, None] + torch.arange(length)
        window = Window({n: v[rows[:, None], at] for n, v in full.values.items()})
        masks = scheme.sample(torch.Generator(), 64, model.layout)
        optimiser.zero_grad()
        objective(model, window, masks)["loss"].backward()
        optimiser.step()
    model.eval()
    test = echoes(model.layout.with_length(6), 512, 1)
    last = Window({n: v[:, 6 - length :] for n, v in test.values.items()})
    with torch.no_grad():
        found = model(last, scheme.sample(torch.Generator(), 512, model.layout))["action"]
    return float((found[:, -1] - last.values["action"][:, -1]).square().mean())


@pytest.mark.parametrize("name", ["lstm", "mlp", "decoder"])
def test_history_is_used(name: str) -> None:
    assert error(name, 3, 400) < 0.1


@pytest.mark.parametrize("name", ["mlp", "decoder", "lstm"])
def test_one_observation_cannot_tell(name: str) -> None:
    assert error(name, 1, 60) > 0.6


@pytest.mark.parametrize("name", ["lstm", "batchnorm"])
@pytest.mark.parametrize("by", ["timestep", "role", "factor"])
def test_no_later_or_hidden_cell_reaches_a_prediction(name: str, by: str) -> None:
    torch.manual_seed(0)
    layout = build_layout(continuous_spec(4, 2, returns=True), 4, by=by)
    model = MODELS[name](layout, build_heads(layout.spec, 32, {}))
    for scheme in (CausalMask(), BernoulliMask(attend="causal")):
        prove_no_leak(model, scheme)


@pytest.mark.parametrize("name", ["lstm", "mlp", "batchnorm"])
def test_every_layer_learns(name: str) -> None:
    model = make(name, continuous_spec(4, 2), 4)
    groups = decay_groups(model, 0.1)
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in model.parameters()}
    masks = CausalMask(returns="none").sample(torch.Generator(), 8, model.layout)
    Objective()(model, random_window(model.layout, 8), masks)["loss"].backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in model.parameters() if p.dim() > 1)


def test_recurrent_weights_decay_and_their_biases_do_not() -> None:
    decayed, spared = decay_groups(make("lstm", continuous_spec(4, 2), 4), 0.1)
    assert all(p.dim() == 2 for p in decayed["params"])
    assert all(p.dim() == 1 for p in spared["params"])


@pytest.mark.parametrize("name", ["lstm", "batchnorm"])
@pytest.mark.parametrize("length", [1, 3])
def test_rollouts_are_the_same_bits_for_any_batch_size(name: str, length: int) -> None:
    env = PointMass()
    spec = TrajectorySpec(env.spec.with_role("state", "action"))
    seen = []
    for slots in (1, 3, 7):
        args = (make(name, spec, length), env.spec, Normaliser.identity(env.spec), Query(), "causal", "none", 50, slots)
        runner = RolloutRunner(env, lambda a=args: ModelPolicy(*a, ReturnUnits()), num_slots=slots, progress=False)
        seen.append([r.to_json() for r in runner.run(EpisodePlan.build(7, 1))])
    assert seen[0] == seen[1] == seen[2]
