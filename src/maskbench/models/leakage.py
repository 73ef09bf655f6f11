"""Proof by gradients, before any training, that no hidden cell reaches a prediction and that causal models are causal."""

from __future__ import annotations

import torch
from torch import Tensor

from maskbench.errors import MaskbenchError
from maskbench.masking.scheme import MaskScheme
from maskbench.models.sequence import SequenceModel
from maskbench.trajectory import Window

#: Predictions of a causal model that are checked against all later cells, spread evenly over factors and timesteps.
PROBES = 24


class LeakageError(MaskbenchError):
    """A prediction depends on a cell that its mask hides, or on a later one: no number of this model would mean anything."""


def dense_window(model: SequenceModel, batch: int, generator: torch.Generator) -> Window:
    """Random cells as float leaves that take gradients; discrete and binned factors as class weights."""
    layout, device = model.layout, next(model.parameters()).device
    values = {}
    for f in layout.spec:
        shape = (batch, layout.length, f.classes) if f.classes is not None else (batch, layout.length, *f.shape)
        if f.name in model.codecs:
            shape = (*shape, model.codecs[f.name].num_bins)
        values[f.name] = torch.rand(shape, generator=generator).to(device).requires_grad_()
    return Window(values, start=torch.zeros(batch, dtype=torch.long, device=device))


def prove_no_leak(model: SequenceModel, scheme: MaskScheme, batch: int = 8, seed: int = 0) -> None:
    """Raises LeakageError naming the factors involved where a gradient says that information leaks.

    Every row of a random batch gets a mask from ``scheme``. The gradient of that row's predictions at the cells the mask
    asks for must vanish at all hidden cells. For causal attention, moreover, the prediction at each timestep of each factor
    must have no gradient at its own cell or at any later token.
    """
    was_training = model.training
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    window = dense_window(model, batch, generator)
    device = next(model.parameters()).device
    masks = scheme.sample(torch.Generator(device).manual_seed(seed), batch, model.layout)
    readable = model.readable(model.layout, masks.attend).to(device)
    params = model(window, masks)
    asked = masks.predict & readable
    answer = torch.stack([(p.sum(-1) * asked[:, :, model.layout.column(n)]).sum() for n, p in params.items()]).sum()
    _expect_zero(answer, window, ~masks.visible, model, "hidden")
    if masks.attend == "causal":
        where = model.layout.readout("causal")
        probes = [(n, t) for n in params for t in range(model.layout.length) if where[t, model.layout.column(n)] >= 0]
        for name, t in probes[:: max(1, len(probes) // PROBES)]:
            token = int(where[t, model.layout.column(name)])
            later = _cells_after(model, token).to(device).expand(batch, -1, -1)
            _expect_zero(params[name][:, t].sum(), window, later, model, "later", name, t)
    model.train(was_training)


def _cells_after(model: SequenceModel, token: int) -> Tensor:
    """``(1, T, F)`` bool: cells of tokens beyond ``token``."""
    layout = model.layout
    grid = torch.zeros(1, layout.length, len(layout.spec), dtype=torch.bool)
    for t in range(layout.length):
        for s, stream in enumerate(layout.streams):
            if layout.token(t, s) > token:
                grid[:, t, list(stream.columns)] = True
    return grid


def _expect_zero(
    answer: Tensor, window: Window, cells: Tensor, model: SequenceModel, what: str, name: str = "", timestep: int | None = None
) -> None:
    if not answer.requires_grad:
        return
    grads = torch.autograd.grad(answer, list(window.values.values()), retain_graph=True, allow_unused=True)
    for source, grad in zip(window.values, grads, strict=True):
        if grad is None:
            continue
        reached = grad.abs().flatten(2).sum(-1) * cells[:, :, model.layout.column(source)]
        if bool((reached > 0).any()):
            at = "" if timestep is None else f" of '{name}' at timestep {timestep}"
            raise LeakageError(
                f"the prediction{at} depends on a {what} cell of factor '{source}': {type(model).__name__} leaks"
            )
