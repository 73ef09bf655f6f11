"""Several models of one architecture as one module, and their optimisers as one optimiser.

    stacked weight (S, out, in)  =  [ model 0's weight | model 1's weight | ... ]     one memory, two ways to look at it

Rows of a batch belong to the models in turn: the first B to model 0, the next B to model 1. Attention, activations and
embedding tables mix no rows and stay what they are; what holds weights (Linear, LayerNorm, learned positions) is replaced.
Every model (and its optimiser's state) keeps working alone, on views of the stacked memory: validation, averages and
checkpoints of one model need no unstacking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from maskbench.errors import ConfigError
from maskbench.models.positions import LearnedPositions


class StackedLinear(nn.Module):
    """Model ``s``'s Linear on rows ``s * B .. (s + 1) * B`` of ``(S * B, ..., in)``: one batched product."""

    def __init__(self, parts: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = _shared([p.weight for p in parts])  # (S, out, in)
        self.bias = None if parts[0].bias is None else _shared([p.bias for p in parts])  # (S, out)

    def forward(self, x: Tensor) -> Tensor:
        s, out, width = self.weight.shape
        rows, weight = x.reshape(s, -1, width), self.weight.transpose(1, 2)
        y = torch.bmm(rows, weight) if self.bias is None else torch.baddbmm(self.bias[:, None], rows, weight)
        return y.view(*x.shape[:-1], out)


class StackedLayerNorm(nn.Module):
    """Model ``s``'s LayerNorm on rows ``s * B .. (s + 1) * B`` of ``(S * B, ..., D)``."""

    def __init__(self, parts: Sequence[nn.LayerNorm]) -> None:
        super().__init__()
        self.eps = parts[0].eps
        self.weight = _shared([p.weight for p in parts])  # (S, D)
        self.bias = _shared([p.bias for p in parts])

    def forward(self, x: Tensor) -> Tensor:
        s, d = self.weight.shape
        y = F.layer_norm(x, (d,), eps=self.eps)
        return torch.addcmul(self.bias[:, None], y.reshape(s, -1, d), self.weight[:, None]).to(y.dtype).view(y.shape)


class StackedPositions(nn.Module):
    """Model ``s``'s learned positions on rows ``s * B .. (s + 1) * B`` of ``(S * B, N, D)``."""

    def __init__(self, parts: Sequence[LearnedPositions]) -> None:
        super().__init__()
        self.table = _shared([p.table for p in parts])  # (S, most, D)

    def add_to(self, x: Tensor) -> Tensor:
        s, n = len(self.table), x.shape[1]
        return (x.unflatten(0, (s, -1)) + self.table[:, None, :n]).flatten(0, 1)


def _shared(parameters: Sequence[Tensor]) -> nn.Parameter:
    """The parameters as one ``(S, ...)``, of which each becomes a view."""
    stacked = nn.Parameter(torch.stack([p.detach() for p in parameters]), parameters[0].requires_grad)  # a copy
    for parameter, view in zip(parameters, stacked.data, strict=True):
        parameter.data = view
    return stacked


def why_not(models: Sequence[nn.Module]) -> str | None:
    """None, or why models cannot be stacked: weights outside of Linear, LayerNorm and learned positions, weights that are used
    twice, or state besides weights (such as fitted bins) that differs."""
    first = models[0]
    stackable = {
        id(p)
        for m in first.modules()
        if type(m) in (nn.Linear, LearnedPositions) or (type(m) is nn.LayerNorm and m.elementwise_affine and m.bias is not None)
        for p in m.parameters(recurse=False)
    }
    named = list(first.named_parameters(remove_duplicate=False))
    alone = [name for name, p in named if id(p) not in stackable]
    if alone:
        return f"'{alone[0]}' is no weight of a Linear, LayerNorm or table of positions"
    if len({id(p) for _, p in named}) < len(named):
        return "some of its weights are used in two places"
    for name, buffer in first.named_buffers():
        if any(not torch.equal(buffer, m.get_buffer(name)) for m in models[1:]):
            return f"'{name}' differs between the seeds"
    return None


def stack_models(models: Sequence[nn.Module]) -> nn.Module:
    """One module for batches of ``S`` times as many rows. The models' parameters become views of its own.

    Raises ConfigError where ``why_not`` has a reason.
    """
    reason = why_not(models)
    if reason is not None:
        raise ConfigError(f"{type(models[0]).__name__} cannot be trained as a stack: {reason}. Use trainer.stack_seeds=false")
    stacked = deepcopy(models[0])
    for name, _ in _replaceable(stacked):
        parts = [m.get_submodule(name) for m in models]
        stacked.set_submodule(name, _STACKED[type(parts[0])](parts))  # type: ignore[arg-type]
    return stacked


_STACKED = {nn.Linear: StackedLinear, nn.LayerNorm: StackedLayerNorm, LearnedPositions: StackedPositions}


def _replaceable(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, m) for name, m in model.named_modules() if type(m) in _STACKED]


class StackedOptimizer:
    """Adam or AdamW over a stack of models; element by element it does what the models' own optimisers would do.

    own: one optimiser a model, which only keeps settings (a schedule may change the learning rate) and, as views, the state.
    """

    def __init__(self, stacked: nn.Module, models: Sequence[nn.Module], own: Sequence[Optimizer]) -> None:
        if type(own[0]) not in (Adam, AdamW):
            raise ConfigError(f"{type(own[0]).__name__} cannot update a stack of models. Use trainer.stack_seeds=false")
        whole = dict(stacked.named_parameters())
        parts = [dict(m.named_parameters()) for m in models]
        names = {id(p): name for name, p in parts[0].items()}
        groups = [{**g, "params": [whole[names[id(p)]] for p in g["params"]]} for g in own[0].param_groups]
        self.own = own
        self.optimizer = type(own[0])(groups)  # type: ignore[call-arg]
        used = [p for g in own[0].param_groups for p in g["params"]]
        self.parameters = [whole[names[id(p)]] for p in used]
        self._parts = [[part[names[id(p)]] for part in parts] for p in used]
        for parameter, mine in zip(self.parameters, self._parts, strict=True):
            states = [o.state[p] for o, p in zip(own, mine, strict=True) if p in o.state]
            if states:
                self.optimizer.state[parameter] = {k: _join([s[k] for s in states]) for k in states[0]}
        self._linked = 0
        self._link()
        for optimizer in own:
            optimizer.step()  # without gradients: tells a schedule that updates precede it

    def step(self) -> None:
        """Updates every model and forgets the gradients."""
        for group, settings in zip(self.optimizer.param_groups, self.own[0].param_groups, strict=True):
            group["lr"] = settings["lr"]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if len(self.optimizer.state) != self._linked:
            self._link()

    def _link(self) -> None:
        """Makes the state of every model's optimiser a view of the stacked one (a parameter has none before its first
        gradient)."""
        self._linked = len(self.optimizer.state)
        for parameter, mine in zip(self.parameters, self._parts, strict=True):
            if parameter in self.optimizer.state:
                for i, (optimizer, p) in enumerate(zip(self.own, mine, strict=True)):
                    state = self.optimizer.state[parameter]
                    optimizer.state[p] = {k: v[i] if v.dim() else v for k, v in state.items()}


def _join(values: Sequence[Tensor]) -> Tensor:
    """Moments of all models; the count of updates, a scalar, is common."""
    return torch.stack(list(values)) if values[0].dim() else values[0].clone()


def clip_gradients(parameters: Sequence[Tensor], limit: float | None) -> Tensor:
    """Norms ``(S,)`` of the models' gradients, which are scaled down to ``limit`` each for itself."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]).norm(dim=0)
    if limit is not None:
        factor = (limit / (norms + 1e-6)).clamp(max=1.0)
        for g in gradients:
            g.mul_(factor.view(-1, *[1] * (g.dim() - 1)))
    return norms


def split_terms(terms: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Per model its terms, from terms ``(S,)``."""
    columns = [value.unbind() for value in terms.values()]
    return (dict(zip(terms, values, strict=True)) for values in zip(*columns, strict=True))
