"""Training compiled on a CPU draws the same dropout and learns the same as training as written."""

import shutil
from copy import deepcopy

import pytest
import torch
from torch import nn

from maskbench.models.transformer import Transformer
from maskbench.training.compiling import compile_model, uncompiled

CPU = torch.device("cpu")


class Counting(nn.Module):
    """Counts the passes in which its Python is run."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.passes = Transformer(1, 2, 16, 16, 0.1, "relu", "post", final_norm=False), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return self.trunk(x)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling takes a C++ compiler")
def test_compiled_training_equals_plain_training_with_dropout() -> None:
    torch.manual_seed(0)
    plain = Counting()
    compiled = deepcopy(plain)
    compile_model(compiled, CPU, graphs=False)
    x = torch.randn(6, 5, 16)
    for step in range(2):
        outputs = []
        for model in (plain, compiled):
            torch.manual_seed(step)
            y = model(x)
            y.square().sum().backward()
            outputs.append(y.detach())
        torch.testing.assert_close(*outputs)
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)
    assert compiled.passes == 2, "only transformers are compiled"

    began = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    with uncompiled(CPU), torch.no_grad():
        assert torch.equal(compiled.eval()(x[:4]), plain.eval()(x[:4]))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == began == 1
