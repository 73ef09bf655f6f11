"""Asking for one timestep a row gives the answers of the whole window, at less work."""

import pytest
import torch
from tests.examples import continuous_spec, random_window
from tests.models.test_information import make

from maskbench.masking.causal import CausalMask
from maskbench.masking.random import BernoulliMask
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Window


@pytest.mark.parametrize("by", ["timestep", "role", "factor", "dimension"])
@pytest.mark.parametrize("kind", ["encoder", "maskdp", "mtm", "decoder"])
@pytest.mark.parametrize("padded", [False, True])
def test_the_answer_for_one_timestep_is_that_of_the_whole_window(kind: str, by: str, padded: bool) -> None:
    layout = build_layout(continuous_spec(4, 2), 6, by)
    scheme = CausalMask() if kind == "decoder" else BernoulliMask()
    model = make(kind, layout)
    window = random_window(layout, 5)
    if padded:
        window = Window(window.values, torch.arange(6) < torch.tensor([6, 5, 4, 4, 6])[:, None])
    masks = scheme.sample(torch.Generator().manual_seed(0), 5, layout)
    at = torch.tensor([1, 4, 2, 3, 5])
    with torch.no_grad():
        whole, one = model(window, masks), model(window, masks, at=at)
    for name, answer in one.items():
        assert answer.shape == (5, 1, whole[name].shape[-1])
        torch.testing.assert_close(answer[:, 0], whole[name][torch.arange(5), at], rtol=1e-5, atol=1e-6)
