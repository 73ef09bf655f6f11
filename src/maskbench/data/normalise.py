"""Affine normalisation of continuous factors, fitted on training episodes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from maskbench.data.parts import find_factor
from maskbench.data.statistics import Moments, chunks
from maskbench.data.store import EpisodeStore
from maskbench.errors import ConfigError, did_you_mean
from maskbench.trajectory import Role, TrajectorySpec

Mode = Literal["none", "standard", "minmax"]


class Normaliser:
    """``(x - shift) / scale`` per dimension of each continuous factor, and its inverse.

    ``standard`` gives zero mean and unit deviation, ``minmax`` the range [-1, 1], ``none`` leaves values alone. Discrete
    factors pass through. Names of split parts (``state.height``) use their columns of the whole factor.
    """

    def __init__(
        self, spec: TrajectorySpec, modes: Mapping[str, Mode], shift: Mapping[str, Tensor], scale: Mapping[str, Tensor]
    ):
        """modes: per normalised factor; shift, scale: its ``(*shape)`` float32 tensors."""
        self.spec, self.modes = spec, dict(modes)
        self._shift, self._scale = dict(shift), dict(scale)

    @classmethod
    def fit(
        cls,
        store: EpisodeStore,
        modes: Mapping[str, Mode],
        episodes: Sequence[int] | np.ndarray | None = None,
        floor: float = 1e-4,
        known: Mapping[str, np.ndarray] | None = None,
    ) -> Normaliser:
        """Statistics of the training episodes.

        modes:    by role (``state: standard``) or factor name, which wins; what is not named is left alone.
        episodes: indices to fit on; all by default.
        floor:    a dimension whose deviation (or half range) lies below it counts as constant and is only centred (MTM: 0.1).
        known:    per factor ``(E,)`` bool: the episodes that have it, and that it may be fitted on; all where not named.
        Raises ``ConfigError`` for an unknown factor, role or mode, or a discrete factor asked for by name.
        """
        chosen = _modes_by_factor(store.spec, modes)
        everyone = np.arange(store.num_episodes) if episodes is None else np.asarray(episodes, np.int64)
        rows = None if episodes is None else store.rows(everyone)
        shift, scale = {}, {}
        for name, mode in chosen.items():
            factor = store.spec[name]
            having = rows if known is None or name not in known else store.rows(everyone[known[name][everyone]])
            moments = Moments(factor.width)
            for piece in chunks(store.array(name), having):
                moments.update(piece.reshape(len(piece), -1))
            if mode == "standard":
                middle, spread = moments.mean, moments.std
            else:
                middle, spread = (moments.max + moments.min) / 2, (moments.max - moments.min) / 2
            spread = np.where(spread < floor, 1.0, spread)
            shift[name] = torch.tensor(middle, dtype=torch.float32).reshape(factor.shape)
            scale[name] = torch.tensor(spread, dtype=torch.float32).reshape(factor.shape)
        return cls(store.spec, chosen, shift, scale)

    @classmethod
    def identity(cls, spec: TrajectorySpec) -> Normaliser:
        """Leaves every factor alone."""
        return cls(spec, {}, {}, {})

    def apply(self, name: str, x: Tensor) -> Tensor:
        """Recorded units to model units; ``x`` is ``(..., *shape)`` of the factor or part."""
        found = self._affine(name, x)
        return x if found is None else (x - found[0]) / found[1]

    def invert(self, name: str, x: Tensor) -> Tensor:
        """Model units to recorded units."""
        found = self._affine(name, x)
        return x if found is None else x * found[1] + found[0]

    def scale(self, name: str) -> np.ndarray:
        """``(*shape)`` float64 units of a factor; ones where it is left alone."""
        return np.asarray(self._scale.get(name, torch.ones(self.spec[name].shape)), np.float64)

    def to(self, device: torch.device | str) -> Normaliser:
        """The same statistics on another device."""
        moved = [{k: v.to(device) for k, v in side.items()} for side in (self._shift, self._scale)]
        return Normaliser(self.spec, self.modes, *moved)

    def state_dict(self) -> dict[str, Any]:
        """``{"tensors": {"state.shift": ...}, "json": {...}}``: tensors for safetensors, the rest plain JSON."""
        tensors = {f"{n}.shift": t for n, t in self._shift.items()} | {f"{n}.scale": t for n, t in self._scale.items()}
        return {"tensors": tensors, "json": {"spec": self.spec.to_json(), "modes": self.modes}}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Normaliser:
        """The inverse of ``state_dict``."""
        tensors, plain = state["tensors"], state["json"]
        shift, scale = ({n: tensors[f"{n}.{side}"] for n in plain["modes"]} for side in ("shift", "scale"))
        return cls(TrajectorySpec.from_json(plain["spec"]), plain["modes"], shift, scale)

    def _affine(self, name: str, x: Tensor) -> tuple[Tensor, Tensor] | None:
        _, parent, columns = find_factor(self.spec, name)
        if parent.name not in self._shift:
            return None
        return self._shift[parent.name][columns].to(x.device), self._scale[parent.name][columns].to(x.device)


def _modes_by_factor(spec: TrajectorySpec, modes: Mapping[str, Mode]) -> dict[str, Mode]:
    """The mode of every factor that is normalised at all."""
    for key, mode in modes.items():
        if mode not in get_args(Mode):
            raise ConfigError(f"normalise.{key} is '{mode}'. {did_you_mean(str(mode), get_args(Mode))}")
        if key not in spec and key not in get_args(Role):
            raise ConfigError(
                f"normalise.{key} is neither a factor nor a role. {did_you_mean(key, (*spec.names, *get_args(Role)))}"
            )
        if key in spec and key not in get_args(Role) and spec[key].kind == "discrete" and mode != "none":
            raise ConfigError(f"normalise.{key} is '{mode}', but '{key}' is discrete. Remove it or set it to 'none'.")
    found = {f.name: modes.get(f.name, modes.get(f.role, "none")) for f in spec if f.kind != "discrete"}
    return {name: mode for name, mode in found.items() if mode != "none"}
