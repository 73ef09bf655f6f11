"""A row's answer is the same bits whoever acts beside it and however long their histories are."""

import pytest
import torch
from tests.examples import continuous_spec, random_window
from tests.models.test_information import make

from maskbench.policies.queries import Query
from maskbench.rollout.invariant import batch_invariant
from maskbench.tokens.layout import build_layout


@pytest.mark.parametrize("attend", ["bidirectional", "causal"])
@pytest.mark.parametrize(("returns", "shown"), [("all", [0, 1, 2, 3]), ("all_half", [0, 1, 2, 3]), ("first", [0])])
def test_the_returns_that_are_shown_are_those_of_training(attend: str, returns: str, shown: list[int], grid_layout) -> None:
    now = torch.tensor([3])
    masks = Query("return").masks(now, torch.full_like(now, -1), grid_layout, attend, returns)
    assert masks.visible[0, :, grid_layout.column("rtg")].nonzero().flatten().tolist() == shown
    assert masks.predict.nonzero().tolist() == [[0, 3, grid_layout.column("action")]]


@pytest.mark.parametrize("history", [None, 0, 3])
@pytest.mark.parametrize("name", ["bc", "goal", "waypoint"])
@pytest.mark.parametrize("kind", ["encoder", "maskdp", "mtm"])
@pytest.mark.parametrize("inputs", [("state",), ("state", "action")])
def test_an_answer_does_not_depend_on_the_histories_of_neighbours(
    kind: str, name: str, inputs: tuple[str, ...], history: int | None
) -> None:
    layout = build_layout(continuous_spec(7, 3), 12, "factor", inputs=inputs)
    model = make(kind, layout)
    window, query = random_window(layout, 4), Query(name, history=history)
    last = 11 if history is None else history

    def ask(now: list[int]) -> torch.Tensor:
        at = torch.tensor(now)
        t = torch.arange(12)[None]
        wanted = {"bc": t < 0, "goal": t == 11, "waypoint": t % 4 == 3}[name] & (t > at[:, None])
        masks = query.masks(at, wanted, layout, "bidirectional", "none")
        return model(window.rows(torch.arange(len(now))), masks, only=["action"], at=at)["action"][0]

    with torch.no_grad(), batch_invariant():
        for now in range(last + 1):
            alone = ask([now])
            assert torch.equal(alone, ask([now, last, last // 2, 0]))
            assert torch.equal(alone, ask([now, min(2, last)]))
