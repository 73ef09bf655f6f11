"""Loss terms between two log rows, kept on the device until someone asks: no step waits for the accelerator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from maskbench.errors import MaskbenchError


class Diverged(MaskbenchError):
    """The loss or the gradient stopped being a number."""

    def __init__(self, step: int, terms: Mapping[str, float]) -> None:
        self.step = step
        self.terms = {k: v for k, v in terms.items() if not math.isfinite(v)}
        named = ", ".join(f"{k}={v}" for k, v in self.terms.items())
        super().__init__(
            f"training diverged at step {step}: {named}. The last good checkpoint is kept. "
            "Lower the learning rate, lengthen the warm-up, set grad_clip, or look for broken values in the data."
        )


class LossMeter:
    """Collects one vector of scalars a step; ``drain`` brings all of them to the host in one transfer.

    The rows on the host are part of the checkpoint, so that the means of a resumed run are those of an uninterrupted one.
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.rows: list[dict[str, float]] = [dict(r) for r in rows]
        self._pending: list[tuple[int, tuple[str, ...], Tensor]] = []

    def add(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """``terms`` are scalars on one device. Copying them in one kernel also frees the buffers of CUDA graphs."""
        self._pending.append((step, tuple(terms), torch.stack([t.detach().float() for t in terms.values()])))

    def drain(self, reduce: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        """Moves what is pending to ``rows``; ``reduce`` averages over processes.

        Raises Diverged at the first step whose ``loss`` or ``grad_norm`` is not finite. Other terms may be NaN: not measured.
        """
        if not self._pending:
            return
        values = iter(reduce(torch.cat([vector for _, _, vector in self._pending])).tolist())
        pending, self._pending = self._pending, []
        for step, names, _ in pending:
            row = dict(zip(names, values, strict=False))
            if not all(math.isfinite(row[k]) for k in ("loss", "grad_norm") if k in row):
                raise Diverged(step, row)
            self.rows.append(row)

    def means(self) -> dict[str, float]:
        """Mean of each term over the drained steps that measured it, and a fresh start."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        columns = {name: [row[name] for row in self.rows if name in row and not math.isnan(row[name])] for name in names}
        self.rows = []
        return {name: math.fsum(c) / len(c) if c else math.nan for name, c in columns.items()}
