"""Planning in states, then acting on the plan: MTM's two-stage rollout (unimask.md section 6.3).

    first question    states   s_0 .. s_now  ?  ?  ?      what will be seen from here on (and earned)?
    second question   states   s_0 .. s_now  s' s' s'     which action leads from s_now to s'_now+1?

Models that learnt states from many episodes and actions from few (``data.labels``) answer the first question from all of
them; the second is inverse dynamics, which takes few.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskSet, cells
from maskbench.models.sequence import SequenceModel
from maskbench.tokens.layout import Attend
from maskbench.trajectory import Window


def check_two_stage(model: SequenceModel, attend: Attend, history: int) -> None:
    """Raises ConfigError where the model cannot plan in states, saying why."""
    layout = model.layout
    states = layout.spec.with_role("state")
    reason = None
    if attend == "causal":
        reason = "a causal model cannot look ahead at planned states"
    elif not states or any(f.name not in model.outputs or f not in layout.inputs for f in states):
        reason = "the model must both see and predict every state"
    elif any(getattr(model.head(f.name), "target", "raw") != "raw" for f in states):
        reason = "the model predicts normalised states (head.state.target), which cannot be shown to it again"
    elif history >= layout.length - 1:
        reason = f"query.history={history} leaves no timestep of the window of {layout.length} to plan"
    if reason is not None:
        raise ConfigError(f"query.mode=two_stage is not possible: {reason}")


def foresee(model: SequenceModel, window: Window, masks: MaskSet) -> tuple[Window, MaskSet]:
    """The second question: ``window`` with the hidden states predicted, and the returns too where some are visible.

    window, masks: the first question, as a policy would put it to act at once.
    Returns what MTM's inverse dynamics sees: all states and no action, beside all returns where ``masks`` show any.
    """
    layout = model.layout.with_length(window.length)
    shows_returns = bool(layout.columns("return")) and bool(masks.visible[:, :, list(layout.columns("return"))].any())
    roles = ("state", "return") if shows_returns else ("state",)
    names = [f.name for f in layout.spec.with_role(*roles) if f.name in model.outputs]
    params = model(window, masks, only=names)
    values = dict(window.values)
    for name in names:
        cell = model.head(name).mode(params[name]).to(values[name].dtype)
        seen = masks.visible[:, :, layout.column(name)]
        values[name] = torch.where(seen.view(*seen.shape, *(1,) * (cell.dim() - 2)), values[name], cell)
    always = torch.ones(window.batch, window.length, dtype=torch.bool, device=masks.visible.device)
    known = {role: always for role in roles}
    visible = cells(layout, known, window.batch, masks.visible.device) & _fillable(model, masks)
    return replace(window, values=values), MaskSet(visible, masks.predict, masks.attend, layout.num_tokens)


def _fillable(model: SequenceModel, masks: MaskSet) -> torch.Tensor:
    """``(B, T, F)`` bool: cells that were seen or that the model predicts."""
    predicted = torch.tensor([n in model.outputs for n in model.layout.spec.names], device=masks.visible.device)
    return masks.visible | predicted
