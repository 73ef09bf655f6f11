"""Whole trajectories out of a model: hidden cells drawn one after the other, each given all that is known by then.

A random-mask model answers every mask, so the order is free: forwards in time, backwards (uniMASK's backward inference, its
``past`` task asked again after every drawn cell), or from both ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from maskbench.masking.scheme import MaskSet
from maskbench.models.sequence import SequenceModel
from maskbench.tokens.layout import TokenLayout
from maskbench.trajectory import Window

#: A cell of every row: timestep and factor.
Cell = tuple[int, str]


def backwards(layout: TokenLayout, known_from: int) -> list[Cell]:
    """The cells before timestep ``known_from`` from late to early: of each timestep the actions, then the states."""
    names = [f.name for role in ("action", "state") for f in layout.spec.with_role(role)]
    return [(t, name) for t in reversed(range(known_from)) for name in names]


def imagine(
    model: SequenceModel, values: Mapping[str, Tensor], visible: Tensor, order: Sequence[Cell], rng: np.random.Generator
) -> dict[str, Tensor]:
    """``values`` with the cells of ``order`` drawn from the model.

    values:  per factor ``(B, T, ...)`` in model units; hidden cells may hold anything.
    visible: ``(B, T, F)`` bool, what is known at the start.
    rng:     source of every draw; heads without one answer with their mode.
    """
    filled, known = {name: value.clone() for name, value in values.items()}, visible.clone()
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for t, name in order:
            at = torch.full((len(known),), t, device=known.device)
            params = model(Window(filled), MaskSet(known, ~known), only=[name], at=at)[name][:, 0]
            head = model.head(name)
            if head.num_uniforms:
                noise = torch.as_tensor(rng.random((len(known), head.num_uniforms)), device=params.device)
                filled[name][:, t] = head.sample(params, noise)
            else:
                filled[name][:, t] = head.mode(params)
            known[:, t, model.layout.column(name)] = True
    model.train(was_training)
    return filled
