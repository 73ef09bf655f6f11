"""How the cells of a window become a sequence of tokens, and at which token each cell is read back.

The grid has ``T`` timesteps and ``F`` factors. A *stream* is the set of factors that share one token per timestep, so
``N = T * S`` tokens for ``S`` streams:

=============  =====================================  ==========================================
by             streams                                used by
=============  =====================================  ==========================================
``timestep``   all input factors in one token         uniMASK; BeT with ``inputs=[state]``
``role``       return | state | action                GPT, Decision Transformer
``factor``     one per factor                         MaskDP, MTM
``dimension``  one per scalar                         per-dimension tokenisation
=============  =====================================  ==========================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from maskbench.errors import ConfigError
from maskbench.trajectory import MODEL_ROLES, Factor, Role, TrajectorySpec

By = Literal["timestep", "role", "factor", "dimension"]
Order = Literal["time", "stream"]
Attend = Literal["bidirectional", "causal"]


@dataclass(frozen=True)
class Stream:
    """Factors that share one token per timestep. ``columns`` index the factors of the layout's specification."""

    name: str
    columns: tuple[int, ...]


@dataclass(frozen=True)
class TokenLayout:
    """The token sequence of a window.

    spec:    the ``F`` factors that models see or predict, in cell order.
    length:  ``T``.
    streams: ``S`` streams; a factor in none of them is predicted but never an input (BeT's action).
    order:   ``time`` interleaves streams inside a timestep, ``stream`` puts whole streams one after the other.
    """

    spec: TrajectorySpec
    length: int
    streams: tuple[Stream, ...]
    order: Order = "time"

    @property
    def num_tokens(self) -> int:
        return self.length * len(self.streams)

    @property
    def inputs(self) -> tuple[Factor, ...]:
        """Factors that are part of a token."""
        used = {c for s in self.streams for c in s.columns}
        return tuple(f for i, f in enumerate(self.spec) if i in used)

    def column(self, name: str) -> int:
        """Position of a factor among the ``F`` cells of a timestep."""
        self.spec[name]
        return self.spec.names.index(name)

    def columns(self, selector: str) -> tuple[int, ...]:
        """Columns addressed by a factor name, the name of the factor they were split from, or a role."""
        for match in (lambda f: f.name, lambda f: f.parent, lambda f: f.role):
            found = tuple(i for i, f in enumerate(self.spec) if match(f) == selector)
            if found:
                return found
        return ()

    def with_length(self, length: int) -> TokenLayout:
        """The same layout for windows of another length."""
        return self if length == self.length else TokenLayout(self.spec, length, self.streams, self.order)

    def token(self, timestep: int, stream: int) -> int:
        """Index of a token in the sequence."""
        return timestep * len(self.streams) + stream if self.order == "time" else stream * self.length + timestep

    @cached_property
    def token_timesteps(self) -> Tensor:
        """``(N,)`` int64: timestep of each token."""
        t, s = torch.arange(self.length), len(self.streams)
        return t.repeat_interleave(s) if self.order == "time" else t.repeat(s)

    @cached_property
    def token_streams(self) -> Tensor:
        """``(N,)`` int64: stream of each token."""
        s = torch.arange(len(self.streams))
        return s.repeat(self.length) if self.order == "time" else s.repeat_interleave(self.length)

    @cached_property
    def owners(self) -> tuple[int | None, ...]:
        """Per factor the stream that it is part of, None for a factor that is no input."""
        return tuple(next((i for i, s in enumerate(self.streams) if c in s.columns), None) for c in range(len(self.spec)))

    def to_sequence(self, per_stream: Tensor) -> Tensor:
        """``(B, T, S, ...)`` to the token order ``(B, N, ...)``."""
        if self.order == "stream":
            per_stream = per_stream.transpose(1, 2)
        return per_stream.reshape(per_stream.shape[0], -1, *per_stream.shape[3:])

    def tokens_with(self, cells: Tensor) -> Tensor:
        """``(B, T, F)`` bool over cells to ``(B, N)`` bool: tokens that hold at least one of them."""
        members = [cells[:, :, list(s.columns)].any(-1) for s in self.streams]
        return self.to_sequence(torch.stack(members, 2))

    def readout(self, attend: Attend) -> Tensor:
        """``(T, F)`` int64: token at which each cell is predicted; -1 where it cannot be.

        Bidirectional models read a cell at its own token. Causal models read it one token earlier, the last position that
        cannot see it. A factor that is no input is read at the last token of its timestep.
        """
        last = len(self.streams) - 1
        rows = [
            [self.token(t, last) if o is None else self.token(t, o) - (attend == "causal") for o in self.owners]
            for t in range(self.length)
        ]
        return torch.tensor(rows, dtype=torch.long)

    def attention(self, attend: Attend) -> Tensor:
        """``(N, N)`` bool, row = query: which tokens may look at which."""
        n = self.num_tokens
        full = torch.ones(n, n, dtype=torch.bool)
        return full.tril() if attend == "causal" else full


def build_layout(
    spec: TrajectorySpec,
    length: int,
    by: By = "timestep",
    order: Order = "time",
    inputs: Sequence[Role] = ("return", "state", "action"),
    factors: Sequence[str] | None = None,
    split: Sequence[str] = (),
    pieces: Mapping[str, int] | None = None,
) -> TokenLayout:
    """Layout of ``spec`` for windows of ``length`` timesteps.

    inputs:  roles that become part of tokens; the others are predicted only.
    factors: names of the factors to model, None for all with a role that models may see; roles are put in the order
             return, goal, prompt, state, action.
    split:   continuous factors whose parts become factors of their own, masked and predicted apart.
    pieces:  per factor or role, how many tokens of equal width a continuous factor takes (MTM's ``split_continuous``; what
             that pads with zeros is left out here). With ``by='dimension'`` every scalar is one.
    Raises ConfigError where nothing is left to make tokens of.
    """
    if length < 1:
        raise ConfigError(f"a window needs at least one timestep; found length {length}")
    chosen = spec.select(factors) if factors is not None else TrajectorySpec(spec.with_role(*MODEL_ROLES))
    ordered = TrajectorySpec(tuple(sorted(chosen, key=lambda f: MODEL_ROLES.index(f.role))))
    ordered = ordered.split(ordered.names, per_dimension=True) if by == "dimension" else ordered.split(split)
    counts = pieces or {}
    sized = (f.split(pieces=counts[k]) if (k := f.name if f.name in counts else f.role) in counts else (f,) for f in ordered)
    ordered = TrajectorySpec(tuple(p for parts in sized for p in parts))
    used = [i for i, f in enumerate(ordered) if f.role in inputs]
    if not used:
        raise ConfigError(f"tokens.inputs={list(inputs)} selects none of the factors {list(ordered.names)}")
    groups: dict[str, list[int]] = {}
    for i in used:
        f = ordered.factors[i]
        groups.setdefault("timestep" if by == "timestep" else f.role if by == "role" else f.name, []).append(i)
    return TokenLayout(ordered, length, tuple(Stream(n, tuple(c)) for n, c in groups.items()), order)
