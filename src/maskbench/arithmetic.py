"""What the processor's matrix libraries are good at, and who computes linear maps: models ask, rollouts may answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Where Linux describes the processor.
CPUINFO = Path("/proc/cpuinfo")
#: Family of AMD's first processors with 512-bit arithmetic (Zen 5).
_WIDE_AMD = 26
#: Computes a linear map from input, weight, bias, and the approximation of a GELU behind it where there is one.
Answer = Callable[..., "Tensor"]
_answer: Answer | None = None


@contextmanager
def answered_by(answer: Answer) -> Iterator[None]:
    """Inside, ``answer`` computes the linear maps of models that ask ``answering``."""
    global _answer
    before, _answer = _answer, answer
    try:
        yield
    finally:
        _answer = before


def answering() -> Answer | None:
    """Who computes linear maps here, None = whoever needs them."""
    return _answer


@cache
def has_wide_vectors() -> bool:
    """Whether oneDNN is at hand and uses 512-bit vectors."""
    import torch

    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


@cache
def mkl_is_narrow() -> bool:
    """Whether MKL uses half of this processor's vectors: AMD's from Zen 5 on. False where the system does not tell."""
    if not has_wide_vectors() or not CPUINFO.is_file():
        return False
    lines = (line.partition(":") for line in CPUINFO.read_text().partition("\n\n")[0].splitlines())
    facts = {key.strip(): value.strip() for key, _, value in lines}
    return facts.get("vendor_id") == "AuthenticAMD" and int(facts.get("cpu family", 0)) >= _WIDE_AMD
