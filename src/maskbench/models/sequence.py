"""What every sequence model does around its trunk: embed cells, read token states back at the right place, score them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskSet
from maskbench.models.heads import Head, input_codecs
from maskbench.tokens.layout import Attend, TokenLayout
from maskbench.trajectory import Window


class SequenceModel(nn.Module):
    """``(window, masks) -> parameters of a distribution over every cell of every factor``.

    Subclasses turn embedded tokens into token states; heads live here, one per factor that the model predicts.
    """

    #: The attention rules that the trunk can follow.
    attends: tuple[Attend, ...] = ("bidirectional",)
    #: Timesteps of the longest episode that the model has embeddings for; None = it does not look at the clock.
    max_timesteps: int | None = None
    #: Whether windows may be shorter and longer than those of training: positions follow a formula or are stretched.
    stretches: bool = False

    def __init__(self, layout: TokenLayout, heads: Mapping[str, Head]) -> None:
        super().__init__()
        self.layout = layout
        self.heads = nn.ModuleDict({_key(name): head for name, head in heads.items()})
        self.codecs = input_codecs(heads)
        self.outputs = tuple(n for n in layout.spec.names if n in heads)
        if not self.outputs:
            raise ConfigError(f"a model must predict something: no head is for a factor of {list(layout.spec.names)}")
        self._readouts: dict[tuple[int, Attend, torch.device], list[slice | Tensor]] = {}
        self._tables: dict[tuple[int, Attend, torch.device], tuple[Tensor, list[int]]] = {}

    def head(self, name: str) -> Head:
        """The head of a factor."""
        return cast(Head, self.heads[_key(name)])

    @abstractmethod
    def states(self, window: Window, masks: MaskSet, layout: TokenLayout, at: Tensor | None = None) -> Tensor:
        """Token states ``(B, N, D)`` in the order of ``layout``, which has the window's length; those of the tokens ``at``
        ``(B, M)`` alone, ``(B, M, D)``, where it is given."""

    def cuts_padding(self, window: Window) -> bool:
        """Whether rows whose timesteps end early cost and answer no more than if the window were cut there, when few tokens are
        asked."""
        return False

    def representation(self, window: Window, masks: MaskSet, layout: TokenLayout) -> Tensor:
        """``(B, N, D)``: what the model knows about its visible tokens, for other learners; elsewhere undefined."""
        return self.states(window, masks, layout)

    def forward(
        self, window: Window, masks: MaskSet, only: Sequence[str] | None = None, at: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Distribution parameters per factor.

        only: the factors to compute, None for all.
        at:   ``(B,)`` int64, one timestep per row; None computes all T.
        Returns per factor ``(B, T, P)``, or ``(B, 1, P)`` with ``at``. Cells that ``readable`` excludes hold no answer.
        """
        if masks.attend not in self.attends:
            raise ConfigError(
                f"{type(self).__name__} follows {list(self.attends)} attention; the scheme asks for '{masks.attend}'"
            )
        masks = masks.within(window)
        layout = self.layout.with_length(window.length)
        names = self.outputs if only is None else only
        if at is not None:
            table, twin = self._readout_table(layout, masks.attend, at.device)
            columns = [twin[layout.column(n)] for n in names]
            tokens = sorted(set(columns))  # factors that are read at one token share its state
            h = self.states(window, masks, layout, table[at][:, tokens])  # (B, M, D)
            return {n: self.head(n)(h[:, tokens.index(c)][:, None]) for n, c in zip(names, columns, strict=True)}
        h = self.states(window, masks, layout)
        where = self._readout(layout, masks.attend, h.device)
        return {n: self.head(n)(h[:, where[layout.column(n)]]) for n in names}

    def readable(self, layout: TokenLayout, attend: Attend) -> Tensor:
        """``(T, F)`` bool: cells that some token may predict (a causal model cannot predict its first token)."""
        return layout.readout(attend) >= 0

    def _readout(self, layout: TokenLayout, attend: Attend, device: torch.device) -> list[slice | Tensor]:
        """Per factor the ``T`` tokens at which it is read: a slice wherever they are evenly spaced, which costs no copy."""
        key = (layout.length, attend, device)
        if key not in self._readouts:
            columns = layout.readout(attend).clamp(min=0).T
            self._readouts[key] = [_as_slice(c) or c.to(device) for c in columns]
        return self._readouts[key]

    def _readout_table(self, layout: TokenLayout, attend: Attend, device: torch.device) -> tuple[Tensor, list[int]]:
        """``(T, F)`` tokens at which cells are read, and per factor the first one that is read at the same tokens."""
        key = (layout.length, attend, device)
        if key not in self._tables:
            table = layout.readout(attend).clamp(min=0)
            columns = table.T.tolist()
            self._tables[key] = table.to(device), [columns.index(c) for c in columns]
        return self._tables[key]

    @property
    def num_parameters(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def unwrap(model: nn.Module) -> SequenceModel:
    """The sequence model inside the wrappers of Fabric, DDP or compile."""
    while not isinstance(model, SequenceModel):
        model = next(getattr(model, n) for n in ("_forward_module", "_orig_mod", "module") if hasattr(model, n))
    return model


def _as_slice(index: Tensor) -> slice | None:
    """The slice that picks ``index`` ``(T,)``, or None where its steps are uneven."""
    first, step = int(index[0]), int(index[1] - index[0]) if len(index) > 1 else 1
    if step < 1 or not torch.equal(index, first + step * torch.arange(len(index))):
        return None
    return slice(first, int(index[-1]) + 1, step)


def _key(name: str) -> str:
    return name.replace(".", "__")  # module names may hold no dot
