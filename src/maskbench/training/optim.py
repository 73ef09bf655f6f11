"""Optimisers with weight-decay groups, and learning-rate schedules that are pure functions of the step."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from maskbench.errors import ConfigError, did_you_mean

Decay = Literal["linear", "all", "none"]

_LINEAR_MAPS = (nn.Linear, nn.Bilinear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def decay_groups(model: nn.Module, weight_decay: float, decay: Decay = "linear") -> list[dict[str, Any]]:
    """Trainable parameters as one or two groups, with and without weight decay.

    ``linear`` decays the weights of linear maps (Linear, convolutions, attention projections, recurrent layers) and spares
    biases, normalisations, embeddings, free parameters such as positional tables and mask tokens, and weights that a linear
    map shares with an embedding (BeT, spec bet 1.5). ``all`` and ``none`` say it themselves.
    """
    if decay not in ("linear", "all", "none"):
        raise ConfigError(f"decay='{decay}' is unknown. {did_you_mean(decay, ('linear', 'all', 'none'))}")
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise ConfigError("the model has no trainable parameter, so there is nothing to optimise")
    decayed = {id(p) for p in (_linear_weights(model) if decay == "linear" else parameters.values() if decay == "all" else ())}
    yes = [p for p in parameters.values() if id(p) in decayed]
    no = [p for p in parameters.values() if id(p) not in decayed]
    groups: list[dict[str, Any]] = [{"params": yes, "weight_decay": weight_decay}, {"params": no, "weight_decay": 0.0}]
    return [g for g in groups if g["params"]]


def _linear_weights(model: nn.Module) -> list[torch.Tensor]:
    weights: list[torch.Tensor] = []
    embeddings: set[int] = set()
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            embeddings.add(id(module.weight))
        elif isinstance(module, _LINEAR_MAPS):
            weights.append(module.weight)
        elif isinstance(module, nn.RNNBase):
            weights.extend(p for name, p in module.named_parameters(recurse=False) if name.startswith("weight"))
        elif isinstance(module, nn.MultiheadAttention):
            projections = (module.in_proj_weight, module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
            weights.extend(p for p in projections if p is not None)
    return [w for w in weights if id(w) not in embeddings]


def build_optimizer(
    model: nn.Module,
    name: Literal["adamw", "adam"] = "adamw",
    lr: float = 1e-4,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    fused: bool | Literal["auto"] = "auto",
    decay: Decay = "linear",
) -> Optimizer:
    """Adam (L2 penalty) or AdamW (decoupled decay) over ``decay_groups``.

    ``fused='auto'`` updates every parameter in one kernel wherever torch has it (CPU, CUDA and MPS).
    Raises ConfigError for an unknown name or a number out of range.
    """
    kinds: dict[str, type[Adam] | type[AdamW]] = {"adamw": AdamW, "adam": Adam}
    if name not in kinds:
        raise ConfigError(f"optimizer '{name}' is unknown. {did_you_mean(name, kinds)}")
    if lr <= 0 or weight_decay < 0 or not all(0 <= b < 1 for b in betas):
        raise ConfigError(f"need lr > 0, weight_decay >= 0 and betas in [0, 1); found {lr}, {weight_decay}, {tuple(betas)}")
    groups = decay_groups(model, weight_decay, decay)
    if fused == "auto":
        tensors = [p for g in groups for p in g["params"]]
        fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in tensors)
    return kinds[name](groups, lr=lr, betas=(betas[0], betas[1]), fused=fused)


def lr_factor(
    step: int, name: str, warmup_steps: int, num_steps: int, final_ratio: float, decay_steps: int | None = None
) -> float:
    """Share of the peak learning rate used by update ``step`` (counted from 0).

    Rises as ``(step + 1) / warmup_steps``, then stays, or falls along half a cosine or a line and reaches
    ``final_ratio`` after ``decay_steps`` more, or at ``num_steps``, where it remains.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if name == "constant":
        return 1.0
    done = min(1.0, (step - warmup_steps) / max(1, decay_steps or num_steps - warmup_steps))
    fall = 0.5 * (1.0 + math.cos(math.pi * done)) if name == "cosine" else 1.0 - done
    return final_ratio + (1.0 - final_ratio) * fall


def build_scheduler(
    optimizer: Optimizer,
    name: Literal["constant", "cosine", "linear"] = "constant",
    warmup_steps: int = 0,
    num_steps: int = 1,
    final_ratio: float = 0.0,
    decay_steps: int | None = None,
) -> LambdaLR:
    """``lr_factor`` as a torch scheduler. Raises ConfigError for an unknown name or a number out of range."""
    names = ("constant", "cosine", "linear")
    if name not in names:
        raise ConfigError(f"scheduler '{name}' is unknown. {did_you_mean(name, names)}")
    if warmup_steps < 0 or num_steps < 1 or not 0 <= final_ratio <= 1:
        raise ConfigError(
            "need warmup_steps >= 0, num_steps >= 1 and final_ratio in [0, 1]; "
            f"found {warmup_steps}, {num_steps}, {final_ratio}"
        )
    if name != "constant" and warmup_steps >= num_steps:
        raise ConfigError(f"scheduler '{name}' never falls: need warmup_steps < num_steps; found {warmup_steps}, {num_steps}")
    return LambdaLR(optimizer, lambda step: lr_factor(step, name, warmup_steps, num_steps, final_ratio, decay_steps))


def learning_rate(optimizer: Optimizer) -> float:
    """Learning rate of the first group."""
    rate = optimizer.param_groups[0]["lr"]
    return float(rate.item() if isinstance(rate, torch.Tensor) else rate)
