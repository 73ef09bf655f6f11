"""BM25 over short texts: memory of episodes, and the search behind questions (TTM spec 3.5)."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


def words(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return _WORD.findall(text.lower())


class BM25:
    """Robertson and Zaragoza's ranking (2009, eq. 3.15), over an inverted index.

    documents: what can be found; later ones win ties, since the newest of equal memories is worth most.
    k1, b:     saturation of word counts, and how much long documents are held back.
    """

    def __init__(self, documents: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        self.k1, self.b = k1, b
        self._lengths: list[int] = []
        self._index: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._arrays: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for document in documents:
            self.add(document)

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, document: str) -> None:
        """Appends a document."""
        counts = Counter(words(document))
        for word, count in counts.items():
            self._index[word].append((len(self._lengths), count))
            self._arrays.pop(word, None)
        self._lengths.append(sum(counts.values()))

    def scores(self, query: str) -> np.ndarray:
        """``(documents,)`` float64; 0 where no word of the query occurs."""
        found = np.zeros(len(self))
        lengths = np.asarray(self._lengths, np.float64)
        norm = self.k1 * (1 - self.b + self.b * lengths / max(1.0, lengths.mean())) if len(self) else lengths
        for word, times in Counter(words(query)).items():
            if word not in self._index:
                continue
            if word not in self._arrays:
                self._arrays[word] = tuple(np.array(self._index[word]).T)  # type: ignore[assignment]
            rows, counts = self._arrays[word]
            idf = math.log(1 + (len(self) - len(rows) + 0.5) / (len(rows) + 0.5))
            found[rows] += times * idf * counts * (self.k1 + 1) / (counts + norm[rows])
        return found

    def top(self, query: str, k: int) -> list[int]:
        """Indices of the ``k`` best documents that share a word with the query, best first."""
        scores = self.scores(query)
        order = sorted(range(len(self)), key=lambda i: (-scores[i], -i))[:k]
        return [i for i in order if scores[i] > 0]
