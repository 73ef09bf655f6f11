"""Which parts of a model ``trainer.compile`` hands to ``torch.compile``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from maskbench.models.transformer import Transformer


def compile_model(model: nn.Module, device: torch.device, graphs: bool) -> None:
    """Compiles in place, at the first call of each shape.

    On CUDA the whole model, with CUDA graphs where ``graphs``. On CPUs the transformers inside it alone, for fixed shapes:
    there the seconds that C++ takes to compile outweigh what the rest could gain. Models without a transformer, whole.
    """
    if device.type == "cuda":
        model.compile(mode="reduce-overhead" if graphs else "default")
        return
    trunks: list[nn.Module] = [m for m in model.modules() if isinstance(m, Transformer)]
    for part in trunks or [model]:
        part.compile(dynamic=False)


@contextmanager
def uncompiled(device: torch.device) -> Iterator[None]:
    """Runs models as written, on CPUs: validation is too rare, and its batches too varied, to compile for."""
    if device.type != "cpu":
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
