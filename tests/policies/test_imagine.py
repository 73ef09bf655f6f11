"""Trajectories drawn cell by cell: known cells stay, every draw sees the ones before it."""

from __future__ import annotations

import numpy as np
import torch
from tests.policies.test_model_policy import doorkey_policy

from maskbench.policies.imagine import backwards, imagine
from maskbench.policies.queries import Query


def test_the_past_is_drawn_from_late_to_early_actions_first() -> None:
    layout = doorkey_policy(Query()).layout
    assert backwards(layout, 2) == [(t, n) for t in (1, 0) for n in ("action", "state", "state_key")]


def test_known_cells_stay_and_each_draw_is_shown_to_the_next() -> None:
    policy = doorkey_policy(Query())
    model, layout = policy.model, policy.layout
    values = {f.name: torch.full((6, 10), 3) for f in layout.spec}
    visible = torch.zeros(6, 10, len(layout.spec.names), dtype=torch.bool)
    visible[:, 9, layout.column("state")] = True
    asked = []
    forward = model.forward

    def counting(window, masks, only=None, at=None):
        asked.append((int(masks.visible[0].sum()), {n: v.clone() for n, v in window.values.items()}))
        return forward(window, masks, only=only, at=at)

    model.forward = counting  # type: ignore[method-assign]
    order = backwards(layout, 9)
    drawn = imagine(model, values, visible, order, np.random.default_rng(0))
    assert [n for n, _ in asked] == list(range(1, 1 + len(order)))
    assert (drawn["state"][:, 9] == 3).all()
    assert (drawn["rtg"] == 3).all()
    assert len({tuple(row) for row in drawn["state"].tolist()}) == 6
    for (t, name), (_, seen) in zip(order, asked[1:], strict=False):
        assert torch.equal(seen[name][:, t], drawn[name][:, t])
    assert (values["state"] == 3).all()
    assert visible.sum() == 6
