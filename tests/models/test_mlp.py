"""The multilayer perceptron is the published network behind the ordinary heads, and knows one window length."""

import pytest
import torch
from tests.examples import continuous_spec, discrete_spec, random_window
from torch import nn

from maskbench.data.normalise import Normaliser
from maskbench.envs.doorkey import DoorKey
from maskbench.errors import ConfigError
from maskbench.masking.causal import CausalMask
from maskbench.masking.random import BernoulliMask
from maskbench.masking.scheme import MaskSet
from maskbench.masking.tasks import NamedTask
from maskbench.models.heads import build_heads
from maskbench.models.leakage import prove_no_leak
from maskbench.models.mlp import MLP
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.runner import RolloutRunner
from maskbench.tokens.layout import TokenLayout, build_layout
from maskbench.trajectory import Window


def make(layout: TokenLayout, n_embd: int = 64, **options) -> MLP:
    torch.manual_seed(0)
    return MLP(layout, build_heads(layout.spec, n_embd, {}), n_embd=n_embd, **options).eval()


def test_parameters_on_the_gridworld(grid_layout) -> None:
    hidden = (530 * 128 + 128) + 2 * (128 * 128 + 128)  # as published: K * D = 10 * 53
    assert make(grid_layout).num_parameters == hidden + (128 + 1) * 10 * 64 + (64 + 1) * 53 == 186_997
    assert make(grid_layout, hidden="indicator").num_parameters == 186_997 + 10 * 4 * 128


def test_with_states_as_wide_as_the_cells_it_can_be_the_published_network(grid_layout) -> None:
    torch.manual_seed(1)
    published = nn.Sequential(
        *(nn.Linear(530, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 530)),
    ).eval()
    model = make(grid_layout, n_embd=53)
    model.body.load_state_dict(published.state_dict())
    start = 0
    for f in grid_layout.spec:  # heads that read off the state's columns
        head = model.head(f.name).net
        nn.init.zeros_(head.bias)
        head.weight.data = torch.eye(53)[start : start + f.width]
        start += f.width
    window = random_window(grid_layout, 3)
    masks = BernoulliMask().sample(torch.Generator().manual_seed(0), 3, grid_layout)
    cells = [
        nn.functional.one_hot(window.values[f.name], f.classes) * masks.visible[:, :, i, None]
        for i, f in enumerate(grid_layout.spec)
    ]
    want = published(torch.cat(cells, -1).flatten(1).float()).view(3, 10, 53)
    torch.testing.assert_close(torch.cat(list(model(window, masks).values()), -1), want)


@pytest.mark.parametrize("spec", [discrete_spec(), continuous_spec(6, 2, returns=True)], ids=["discrete", "continuous"])
@pytest.mark.parametrize("by", ["timestep", "role", "factor", "dimension"])
@pytest.mark.parametrize("order", ["time", "stream"])
@pytest.mark.parametrize("hidden", ["zero", "indicator"])
def test_nothing_hidden_reaches_a_prediction_in_any_layout(spec, by: str, order: str, hidden: str) -> None:
    layout = build_layout(spec, 6, by, order)
    prove_no_leak(make(layout, n_embd=16, n_hidden=32, hidden=hidden), BernoulliMask())


def test_padding_is_as_good_as_hidden(grid_layout) -> None:
    model, window = make(grid_layout), random_window(grid_layout, 4)
    masks = NamedTask("bc").at(torch.tensor([2, 4, 6, 6]), grid_layout)
    valid = (torch.arange(10)[None] < 6).expand(4, 10)
    noise = random_window(grid_layout, 4, seed=1)
    filled = {n: torch.where(valid, v, noise.values[n]) for n, v in window.values.items()}
    everything = MaskSet(torch.ones_like(masks.visible), masks.predict)
    a, b = model(Window(window.values, valid), everything), model(Window(filled, valid), everything)
    assert all(torch.equal(a[n], b[n]) for n in a)


@pytest.mark.parametrize("by", ["timestep", "factor"])
def test_one_timestep_a_row_is_answered_as_in_the_whole_window(by: str) -> None:
    layout = build_layout(discrete_spec(), 6, by)
    model, window, at = make(layout), random_window(layout, 5), torch.tensor([1, 4, 2, 3, 5])
    masks = BernoulliMask().sample(torch.Generator().manual_seed(0), 5, layout)
    whole, one = model(window, masks), model(window, masks, at=at)
    assert all(torch.equal(one[n][:, 0], whole[n][torch.arange(5), at]) for n in one)


def test_another_window_length_is_refused(grid_layout) -> None:
    shorter = grid_layout.with_length(8)
    masks = NamedTask("bc").at(torch.tensor([3]), shorter)
    with pytest.raises(ConfigError, match="built for windows of 10 timesteps and cannot be asked about 8"):
        make(grid_layout)(random_window(shorter, 1), masks)


@pytest.mark.parametrize("spec", [discrete_spec(), continuous_spec(6, 2)], ids=["discrete", "continuous"])
@pytest.mark.parametrize("by", ["timestep", "role", "factor"])
@pytest.mark.parametrize("order", ["time", "stream"])
def test_under_causal_masks_no_later_cell_reaches_a_prediction(spec, by: str, order: str) -> None:
    layout = build_layout(spec, 4, by, order)
    for scheme in (CausalMask(), BernoulliMask(attend="causal")):
        prove_no_leak(make(layout, n_embd=16, n_hidden=32, hidden="indicator"), scheme)


def test_a_causal_window_answers_each_step_as_a_history_of_that_length_alone() -> None:
    """So that the first steps of a rollout are asked as training asked them."""
    layout = build_layout(continuous_spec(6, 2), 5, inputs=["state"])
    model, window = make(layout, n_embd=16, n_hidden=32), random_window(layout, 3)
    masks = CausalMask(returns="none").sample(torch.Generator().manual_seed(0), 3, layout)
    whole = model(window, masks)["action"]
    for t in range(5):
        shown = {n: torch.where((torch.arange(5) <= t)[None, :, None], v, 0.0) for n, v in window.values.items()}
        alone = NamedTask("bc").at(torch.full((3,), t + 1), layout)
        torch.testing.assert_close(whole[:, t], model(Window(shown), alone)["action"][:, t])
        one = model(window, masks, at=torch.full((3,), t))["action"]
        torch.testing.assert_close(one[:, 0], whole[:, t])


def test_bets_trunk_has_batch_norm_in_each_hidden_layer_and_orthogonal_weights() -> None:
    layout = build_layout(continuous_spec(16, 2), 5, inputs=["state"])
    model = make(layout, n_layer=4, n_hidden=72, n_embd=72, norm="batch", init="orthogonal")
    assert sum(isinstance(m, nn.BatchNorm1d) for m in model.body) == 4
    weight = model.body[4].weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(72), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["bc", "goal"])
def test_rollouts_are_the_same_bits_for_any_batch_size(name: str) -> None:
    env = DoorKey()
    plan = EpisodePlan.build(17, 1, name, goal=env.goal) if name == "goal" else EpisodePlan.build(17, 1, name)
    scaling, seen = Normaliser.identity(env.spec), []
    for slots in (1, 3, 17):
        model = make(build_layout(env.spec, 10), n_embd=16)
        args = (model, env.spec, scaling, Query(name), "bidirectional", "first_half", env.horizon, slots, ReturnUnits())
        runner = RolloutRunner(env, lambda a=args: ModelPolicy(*a), num_slots=slots, progress=False)
        seen.append([r.to_json() for r in runner.run(plan)])
    assert seen[0] == seen[1] == seen[2]
