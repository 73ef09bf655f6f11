"""How text becomes token ids, in training as at play."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskbench.text.tokenizer import Tokenizer
from maskbench.text.values import TEN, Buckets


@dataclass(frozen=True)
class Encoding:
    """Tokens, value words and names.

    common:   names that stay words; None leaves all names as words, without entity ids.
    """

    tokenizer: Tokenizer
    buckets: Buckets = TEN
    common: frozenset[str] | None = None
    context: int = 768

    def to_json(self) -> dict[str, Any]:
        return {
            "tokenizer": self.tokenizer.to_json(),
            "edges": list(self.buckets.edges),
            "words": list(self.buckets.words),
            "common": None if self.common is None else sorted(self.common),
            "context": self.context,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Encoding:
        """Raises DataError for the tokens of another version."""
        return cls(
            Tokenizer.from_json(row["tokenizer"]),
            Buckets(tuple(row["edges"]), tuple(row["words"])),
            None if row["common"] is None else frozenset(row["common"]),
            int(row["context"]),
        )
