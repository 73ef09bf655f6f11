"""VQ-BeT's head on actions with two modes, its schedule and its sequential codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.examples import continuous_spec
from tests.models.test_multimodal import learned, samples, two_modes

from maskbench.models.decoder import Decoder
from maskbench.models.heads import CodesHead, CodesOptions, HeadChoice, build_heads
from maskbench.models.heads.codes import following
from maskbench.models.heads.sampling import Sampling
from maskbench.tokens.layout import build_layout
from maskbench.training.optim import decay_groups
from maskbench.trajectory import Factor

ACTION = Factor("action", "continuous", "action", (2,))
SMALL = {"n_embd": 16, "n_hidden": 32, "steps": 150, "n_head_hidden": 16, "num_codes": 4}


def head(**options) -> CodesHead:
    torch.manual_seed(0)
    made = CodesHead(ACTION, 4, CodesOptions(**SMALL, **options), focal_gamma=0.0)
    made.fit(two_modes())
    return made


@pytest.mark.parametrize("sequential", [False, True])
def test_both_modes_are_kept(sequential: bool) -> None:
    options = CodesOptions(**SMALL, num_groups=2, sequential=sequential, offset_of="true")
    drawn = samples(learned(HeadChoice(kind="vq", vq=options)), Sampling())
    near = np.abs(np.abs(drawn[:, 0]) - 1) < 0.3
    assert near.mean() > 0.95
    assert (drawn[:, 0] > 0).mean() == pytest.approx(0.5, abs=0.08)


def test_code_and_offset_of_the_truth_give_the_action_back() -> None:
    made, values = head(), two_modes(100)
    codes = made.codec.encode(values)
    params = torch.zeros(100, made.num_logits + 2 * 4 * 2)
    offsets = params[:, made.num_logits :].view(100, 2, 4, 2)
    offsets[torch.arange(100), 0, codes[:, 0]] = values - made.codec.decode(codes)
    torch.testing.assert_close(made.realise(params, codes, torch.zeros(100, 2)), values)
    bare = made.realise(params, codes, torch.zeros(100, 2), Sampling(offsets=False))
    torch.testing.assert_close(bare, made.codec.decode(codes))


def test_sequential_codes_follow_the_one_before() -> None:
    made = head(sequential=True)
    params = torch.zeros(200, made.num_logits + 16)
    params[:, :4] = torch.tensor([0.0, 0.0, -99.0, -99.0])
    table = params[:, 4:20].view(200, 4, 4)
    table[:, 0, 3] = table[:, 1, 2] = 99.0  # after code 0 comes 3, after 1 comes 2
    u = torch.rand(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    codes = made.choose(params, u)
    assert set(map(tuple, codes.tolist())) == {(0, 3), (1, 2)}


def test_after_its_share_of_the_training_only_the_offset_head_learns() -> None:
    made = head(offsets_only_after=0.5)
    h = torch.randn(8, 4, requires_grad=True)
    for share, frozen in ((0.4, False), (0.5, True)):
        made.zero_grad()
        h.grad = None
        made.progress(share)
        torch.stack(list(made.losses(made(h), two_modes(8)).values())).sum().backward()
        assert (h.grad is None) == frozen
        assert all((p.grad is None) == frozen for p in made.net.parameters())
        assert all(p.grad is not None for p in made.offset_net.parameters())


def test_validation_does_not_draw() -> None:
    made = head().eval()
    params = made(torch.randn(50, 4))
    a, b = (made.losses(params, two_modes(50))["offset"] for _ in range(2))
    assert torch.equal(a, b)
    made.train()
    assert not torch.equal(made.losses(params, two_modes(50))["offset"], a)


def test_the_codec_is_no_part_of_what_is_trained_but_of_what_is_saved() -> None:
    layout = build_layout(continuous_spec(16, 2), 5, inputs=["state"])
    choice = HeadChoice(kind="vq", vq=CodesOptions(**SMALL))
    model = Decoder(layout, build_heads(layout.spec.select(["action"]), 72, {"action": choice}))
    codec = {id(p) for p in model.head("action").codec.parameters()}
    assert not codec & {id(p) for g in decay_groups(model, 0.1) for p in g["params"]}
    assert any("codebooks" in name for name in model.state_dict())
    heads = (72 * 16 + 16) + (16 * 16 + 16)
    assert model.num_parameters == 259_488 - 72 * 72 + 2 * heads + (16 * 8 + 8) + (16 * 16 + 16)


def test_without_offsets_there_is_no_offset_head() -> None:
    made = CodesHead(ACTION, 4, CodesOptions(**SMALL), predict_offsets=False)
    made.fit(two_modes())
    assert set(made.losses(made(torch.zeros(5, 4)), two_modes(5))) == {"primary", "secondary"}


def test_chunks_are_the_actions_that_follow_and_zeros_beyond_the_window() -> None:
    values = torch.arange(1.0, 5).view(1, 4, 1)
    assert following(values, 3)[0, :, :, 0].tolist() == [[1, 2, 3], [2, 3, 4], [3, 4, 0], [4, 0, 0]]


def test_a_chunk_is_realised_whole_and_its_first_action_is_the_value() -> None:
    torch.manual_seed(0)
    made = CodesHead(ACTION, 4, CodesOptions(**SMALL, chunk=3))
    made.fit(following(two_modes(200).view(1, 200, 2), 3)[0])
    params = made(torch.randn(7, 5, 4))
    codes = made.choose(params, torch.rand(7, 5, 2, dtype=torch.float64))
    whole = made.realise_chunk(params, codes)
    assert whole.shape == (7, 5, 3, 2)
    assert torch.equal(made.realise(params, codes, torch.zeros(7, 5, 2)), whole[:, :, 0])
    assert made.losses(params, torch.randn(7, 5, 2))["offset"].shape == (7, 5)
