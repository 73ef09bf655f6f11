"""Many continuations of one text scored in one pass: a tree of tokens whose nodes look at their ancestors (TTM spec 6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maskbench.models.cache import KeyValueCache
from maskbench.models.language import LanguageModel


@dataclass(frozen=True)
class Tree:
    """Continuations that share their beginnings. Node ``i`` is ``tokens[i]`` behind ``parents[i]`` (-1: behind the text);
    ``ends[c]`` is the last node of continuation ``c``, ``paths[c]`` all of them."""

    tokens: list[int]
    parents: list[int]
    paths: list[list[int]]

    @classmethod
    def of(cls, continuations: Sequence[Sequence[int]]) -> Tree:
        tokens: list[int] = []
        parents: list[int] = []
        known: dict[tuple[int, int], int] = {}
        paths = []
        for continuation in continuations:
            at, path = -1, []
            for token in continuation:
                if (at, token) not in known:
                    known[at, token] = len(tokens)
                    tokens.append(token)
                    parents.append(at)
                at = known[at, token]
                path.append(at)
            paths.append(path)
        return cls(tokens, parents, paths)


@torch.no_grad()
def score(model: LanguageModel, cache: KeyValueCache, rows: Tensor, last: Tensor, trees: Sequence[Tree]) -> list[list[Tensor]]:
    """For each row and each continuation the log-probability of each of its tokens, ``(tokens,)``.

    rows: ``(n,)`` rows of the cache; last: ``(n, D)`` states of the newest token of each. The cache is not changed.
    """
    n, m, device = len(trees), max(len(t.tokens) for t in trees), last.device
    tokens = torch.zeros(n, m, dtype=torch.int64)
    depth = torch.zeros(n, m, dtype=torch.int64)
    ancestors = torch.eye(m, dtype=torch.bool).repeat(n, 1, 1)
    for i, tree in enumerate(trees):
        tokens[i, : len(tree.tokens)] = torch.tensor(tree.tokens)
        for node, parent in enumerate(tree.parents):
            if parent >= 0:
                ancestors[i, node] |= ancestors[i, parent]
                depth[i, node] = depth[i, parent] + 1
    states = model.branches(cache, rows, tokens.to(device), depth.to(device), ancestors.to(device))
    scored = []
    for i, tree in enumerate(trees):
        before = torch.tensor(tree.parents, device=device) + 1  # 0 = the text itself
        unique, inverse = before.unique(return_inverse=True)
        each = torch.cat([last[i : i + 1], states[i]])[unique]
        logp = model.logits(each).float().log_softmax(-1)[inverse, torch.tensor(tree.tokens, device=device)]
        logp = logp.cpu()
        scored.append([logp[path] for path in tree.paths])
    return scored
