"""Acting on few tokens gives the states of the whole window, whatever the length of its rows."""

import pytest
import torch
from tests.examples import continuous_spec, random_window

from maskbench.masking.scheme import MaskSet
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.heads import build_heads
from maskbench.rollout.invariant import batch_invariant
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Window

LENGTH, ROWS = 6, 5
#: Timesteps of each row; the last one shows nothing.
LENGTHS = torch.tensor([6, 2, 4, 2, 6])
NOW = torch.tensor([1, 1, 0, 0, 3])


def build(style: str, layers: int, order: str = "time") -> Autoencoder:
    torch.manual_seed(0)
    layout = build_layout(continuous_spec(3, 2), LENGTH, by="factor", order=order, inputs=["state", "action"])
    model = Autoencoder(layout, build_heads(layout.spec, 16, {}), layers, layers, 2, 16, style=style)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # biases too
    return model.eval()


def question(model: Autoencoder, ends_early: bool) -> tuple[Window, MaskSet]:
    spec = model.layout.spec
    values = random_window(model.layout, ROWS, seed=1).values
    visible = torch.rand(ROWS, LENGTH, len(spec), generator=torch.Generator().manual_seed(2)) < 0.4
    visible[-1] = False
    valid = torch.arange(LENGTH)[None] < LENGTHS[:, None] if ends_early else None
    return Window(values, valid), MaskSet(visible, ~visible, max_visible=model.layout.num_tokens)


@pytest.mark.parametrize("ends_early", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("style", ["maskdp", "mtm"])
def test_answers_are_those_of_the_whole_window(style: str, layers: int, ends_early: bool) -> None:
    model = build(style, layers)
    window, masks = question(model, ends_early)
    whole = {n: p[torch.arange(ROWS), NOW] for n, p in model(window, masks).items()}
    with torch.no_grad():
        few = model(window, masks, at=NOW)
    assert not ends_early or model.cuts_padding(window)
    for name in whole:
        torch.testing.assert_close(few[name][:, 0], whole[name], rtol=1e-4, atol=1e-5)


def test_a_row_is_the_same_bits_beside_longer_ones_and_alone() -> None:
    model = build("maskdp", 2)
    window, masks = question(model, True)
    with torch.no_grad(), batch_invariant():
        together = model(window, masks, at=NOW)["action"]
        for row in range(ROWS):
            index = slice(row, row + 1)
            values = {n: v[index] for n, v in window.values.items()}
            alone = model(Window(values, window.valid[index]), masks.rows(index), at=NOW[index])["action"]
            assert torch.equal(alone, together[index])


def test_padding_is_cut_only_where_tokens_stay_in_place() -> None:
    moving, gaps = build("maskdp", 1, order="stream"), build("maskdp", 1)
    window, _ = question(moving, True)
    assert not moving.cuts_padding(window)
    assert not gaps.cuts_padding(Window(window.values, window.valid.flip(1)))
    assert not gaps.cuts_padding(Window({n: v.repeat(1, 2, 1) for n, v in window.values.items()}, window.valid.repeat(1, 2)))
