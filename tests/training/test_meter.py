import math

import pytest
import torch

from maskbench.training.meter import Diverged, LossMeter


def terms(**values: float) -> dict[str, torch.Tensor]:
    return {k: torch.tensor(v) for k, v in values.items()}


def test_means_run_over_the_steps_that_measured_a_term():
    meter = LossMeter()
    meter.add(1, terms(loss=1.0, state=4.0))
    meter.add(2, terms(loss=2.0))
    meter.add(3, terms(loss=6.0, state=math.nan))
    meter.drain()
    assert meter.means() == {"loss": 3.0, "state": 4.0}
    assert meter.means() == {}


def test_draining_early_does_not_change_the_means():
    a, b = LossMeter(), LossMeter()
    for step in range(10):
        for meter in (a, b):
            meter.add(step, terms(loss=step / 3))
        a.drain()
    b.drain()
    assert LossMeter(a.rows).means() == b.means()


def test_the_first_bad_step_is_named():
    meter = LossMeter()
    meter.add(1, terms(loss=1.0, state=math.inf))
    meter.add(2, terms(loss=1.0, grad_norm=math.nan))
    meter.add(3, terms(loss=math.nan))
    with pytest.raises(Diverged, match="step 2: grad_norm=nan"):
        meter.drain()
    assert len(meter.rows) == 1
