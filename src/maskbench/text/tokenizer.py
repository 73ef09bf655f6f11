"""Text to token ids: byte-level BPE fitted on the training split, or plain bytes without any extra (TTM spec 6.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskbench.errors import ConfigError, DataError, MissingExtraError
from maskbench.text.lossless import TAGS

PAD, END = "<pad>", "<eos>"
#: Tokens of entities, one an entity and episode (``maskbench.text.lexicon``).
ENTITIES = tuple(f"@{k}" for k in range(96))
VALUES = tuple(f"<v{k}>" for k in range(10))
FILLS = tuple(f"<fill:{k}>" for k in range(4))
SPECIALS = (PAD, END, *(f"<{tag}>" for tag in TAGS), *VALUES, *FILLS, *ENTITIES)
#: Characters up to which texts are worth remembering: commands and labels come again, rooms of fresh games do not.
_SHORT = 80
_SPECIAL = re.compile("( ?" + "|".join(re.escape(s) for s in sorted((*VALUES, *FILLS), key=len, reverse=True)) + r"| ?@\d+)")


class Tokenizer:
    """Special tokens first, then those of the text. Pieces between special tokens are encoded apart and remembered.

    merges: the fitted BPE as JSON; None for bytes.
    """

    def __init__(self, merges: str | None = None) -> None:
        self.merges = merges
        self.specials: Mapping[str, int] = {s: i for i, s in enumerate(SPECIALS)}
        self._bpe = _load_bpe(merges) if merges is not None else None
        self._cache: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        return len(SPECIALS) + (256 if self._bpe is None else int(self._bpe.get_vocab_size()))

    def encode(self, text: str) -> list[int]:
        """Token ids. ``@k`` and value words become their special tokens, with the space before them."""
        found = self._cache.get(text)
        if found is None:
            found = []
            for piece in _SPECIAL.split(text):
                if piece.lstrip(" ") in self.specials:
                    found.append(self.specials[piece.lstrip(" ")])
                elif piece:
                    found += self._plain(piece)
            if len(text) < _SHORT and len(self._cache) < 200_000:
                self._cache[text] = found
        return found

    def _plain(self, piece: str) -> list[int]:
        first = len(SPECIALS)
        if self._bpe is None:
            return [first + b for b in piece.encode()]
        found = self._cache.get(piece)
        if found is None:
            found = [first + i for i in self._bpe.encode(piece, add_special_tokens=False).ids]
            if len(self._cache) < 200_000:
                self._cache[piece] = found
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """Text; special tokens as their names, an entity's with a space before it."""
        out, run = "", list[int]()
        for i in (*ids, None):
            if i is not None and i >= len(SPECIALS):
                run.append(i - len(SPECIALS))
                continue
            if run:
                out += bytes(run).decode(errors="replace") if self._bpe is None else str(self._bpe.decode(run))
                run = []
            if i is not None:
                out += f" {SPECIALS[i]}" if SPECIALS[i].startswith("@") else SPECIALS[i]
        return out

    def to_json(self) -> dict[str, Any]:
        return {"specials": list(SPECIALS), "merges": self.merges}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Tokenizer:
        """Raises DataError where the special tokens are those of another version."""
        if tuple(row["specials"]) != SPECIALS:
            raise DataError("the tokenizer of this checkpoint has other special tokens than this version of maskbench")
        return cls(row["merges"])


def fit_tokenizer(kind: str, texts: Iterable[str]) -> Tokenizer:
    """``byte``, or ``bpe_<n>`` with ``n`` tokens fitted on ``texts``. Raises ConfigError for other names, MissingExtraError
    for BPE without the package ``tokenizers``."""
    if kind == "byte":
        return Tokenizer()
    size = re.fullmatch(r"bpe_(\d+)", kind)
    if not size or int(size[1]) < 257:
        raise ConfigError(f"tokenizer '{kind}' is unknown. Valid: byte, bpe_<n> with n > 256, such as bpe_1200")
    try:
        from tokenizers import ByteLevelBPETokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", "text", "byte pair encoding") from error
    bpe = ByteLevelBPETokenizer()
    pieces = (piece for text in texts for piece in _SPECIAL.split(text) if piece)
    bpe.train_from_iterator(pieces, vocab_size=int(size[1]), min_frequency=2, show_progress=False)
    return Tokenizer(bpe.to_str())


def read_tokenizer(folder: Path) -> Tokenizer:
    """The byte pairs of a folder of GPT-2: ``vocab.json`` and ``merges.txt``, or ``tokenizer.json``. Raises ConfigError where
    it has none, MissingExtraError without the package ``tokenizers``."""
    try:
        from tokenizers import ByteLevelBPETokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", "text", "byte pair encoding") from error
    vocab, merges, whole = (folder / name for name in ("vocab.json", "merges.txt", "tokenizer.json"))
    if vocab.is_file() and merges.is_file():
        return Tokenizer(ByteLevelBPETokenizer.from_file(str(vocab), str(merges)).to_str())
    if whole.is_file():
        return Tokenizer(whole.read_text(encoding="utf-8"))
    raise ConfigError(f"{folder} holds no tokenizer: expected vocab.json and merges.txt, or tokenizer.json")


def _load_bpe(merges: str) -> Any:
    try:
        from tokenizers import Tokenizer as Fast
    except ImportError as error:
        raise MissingExtraError("tokenizers", "text", "byte pair encoding") from error
    json.loads(merges)
    return Fast.from_str(merges)
