import pytest
import torch
from torch import nn

from maskbench.errors import ConfigError, DataError
from maskbench.training.ema import Ema


def test_average_follows_the_warmed_up_decay():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = Ema(model, 0.5)
    expected = 0.0
    for n in range(1, 20):
        nn.init.constant_(model.weight, float(n))
        ema.update()
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    assert ema.current_decay() == 0.5
    assert ema.state_dict()["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_swap_keeps_addresses_and_restores_after_an_exception():
    model = nn.Linear(2, 2)
    ema = Ema(model, 0.9)
    average, address = model.weight.detach().clone(), model.weight.data_ptr()
    nn.init.constant_(model.weight, 3.0)

    def fail() -> None:
        with ema.swapped_in():
            assert torch.equal(model.weight, average)
            assert model.weight.data_ptr() == address
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert torch.equal(model.weight, torch.full((2, 2), 3.0))


def test_state_of_another_model_is_refused():
    ema = Ema(nn.Linear(2, 2), 0.9)
    with pytest.raises(DataError, match="bias"):
        ema.load_state_dict({"weight": torch.zeros(2, 2)}, 3)


def test_decay_outside_the_unit_interval_is_refused():
    with pytest.raises(ConfigError):
        Ema(nn.Linear(1, 1), 1.0)
