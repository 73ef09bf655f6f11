"""Heads and how they are chosen: by the kind of the factor unless a configuration says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from maskbench.errors import ConfigError
from maskbench.models.heads.base import Head, Net
from maskbench.models.heads.binned import BinnedHead
from maskbench.models.heads.bins import BinsHead
from maskbench.models.heads.categorical import CategoricalHead
from maskbench.models.heads.codes import CodesHead, CodesOptions
from maskbench.models.heads.mixture import MixtureHead
from maskbench.models.heads.poses import BoxesHead, PosesHead, PosesOptions
from maskbench.models.heads.regression import GaussianHead, RegressionHead, Target
from maskbench.tokens.codecs import BinCodec, GivenBins, UniformBins
from maskbench.trajectory import Factor, TrajectorySpec

__all__ = [
    "BinnedHead",
    "BinsHead",
    "BoxesHead",
    "CategoricalHead",
    "CodesHead",
    "CodesOptions",
    "GaussianHead",
    "Head",
    "HeadChoice",
    "MixtureHead",
    "PosesHead",
    "PosesOptions",
    "RegressionHead",
    "build_head",
    "build_heads",
    "input_codecs",
]


@dataclass(frozen=True)
class HeadChoice:
    """How the factors of one role are predicted.

    kind: ``auto`` takes ``categorical`` for discrete factors and ``mse`` for continuous ones. ``bins`` and ``vq`` on a discrete
          factor are ``categorical`` with its focal weight: classes are bins already. ``uniform_bins`` (``num_bins`` between the
          least and greatest training value) and ``given_bins`` (``values``) make every dimension of a continuous factor a
          class, in its input as in its prediction (MTM). ``mdn`` is a mixture of ``num_bins`` Gaussians, ``vq`` VQ-BeT's codes
          and offsets, ``poses`` one class an axis of two poses (VIMA). Factors of objects always predict boxes.
    """

    kind: Literal["auto", "mse", "gaussian", "mdn", "categorical", "bins", "vq", "uniform_bins", "given_bins", "poses"] = "auto"
    target: Target = "raw"
    tanh: bool = False
    std: float | None = None
    focal_gamma: float = 0.0
    num_bins: int = 24
    offset_scale: float = 10.0
    predict_offsets: bool = True
    values: tuple[float, ...] | None = None
    standardise_bins: bool = False
    std_floor: float = 0.01
    vq: CodesOptions = field(default_factory=CodesOptions)
    poses: PosesOptions = field(default_factory=PosesOptions)


def build_head(factor: Factor, n_embd: int, choice: HeadChoice, net: Net = "linear", bias: bool = True) -> Head:
    """The head of one factor. Raises ConfigError where the kinds do not fit."""
    if factor.kind == "objects":
        return BoxesHead(factor, n_embd)
    if factor.kind == "image":
        raise ConfigError(f"pictures ('{factor.name}') are read, never predicted: set masking.weights.{factor.name}=0")
    if factor.kind == "discrete":
        if choice.kind in ("mse", "gaussian", "mdn", "uniform_bins", "given_bins", "poses"):
            raise ConfigError(f"factor '{factor.name}' is discrete: its head must be 'categorical', not '{choice.kind}'")
        return CategoricalHead(factor, n_embd, net, choice.focal_gamma if choice.kind in ("bins", "vq") else 0.0, bias)
    if choice.kind == "categorical":
        raise ConfigError(f"factor '{factor.name}' is continuous: 'categorical' needs classes; use 'bins', 'mse' or 'gaussian'")
    if choice.kind == "bins":
        weights = (choice.focal_gamma, choice.offset_scale, choice.predict_offsets)
        return BinsHead(factor, n_embd, net, choice.num_bins, *weights, bias=False, standardise=choice.standardise_bins)
    if choice.kind == "poses":
        return PosesHead(factor, n_embd, choice.poses)
    if choice.kind == "vq":
        return CodesHead(factor, n_embd, choice.vq, choice.focal_gamma, choice.offset_scale, choice.predict_offsets)
    if choice.kind == "mdn":
        return MixtureHead(factor, n_embd, net, choice.num_bins, choice.std_floor, bias)
    if choice.kind in ("uniform_bins", "given_bins"):
        given = choice.kind == "given_bins"
        codec = GivenBins(choice.values or ()) if given else UniformBins(factor.width, choice.num_bins)
        return BinnedHead(factor, n_embd, codec, net, choice.focal_gamma, bias)
    if choice.kind == "gaussian":
        return GaussianHead(factor, n_embd, net, choice.std, choice.tanh, bias)
    return RegressionHead(factor, n_embd, net, choice.target, choice.tanh, bias)


def build_heads(
    spec: TrajectorySpec, n_embd: int, choices: Mapping[str, HeadChoice], net: Net = "linear", bias: bool = True
) -> dict[str, Head]:
    """One head per factor of ``spec``; ``choices`` by role, ``auto`` where a role is not named."""
    return {f.name: build_head(f, n_embd, choices.get(f.role, HeadChoice()), net, bias) for f in spec}


def input_codecs(heads: Mapping[str, Head]) -> dict[str, BinCodec]:
    """The bins of continuous factors that enter the model as classes."""
    return {name: head.codec for name, head in heads.items() if isinstance(head, BinnedHead)}
