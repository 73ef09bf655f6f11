"""What a user can get wrong. Entry points print these without a traceback and exit with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MaskbenchError(Exception):
    """A mistake that the user can mend: the message names what was found, what was expected and the fix."""


class ConfigError(MaskbenchError):
    """A configuration that cannot be run: unknown key, wrong type, impossible combination."""


class DataError(MaskbenchError):
    """A data file or store that is missing, corrupt, truncated or does not match its specification."""


class EnvError(MaskbenchError):
    """An environment that cannot be built or does not match the data or the checkpoint."""


class MissingExtraError(MaskbenchError):
    """An optional dependency is not installed; the message holds the ``pip install`` that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. Run: pip install 'maskbench[{extra}]'"
        )


def did_you_mean(found: str, valid: Iterable[str]) -> str:
    """Sentence that names the nearest valid name, or all of them where none is near."""
    names = sorted(valid)
    near = difflib.get_close_matches(found, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{near[0]}'?"
    return f"Valid: {', '.join(names)}." if names else "Nothing is valid here."
