import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from maskbench.errors import ConfigError
from maskbench.training.optim import build_optimizer, build_scheduler, decay_groups, lr_factor


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.position = nn.Parameter(torch.zeros(3, 4))
        self.linear = nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.logits = nn.Linear(4, 5, bias=False)
        self.logits.weight = self.embed.weight


def names(model: nn.Module, group: dict) -> set[str]:
    by_id = {id(p): n for n, p in model.named_parameters()}
    return {by_id[id(p)] for p in group["params"]}


def test_only_weights_of_linear_maps_decay():
    model = Small()
    decayed, spared = decay_groups(model, 0.1)
    assert names(model, decayed) == {"linear.weight", "attention.in_proj_weight", "attention.out_proj.weight"}
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0.0
    assert names(model, spared) == {
        "embed.weight",
        "position",
        "linear.bias",
        "attention.in_proj_bias",
        "attention.out_proj.bias",
        "norm.weight",
        "norm.bias",
    }


@pytest.mark.parametrize(("decay", "expected"), [("all", [0.1]), ("none", [0.0])])
def test_all_and_none_make_one_group_of_everything_trainable(decay, expected):
    groups = decay_groups(Small(), 0.1, decay)
    assert [g["weight_decay"] for g in groups] == expected
    assert len(groups[0]["params"]) == 10


def test_spared_parameters_do_not_shrink_under_adamw():
    model = nn.Linear(3, 3)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    optimizer = build_optimizer(model, lr=0.5, weight_decay=0.1)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    torch.testing.assert_close(model.weight, torch.full((3, 3), 0.95))
    torch.testing.assert_close(model.bias, torch.ones(3))


def test_fused_is_chosen_and_equals_the_plain_update():
    def trained(fused):
        torch.manual_seed(0)
        model = nn.Linear(6, 2)
        optimizer = build_optimizer(model, lr=1e-2, weight_decay=0.1, betas=(0.9, 0.95), fused=fused)
        for _ in range(5):
            model(torch.ones(3, 6)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return model.weight, optimizer

    weight, optimizer = trained("auto")
    assert all(g["fused"] for g in optimizer.param_groups)
    torch.testing.assert_close(weight, trained(False)[0])


@pytest.mark.parametrize(
    ("name", "step", "factor"),
    [
        ("constant", 0, 0.25),
        ("constant", 3, 1.0),
        ("constant", 999, 1.0),
        ("cosine", 4, 1.0),
        ("cosine", 14, 0.1 + 0.9 * 0.5),
        ("cosine", 9, 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4))),
        ("cosine", 24, 0.1),
        ("cosine", 999, 0.1),
        ("linear", 14, 0.55),
        ("linear", 24, 0.1),
    ],
)
def test_schedule_is_pinned(name, step, factor):
    assert lr_factor(step, name, warmup_steps=4, num_steps=24, final_ratio=0.1) == pytest.approx(factor, abs=1e-12)


def test_a_fall_of_its_own_length_ends_early_and_the_rate_stays():
    found = [lr_factor(step, "cosine", 7000, 47000, 0.001, 17000) for step in (6999, 15500, 24000, 46999)]
    assert found == pytest.approx([1.0, 0.5005, 0.001, 0.001])


@given(st.sampled_from(["cosine", "linear"]), st.integers(0, 50), st.integers(1, 100), st.floats(0, 1), st.integers(0, 300))
def test_after_the_warm_up_the_rate_only_falls_and_stays_in_range(name, warmup, decay, final, step):
    now, later = (lr_factor(s, name, warmup, warmup + decay, final) for s in (warmup + step, warmup + step + 1))
    assert final - 1e-12 <= later <= now + 1e-12 <= 1 + 1e-9


def test_scheduler_sets_the_rate_of_the_first_update():
    optimizer = build_optimizer(nn.Linear(1, 1), lr=0.8)
    scheduler = build_scheduler(optimizer, "constant", warmup_steps=4)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])


@pytest.mark.parametrize(
    "call",
    [
        lambda: build_optimizer(nn.Linear(1, 1), name="adamv"),
        lambda: build_optimizer(nn.Linear(1, 1), lr=0),
        lambda: build_optimizer(nn.Linear(1, 1), decay="linaer"),
        lambda: build_optimizer(nn.Tanh()),
        lambda: build_scheduler(build_optimizer(nn.Linear(1, 1)), "cosin"),
        lambda: build_scheduler(build_optimizer(nn.Linear(1, 1)), "cosine", warmup_steps=10, num_steps=10),
    ],
)
def test_mistakes_are_refused(call):
    with pytest.raises(ConfigError):
        call()
