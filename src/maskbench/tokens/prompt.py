"""Prompts as tables of tokens: words, the objects of pictures, and what each token is (VIMA spec 2.2, 5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from maskbench.errors import ConfigError, DataError, MissingExtraError
from maskbench.objects import OBJECT_BYTES, VIEWS, prompt_cells, small_pictures
from maskbench.prompt import PLACEHOLDER, Prompt
from maskbench.tokens.wordpieces import Tokeniser, WordPieces

#: What a token is; padding is neither.
PADDING, WORD, IMAGE = 0, 1, 2
#: How pictures become tokens: one per object and view (VIMA); one per patch of 32 pixels of both views at half size (Gato);
#: a few latents of these patches (Flamingo); or one alone (VIMA-GPT).
Visual = Literal["objects", "patches", "perceiver", "single"]
#: Tokens of a picture that is not cut into objects.
PICTURE_TOKENS: Mapping[str, int] = {"patches": 16, "perceiver": 4, "single": 1}
#: Longest prompt of the published models.
LONGEST = 256
#: Texts whose pieces a tokeniser keeps.
_REMEMBERED = 65536


@dataclass(frozen=True)
class PromptTokens:
    """``B`` prompts of up to ``P`` tokens.

    kind:     ``(B, P)`` int64, PADDING, WORD or IMAGE.
    words:    ``(B, P)`` int64 word pieces; 0 where there is none.
    source:   ``(B, P)`` int64 place of an image token among those that ``pictures`` become; 0 where there is none.
    view:     ``(B, P)`` int64 camera of an image token.
    group:    ``(B, P)`` int64: tokens that are masked together have one number within their prompt: one word, one picture.
    pictures: ``(M, OBJECT_BYTES)`` uint8, one token each; or ``(M, V, 3, 64, 128)`` uint8, as many as ``PICTURE_TOKENS`` each.
    """

    kind: Tensor
    words: Tensor
    source: Tensor
    view: Tensor
    group: Tensor
    pictures: Tensor

    @property
    def valid(self) -> Tensor:
        """``(B, P)`` bool."""
        return self.kind != PADDING

    @property
    def positions(self) -> Tensor:
        """``(B, P)`` int64: valid tokens before each one. Masking does not shift them."""
        return (self.valid.long().cumsum(1) - 1).clamp(min=0)

    def rows(self, index: Any) -> PromptTokens:
        """Some of the prompts; pictures stay together."""
        return replace(self, **{n: getattr(self, n)[index] for n in ("kind", "words", "source", "view", "group")})

    def to(self, device: torch.device | str) -> PromptTokens:
        return PromptTokens(*(getattr(self, n).to(device) for n in self.__dataclass_fields__))

    def padded(self, length: int) -> PromptTokens:
        """The same prompts with padding up to ``length`` tokens."""
        more = length - self.kind.shape[1]
        if more < 0:
            raise ConfigError(f"a prompt of {self.kind.shape[1]} tokens does not fit {length}; raise model.prompt_length")
        names = ("kind", "words", "source", "view", "group")
        return replace(self, **{n: torch.nn.functional.pad(getattr(self, n), (0, more)) for n in names})


@dataclass(frozen=True)
class Readable:
    """A prompt whose pictures are ready to become tokens: its text, and per placeholder cells ``(V, n, OBJECT_BYTES)`` or
    pictures ``(V, 3, 64, 128)`` uint8."""

    text: str
    pictures: Mapping[str, np.ndarray]


class PromptTokeniser:
    """Prompts to ``PromptTokens``.

    tokeniser:    of words; the fixed vocabulary by default.
    pad_pictures: gives every picture of a prompt the tokens of its largest, the others as padding, as VIMA does; relative
                  positions then depend on unseen objects (objects only).
    legacy_ids:   CoGeLoT's crops (``tokens.objects.prompt_cells``).
    """

    def __init__(
        self,
        tokeniser: Tokeniser | None = None,
        visual: Visual = "objects",
        length: int = LONGEST,
        pad_pictures: bool = False,
        legacy_ids: bool = False,
    ) -> None:
        self.tokeniser = tokeniser or WordPieces()
        self.visual, self.length, self.pad_pictures, self.legacy_ids = visual, length, pad_pictures, legacy_ids
        self._encoded: dict[str, tuple[int | str, ...]] = {}

    def prepare(self, prompt: Prompt) -> Readable:
        """Cuts the pictures of a prompt."""
        if self.visual == "objects":
            return Readable(prompt.text, {n: prompt_cells(image, self.legacy_ids) for n, image in prompt.images.items()})
        pictures = {n: small_pictures({v: i.rgb[v][None] for v in VIEWS})[0] for n, i in prompt.images.items()}
        return Readable(prompt.text, pictures)

    def __call__(self, prompts: Sequence[Readable], length: int | None = None) -> PromptTokens:
        """A table as long as its longest prompt, or ``length``. Raises DataError for prompts that do not fit."""
        pool: list[np.ndarray] = []
        rows = [self._row(p, pool) for p in prompts]
        longest = max(row.shape[1] for row in rows)
        if longest > (length or self.length):
            text = prompts[int(np.argmax([row.shape[1] for row in rows]))].text
            raise DataError(
                f"the prompt '{text}' has {longest} tokens; {length or self.length} fit. Raise model.prompt_length."
            )
        table = np.zeros((5, len(rows), length or longest), np.int64)
        for i, row in enumerate(rows):
            table[:, i, : row.shape[1]] = row
        shape = (0, OBJECT_BYTES) if self.visual == "objects" else (0, len(VIEWS), 3, 64, 128)
        pictures = np.concatenate(pool) if pool else np.zeros(shape, np.uint8)
        kind, words, source, view, group = torch.from_numpy(table)
        return PromptTokens(kind, words, source, view, group, torch.from_numpy(pictures))

    def _encode(self, text: str) -> tuple[int | str, ...]:
        if text not in self._encoded:
            if len(self._encoded) >= _REMEMBERED:
                self._encoded.clear()
            self._encoded[text] = tuple(self.tokeniser.encode(text))
        return self._encoded[text]

    def _row(self, prompt: Readable, pool: list[np.ndarray]) -> np.ndarray:
        """``(5, n)``: kind, words, source, view and group of one prompt; its pictures go to ``pool``."""
        columns: list[tuple[int, int, int, int, int]] = []
        most = max((p.shape[1] for p in prompt.pictures.values()), default=0) if self.pad_pictures else 0
        for group, item in enumerate((*self._encode(prompt.text), self.tokeniser.end)):
            if isinstance(item, str):
                columns += self._picture(prompt.pictures[item], group, pool, most)
            else:
                columns.append((WORD, item, 0, 0, group))
        return np.array(columns, np.int64).T

    def _picture(
        self, cells: np.ndarray, group: int, pool: list[np.ndarray], most: int
    ) -> Iterable[tuple[int, int, int, int, int]]:
        begin = sum(map(len, pool))
        if self.visual != "objects":
            pool.append(cells[None])
            many = PICTURE_TOKENS[self.visual]
            return [(IMAGE, 0, source, 0, group) for source in range(begin * many, (begin + 1) * many)]
        seen = cells[..., -1] > 0  # (V, n)
        view, slot = np.nonzero(seen)
        pool.append(cells[view, slot])
        found = [(IMAGE, 0, begin + i, int(v), group) for i, v in enumerate(view)]
        if not most:
            return found
        padded: list[tuple[int, int, int, int, int]] = []
        for v in range(len(VIEWS)):
            mine = [row for row in found if row[3] == v]
            padded += [*mine, *[(PADDING, 0, 0, v, group)] * (most - len(mine))]
        return padded


class LocalT5Tokeniser:
    """The tokeniser of a T5 checkpoint in a local folder (``tokenizer.json``); nothing is ever downloaded.

    Raises MissingExtraError without the ``tokenizers`` package, ConfigError where the folder holds no tokeniser.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError("tokenizers", "text", "Reading a T5 tokeniser") from error
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise ConfigError(f"{folder} holds no tokenizer.json: point model.text.path at a local copy of a T5 checkpoint")
        self._inner = Tokenizer.from_file(str(path))
        self.size = self._inner.get_vocab_size()
        self.end = int(self._inner.token_to_id("</s>") or 0)

    def encode(self, text: str) -> list[int | str]:
        found: list[int | str] = []
        place = 0
        for match in PLACEHOLDER.finditer(text):
            found += [*self.pieces(text[place : match.start()]), match[1]]
            place = match.end()
        return [*found, *self.pieces(text[place:])]

    def pieces(self, word: str) -> list[int]:
        return list(self._inner.encode(word.strip(), add_special_tokens=False).ids) if word.strip() else []

    def spell(self, pieces: Sequence[int]) -> str:
        return str(self._inner.decode(list(pieces))).replace(" ", "")
