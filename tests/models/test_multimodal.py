"""Heads on actions with two modes: mixtures and bins keep both, regression stands between them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskbench.models.heads import BinsHead, HeadChoice, MixtureHead, build_head
from maskbench.models.heads.sampling import Sampling
from maskbench.tokens.kmeans import fit_kmeans
from maskbench.trajectory import Factor

ACTION = Factor("action", "continuous", "action", (2,))
STATE = torch.ones(1, 4)


def two_modes(n: int = 512) -> torch.Tensor:
    """(1, 0.5) or (-1, 0.5), half of the time each, with a deviation of 0.05."""
    g = torch.Generator().manual_seed(0)
    side = torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0)
    return torch.stack([side, torch.full((n,), 0.5)], 1) + 0.05 * torch.randn(n, 2, generator=g)


def learned(choice: HeadChoice, steps: int = 300):
    """A head after gradient descent on the two modes, all from the same state."""
    torch.manual_seed(0)
    values = two_modes()
    head = build_head(ACTION, 4, choice)
    head.fit(values)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(steps):
        terms = head.losses(head(STATE.expand(len(values), -1)), values)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum(0).mean().backward()
        optimiser.step()
    return head


def samples(head, how: Sampling, n: int = 2000) -> np.ndarray:
    u = torch.rand(n, head.num_uniforms, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        return head.sample(head(STATE.expand(n, -1)), u, how).numpy()


@pytest.mark.parametrize("kind", ["mdn", "bins"])
def test_both_modes_are_kept_in_their_shares(kind: str) -> None:
    drawn = samples(learned(HeadChoice(kind=kind, num_bins=2, focal_gamma=0.0)), Sampling())
    assert np.abs(drawn[:, 0]).min() > 0.5
    assert (drawn[:, 0] > 0).mean() == pytest.approx(0.5, abs=0.06)
    assert drawn[:, 1].mean() == pytest.approx(0.5, abs=0.02)


def test_regression_stands_between_the_modes_where_no_action_was() -> None:
    head = learned(HeadChoice(kind="mse"))
    with torch.no_grad():
        assert head.mode(head(STATE))[0].tolist() == pytest.approx([0, 0.5], abs=0.03)


def test_one_bin_is_a_regression_too() -> None:
    drawn = samples(learned(HeadChoice(kind="bins", num_bins=1)), Sampling())
    assert drawn.mean(0).tolist() == pytest.approx([0, 0.5], abs=0.03)
    assert np.ptp(drawn, axis=0).max() == 0


def test_a_mixture_learns_the_deviation_and_spread_takes_it_away() -> None:
    head = learned(HeadChoice(kind="mdn", num_bins=2, std_floor=0.01))
    assert isinstance(head, MixtureHead)
    drawn = samples(head, Sampling())
    assert drawn[drawn[:, 0] > 0].std(0).tolist() == pytest.approx([0.05, 0.05], rel=0.3)
    still = samples(head, Sampling(spread=0.0))
    assert len(np.unique(still.round(5), axis=0)) == 2
    assert np.unique(np.sign(still[:, 0])).tolist() == [-1, 1]


def test_the_floor_bounds_the_deviation_on_repeated_values() -> None:
    head = MixtureHead(ACTION, 4, num_components=3, std_floor=0.1)
    head.fit(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(20, 1))  # two values, three components
    assert sorted(head.centres[:, 0].tolist()) == [-1, -1, 1] or sorted(head.centres[:, 0].tolist()) == [-1, 1, 1]
    params = torch.full((1, 15), -50.0)
    assert head.split(params)[2].min() >= 0.1


def test_the_likelihood_of_a_mixture_is_that_of_torch() -> None:
    head, g = MixtureHead(ACTION, 4, num_components=3), torch.Generator().manual_seed(0)
    params, values = torch.randn(7, 15, generator=g), torch.randn(7, 2, generator=g)
    logits, means, std = head.split(params)
    normal = torch.distributions.Independent(torch.distributions.Normal(means, std), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=logits), normal)
    torch.testing.assert_close(head.losses(params, values)["nll"], -mixture.log_prob(values) / 2)


def test_standardised_bins_are_not_decided_by_the_dimension_of_the_largest_range() -> None:
    g = torch.Generator().manual_seed(0)
    side = torch.where(torch.rand(400, generator=g) < 0.5, 1.0, -1.0)
    values = torch.stack([100 * torch.randn(400, generator=g), 0.1 * side], 1)
    raw, scaled = (BinsHead(ACTION, 4, num_bins=2, standardise=s) for s in (False, True))
    raw.fit(values)
    scaled.fit(values)
    agreement = [(head.encode(values) == (side > 0)).float().mean() for head in (raw, scaled)]
    assert max(float(agreement[1]), 1 - float(agreement[1])) > 0.99
    assert max(float(agreement[0]), 1 - float(agreement[0])) < 0.7
    assert "scale" not in raw.state_dict()  # checkpoints of earlier versions load


def test_restarts_find_centres_of_lower_inertia() -> None:
    g = torch.Generator().manual_seed(3)
    values = torch.randn(20, 1, 2, generator=g) * 5 + 0.1 * torch.randn(20, 30, 2, generator=g)
    values = values.flatten(0, 1)

    def inertia(restarts: int, seed: int) -> float:
        return float(torch.cdist(values, fit_kmeans(values, 20, seed, restarts)).amin(1).square().sum())

    once = [inertia(1, s) for s in range(8)]
    assert inertia(10, 0) <= once[0]
    assert inertia(10, 0) < np.mean(once)
