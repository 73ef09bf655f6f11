"""Several models as one: the same numbers, on shared memory."""

import pytest
import torch
from torch import nn

from maskbench.errors import ConfigError
from maskbench.models.positions import LearnedPositions
from maskbench.training.optim import build_optimizer, build_scheduler
from maskbench.training.stack import StackedOptimizer, clip_gradients, stack_models, why_not


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3, bias=False), nn.Linear(3, 2))
    for p in net.parameters():
        nn.init.normal_(p)
    return net


@pytest.mark.parametrize("shape", [(5, 4), (5, 7, 4)])
def test_each_model_sees_its_own_rows(shape: tuple[int, ...]) -> None:
    models = [network(s) for s in range(3)]
    x = torch.randn(3, *shape)
    expected = torch.cat([m(rows) for m, rows in zip(models, x, strict=True)])
    torch.testing.assert_close(stack_models(models)(x.flatten(0, 1)), expected)


def test_each_model_has_its_own_positions_and_learns_them() -> None:
    class Placed(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            torch.manual_seed(seed)
            self.positions, self.net = LearnedPositions(6, 4), network(seed)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(self.positions.add_to(x))  # type: ignore[no-any-return]

    models, x = [Placed(s) for s in range(3)], torch.randn(3, 5, 4, 4)  # windows shorter than the table
    expected = torch.cat([m(rows) for m, rows in zip(models, x, strict=True)])
    wanted = [torch.autograd.grad(m(rows).square().sum(), m.positions.table)[0] for m, rows in zip(models, x, strict=True)]
    stacked = stack_models(models)
    found = stacked(x.flatten(0, 1))
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    torch.testing.assert_close(stacked.get_parameter("positions.table").grad, torch.stack(wanted), rtol=1e-3, atol=1e-3)


def test_models_share_the_memory_of_the_stack() -> None:
    models = [network(s) for s in range(2)]
    stacked = stack_models(models)
    with torch.no_grad():
        stacked.get_parameter("0.weight").zero_()
    assert all(m.get_parameter("0.weight").eq(0).all() for m in models)
    assert models[0].get_parameter("4.weight").ne(models[1].get_parameter("4.weight")).any()


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_one_optimiser_does_what_one_a_model_does_also_when_stacked_anew(name: str) -> None:
    def optimizers(models: list[nn.Module]) -> list[torch.optim.Optimizer]:
        return [build_optimizer(m, name, lr=0.1, weight_decay=0.3) for m in models]  # type: ignore[arg-type]

    def gradient_step(models: list[nn.Module], own: list[torch.optim.Optimizer], step: int) -> None:
        for i, (m, o) in enumerate(zip(models, own, strict=True)):
            batch(i, step, m).backward()
            nn.utils.clip_grad_norm_(m.parameters(), 0.5)
            o.step()
            o.zero_grad()

    def batch(i: int, step: int, m: nn.Module) -> torch.Tensor:
        x = torch.randn(6, 4, generator=torch.Generator().manual_seed(10 * step + i))
        return m(x).square().mean() * 10**i

    alone, together = [network(s) for s in range(2)], [network(s) for s in range(2)]
    single, own = optimizers(alone), optimizers(together)
    single_rates, rates = ([build_scheduler(o, "linear", num_steps=20) for o in group] for group in (single, own))
    stacked = stack_models(together)
    whole = StackedOptimizer(stacked, together, own)
    for step in range(10):
        if step == 5:
            stacked = stack_models(together)
            whole = StackedOptimizer(stacked, together, own)
        gradient_step(alone, single, step)
        x = torch.cat([torch.randn(6, 4, generator=torch.Generator().manual_seed(10 * step + i)) for i in range(2)])
        losses = stacked(x).unflatten(0, (2, 6)).square().mean((1, 2)) * torch.tensor([1.0, 10.0])
        losses.sum().backward()
        clip_gradients(whole.parameters, 0.5)
        whole.step()
        for schedule in (*single_rates, *rates):
            schedule.step()
    for a, b, p, q in zip(alone, together, single, own, strict=True):
        torch.testing.assert_close(b.state_dict(), a.state_dict(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(q.state_dict()["state"], p.state_dict()["state"], atol=1e-5, rtol=1e-5)


def test_gradients_are_clipped_model_by_model() -> None:
    p = torch.zeros(3, 2, requires_grad=True)
    p.grad = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    torch.testing.assert_close(clip_gradients([p], 1.0), torch.tensor([5.0, 0.5, 0.0]))
    torch.testing.assert_close(p.grad, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))


def test_weights_that_cannot_be_stacked_are_named() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.table = nn.Linear(2, 2), nn.Parameter(torch.zeros(2))

    class Binned(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.register_buffer("bins", torch.tensor([value]))

    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    assert why_not([network(0), network(1)]) is None
    assert why_not([Binned(1.0), Binned(1.0)]) is None
    assert why_not([Positions(), Positions()]) == "'table' is no weight of a Linear, LayerNorm or table of positions"
    assert why_not([Binned(1.0), Binned(2.0)]) == "'bins' differs between the seeds"
    assert why_not([tied, tied]) == "some of its weights are used in two places"
    with pytest.raises(ConfigError, match=r"Positions cannot be trained as a stack: 'table'.*stack_seeds=false"):
        stack_models([Positions(), Positions()])
    models = [network(0), network(1)]
    sgd = [torch.optim.SGD(m.parameters(), lr=1.0) for m in models]
    stacked = stack_models(models)
    with pytest.raises(ConfigError, match="SGD cannot update"):
        StackedOptimizer(stacked, models, sgd)
