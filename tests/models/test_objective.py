"""Losses computed at the asked timestep alone are those of the whole window."""

import pytest
import torch
from tests.examples import continuous_spec, random_window
from tests.models.test_information import make

from maskbench.masking.causal import CausalMask
from maskbench.masking.tasks import NamedTask
from maskbench.models import objective
from maskbench.models.objective import Objective
from maskbench.models.sequence import SequenceModel
from maskbench.tokens.layout import build_layout

ROWS, LENGTH = 70, 6  # rows enough for models/few.py


def loss_and_gradients(model: SequenceModel, *asked: object) -> list[torch.Tensor]:
    found = Objective({"return": 0.0})(model, *asked)  # type: ignore[arg-type]
    used = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(found["loss"], used, allow_unused=True)
    return [*found.values(), *(torch.zeros_like(p) if g is None else g for p, g in zip(used, gradients, strict=True))]


@pytest.mark.parametrize("task", ["bc", "goal", "forward_dynamics", "inverse_dynamics", "future", "past"])
@pytest.mark.parametrize("kind", ["encoder", "mtm"])
def test_losses_and_gradients_of_a_task_do_not_depend_on_what_else_is_computed(
    kind: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = build_layout(continuous_spec(4, 2), LENGTH, "timestep" if kind == "encoder" else "factor")
    torch.manual_seed(0)
    model, window = make(kind, layout).train(), random_window(layout, ROWS)
    for m in model.modules():
        for rate in ("p", "dropout"):
            if hasattr(m, rate):
                setattr(m, rate, 0.0)
    masks = NamedTask(task).sample(torch.Generator().manual_seed(0), ROWS, layout)
    asked: list[bool] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: (asked.append(k.get("at") is not None), forward(*a, **k))[1])
    ours = loss_and_gradients(model, window, masks)
    monkeypatch.setattr(objective, "_only_timestep", lambda asked: None)
    for one, whole in zip(ours, loss_and_gradients(model, window, masks), strict=True):
        torch.testing.assert_close(one, whole, rtol=1e-4, atol=1e-5)
    assert asked == [task not in ("future", "past"), False]


def test_training_that_asks_every_timestep_computes_the_whole_window() -> None:
    layout = build_layout(continuous_spec(4, 2), LENGTH, "factor")
    masks = CausalMask().sample(torch.Generator().manual_seed(0), 3, layout)
    terms, cells = Objective().cells(make("decoder", layout), random_window(layout, 3), masks)
    assert cells.shape[1] == LENGTH
    assert all(v.shape == (3, LENGTH) for parts in terms.values() for v in parts.values())
