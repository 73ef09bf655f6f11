"""Actions as a few codes: the residual vector-quantised autoencoder of VQ-BeT (Lee et al. 2024; BeT spec 5.2).

action (chunk) -> encoder -> z -> code 1 = nearest of codebook 1,  z - code 1 -> code 2 = nearest of codebook 2, ...
codes -> sum of their vectors -> decoder -> action (chunk)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskbench.errors import DataError
from maskbench.tokens.kmeans import fit_kmeans

#: Told the step, the steps there will be, and the reconstruction error of the batch.
Watch = Callable[[int, int, float], None]
#: Codes move this slowly towards the mean of what chose them.
DECAY = 0.9
#: Times a batch, on average, below which a code is given up.
RARELY = 0.05


class ResidualVQ(nn.Module):
    """``G`` codes of ``C`` classes each for values ``(..., d)``; trained by ``fit``, frozen for everyone else.

    num_groups, num_codes: ``G`` and ``C``.
    n_embd, n_hidden: width of the code vectors and of the hidden layers.
    steps, batch_size, lr: of ``fit``; Adam with weight decay 1e-4.
    recon_weight, commit_weight: of the mean absolute error and of the distance between vectors and their codes.
    """

    def __init__(
        self,
        dims: int,
        num_groups: int = 2,
        num_codes: int = 16,
        n_embd: int = 64,
        n_hidden: int = 128,
        steps: int = 1000,
        batch_size: int = 256,
        lr: float = 1e-3,
        recon_weight: float = 1.0,
        commit_weight: float = 5.0,
    ) -> None:
        super().__init__()
        self.num_groups, self.num_codes = num_groups, num_codes
        self.steps, self.batch_size, self.lr = steps, batch_size, lr
        self.recon_weight, self.commit_weight = recon_weight, commit_weight
        self.encoder = perceptron(dims, n_hidden, n_embd)
        self.decoder = perceptron(n_embd, n_hidden, dims)
        self.register_buffer("codebooks", torch.zeros(num_groups, num_codes, n_embd))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self.codebooks: Tensor
        self.fitted: Tensor
        self.requires_grad_(False)

    def encode(self, value: Tensor) -> Tensor:
        """Codes ``(..., G)`` int64. Raises DataError before ``fit``."""
        if not bool(self.fitted):
            raise DataError("the action codec was never fitted: call fit(values) or load a trained checkpoint first")
        return self._quantise(self.encoder(value.float()).float())[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Values ``(..., d)`` of codes ``(..., G)``."""
        return self.decoder(self._vectors(codes))

    def _vectors(self, codes: Tensor) -> Tensor:
        """Sums of code vectors ``(..., n_embd)``."""
        return torch.stack([F.embedding(codes[..., g], self.codebooks[g]) for g in range(self.num_groups)]).sum(0)

    def _quantise(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Codes ``(..., G)`` and what each group was given to quantise."""
        rest, codes, inputs = z, [], []
        for book in self.codebooks:
            index = torch.cdist(rest.flatten(0, -2), book).argmin(-1).view(rest.shape[:-1])
            inputs.append(rest)
            codes.append(index)
            rest = rest - F.embedding(index, book)
        return torch.stack(codes, -1), inputs

    def fit(self, values: Tensor, watch: Watch | None = None, seed: int = 0) -> float:
        """Trains on values ``(N, d)``; returns the mean absolute reconstruction error over them. Reproducible by ``seed``,
        and torch's global generator is left as it was."""
        device, flat = self.codebooks.device, values.float()
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._initialise()
        self.requires_grad_(True)
        optimiser = torch.optim.Adam(self.parameters(), self.lr, weight_decay=1e-4)
        usage = torch.ones(self.num_groups, self.num_codes, device=device)
        with torch.enable_grad():
            for step in range(self.steps):
                batch = flat[torch.randint(len(flat), (min(self.batch_size, len(flat)),), generator=generator)].to(device)
                z = self.encoder(batch)
                if step == 0:
                    self._seed_codebooks(z.detach())
                error = self._update(batch, z, optimiser, usage, generator)
                if watch is not None and (step % 50 == 49 or step + 1 == self.steps):
                    watch(step + 1, self.steps, float(error))
        self.requires_grad_(False)
        self.fitted.fill_(True)
        with torch.no_grad():
            parts = [(self.decode(self.encode(x.to(device))) - x.to(device)).abs().sum() for x in flat.split(8192)]
        return float(torch.stack(parts).sum()) / flat.numel()

    def _update(
        self, batch: Tensor, z: Tensor, optimiser: torch.optim.Optimizer, usage: Tensor, generator: torch.Generator
    ) -> Tensor:
        """One step: the autoencoder by gradients (straight through the codes), the codebooks by moving averages."""
        codes, inputs = self._quantise(z.detach())
        whole = self._vectors(codes)
        error = (self.decoder(z + (whole - z).detach()) - batch).abs().mean()
        commit, reached = torch.zeros((), device=z.device), torch.zeros_like(z)
        for g in range(self.num_groups):
            target = F.embedding(codes[..., g], self.codebooks[g])
            commit = commit + F.mse_loss(z - reached, target)
            reached = reached + target
        optimiser.zero_grad()
        (self.recon_weight * error + self.commit_weight * commit).backward()
        optimiser.step()
        for g in range(self.num_groups):
            self._move(g, codes[:, g], inputs[g], usage[g], generator)
        return error.detach()

    @torch.no_grad()
    def _move(self, group: int, codes: Tensor, vectors: Tensor, usage: Tensor, generator: torch.Generator) -> None:
        """Codes follow the mean of what chose them; one that is hardly ever chosen starts again at one of the vectors."""
        book, count = self.codebooks[group], torch.bincount(codes, minlength=self.num_codes)
        means = torch.zeros_like(book).index_add_(0, codes, vectors) / count.clamp(min=1)[:, None]
        book.lerp_(torch.where((count > 0)[:, None], means, book), 1 - DECAY)
        usage.lerp_(count.to(usage), 1 - DECAY)
        dead = usage < RARELY
        anew = torch.randint(len(vectors), (self.num_codes,), generator=generator).to(vectors.device)
        book.copy_(torch.where(dead[:, None], vectors[anew], book))
        usage.masked_fill_(dead, 1.0)

    def _seed_codebooks(self, z: Tensor) -> None:
        """Codebooks start as the centres of what they will quantise."""
        rest = z
        for book in self.codebooks:
            distinct = len(torch.unique(rest, dim=0))
            found = fit_kmeans(rest, min(self.num_codes, distinct), restarts=1).to(book)
            book.copy_(found[torch.arange(self.num_codes) % len(found)])
            rest = rest - F.embedding(torch.cdist(rest, book).argmin(-1), book)

    def _initialise(self) -> None:
        for linear in (m for m in self.modules() if isinstance(m, nn.Linear)):
            nn.init.orthogonal_(linear.weight)
            nn.init.zeros_(linear.bias)


def perceptron(wide: int, hidden: int, out: int) -> nn.Sequential:
    """``Linear, ReLU, Linear, ReLU, Linear``."""
    return nn.Sequential(nn.Linear(wide, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, out))
