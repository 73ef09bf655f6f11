"""Both sides of the benchmark do the same work; speed itself is not tested."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.cases import CASES, QUICK, Case
from benchmarks.measure import compare

from benchmarks import ours, plain, run, stacked_seeds
from maskbench.trajectory import Window


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    if request.param == "walker":
        pytest.importorskip("dm_control")
    return CASES[request.param](**QUICK[request.param])


def test_both_sides_slice_the_same_windows(case: Case) -> None:
    sampler, dataset = case.sampler(), plain.WindowDataset(case)
    assert sampler.num_windows == len(dataset)
    mine = next(sampler.all_windows())
    other = dataset.collate(np.arange(min(case.batch_size, len(dataset))))
    assert set(mine.values) == set(other.values)
    for name, value in mine.values.items():
        torch.testing.assert_close(value, other.values[name])


def test_both_sides_hide_as_many_cells(case: Case) -> None:
    rows = 4000
    mine = case.scheme.sample(torch.Generator().manual_seed(0), rows, case.layout)
    other = plain.mask_drawer(case)(np.random.default_rng(0), rows)
    for a, b in ((mine.visible, other.visible), (mine.predict, other.predict)):
        assert a.shape == b.shape
        torch.testing.assert_close(a.float().mean(0), b.float().mean(0), atol=0.04, rtol=0)
    assert mine.max_visible == other.max_visible


def test_both_sides_compute_the_same_loss_and_gradient(case: Case) -> None:
    network = deepcopy(case.network).eval()
    window: Window = case.sampler().batch(0)
    masks = plain.mask_drawer(case)(np.random.default_rng(0), case.batch_size)
    losses = case.objective(network, window, masks)["loss"], plain.loss(case, network, window, masks)
    torch.testing.assert_close(*losses)
    parameters = list(network.parameters())
    mine, other = (torch.autograd.grad(value, parameters, allow_unused=True) for value in losses)
    for a, b in zip(mine, other, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_both_sides_play_the_same_episodes(case: Case) -> None:
    records = ours.roll_out(case, slots=5)
    returns, lengths = zip(*plain.roll_out(case, case.network), strict=True)
    assert [r.length for r in records] == list(lengths)
    np.testing.assert_allclose([r.episode_return for r in records], returns, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_quick_run_reports_every_comparison(tmp_path: Path) -> None:
    results = run.main(["--quick", "--case", "doorkey", "--json", str(tmp_path / "speed.json")])
    assert [r.measure for r in results] == ["windows", "masks", "training samples", "rollout steps"]
    written = json.loads((tmp_path / "speed.json").read_text())
    assert written["machine"]["threads"] == 1
    assert [r["case"] for r in written["results"]] == ["doorkey"] * 4
    assert all(0 < low <= middle <= high for r in results for low, middle, high in r.ratios.values())


def test_a_ratio_is_that_of_turns_side_by_side() -> None:
    plain_seconds, our_seconds = iter([9.0, 2.0, 4.0, 6.0]), iter([9.0, 1.0, 1.0, 2.0])
    ways = {"plain": lambda: next(plain_seconds), "maskbench": lambda: next(our_seconds)}
    result = compare("case", "things", 12, ways, repeats=3)
    assert result.ratios == {"maskbench": (2.0, 3.0, 4.0)}
    assert result.rates == {"plain": 3.0, "maskbench": 12.0}


@pytest.mark.slow
def test_a_quick_run_of_stacked_seeds_compares_every_number_of_seeds() -> None:
    results = stacked_seeds.main(["--quick", "--seeds", "1", "2"])
    assert [(r.measure, r.case.split(", ")[-1]) for r in results] == [
        (f"{seeds} seeds", precision) for precision in ("fp32", "bf16") for seeds in (1, 2)
    ]
    assert all(0 < low <= middle <= high for r in results for low, middle, high in r.ratios.values())
