"""Many continuations of one text scored in one pass: a tree of tokens whose nodes look at their ancestors (TTM spec 6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maskbench.models.language import Reading


@dataclass(frozen=True)
class Tree:
    """Continuations that share their beginnings. Node ``i`` is ``tokens[i]`` behind node ``parents[i]`` (-1: behind the text);
    ``paths[c]`` are the nodes of continuation ``c``."""

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


def score(reading: Reading, rows: Tensor, trees: Sequence[Tree]) -> list[list[Tensor]]:
    """For each row ``(n,)`` and each continuation the log-probability of each of its tokens, ``(tokens,)``."""
    n, m, device = len(trees), max(len(t.tokens) for t in trees), rows.device
    tokens = torch.zeros(n, m, dtype=torch.int64)
    parents = torch.full((n, m), -1)
    depth = torch.zeros(n, m, dtype=torch.int64)
    ancestors = torch.eye(m, dtype=torch.bool).repeat(n, 1, 1)
    for i, tree in enumerate(trees):
        tokens[i, : len(tree.tokens)] = torch.tensor(tree.tokens)
        parents[i, : len(tree.parents)] = torch.tensor(tree.parents)
        for path in tree.paths:
            nodes = torch.tensor(path)
            depth[i, nodes] = torch.arange(len(path))
            ancestors[i, nodes[:, None], nodes] |= torch.ones(len(path), len(path), dtype=torch.bool).tril()
    logp = reading.branches(rows, tokens.to(device), parents.to(device), depth.to(device), ancestors.to(device)).cpu()
    return [[logp[i, path] for path in tree.paths] for i, tree in enumerate(trees)]
