import csv
import math
from pathlib import Path

import numpy as np
import pytest

from maskbench.envs.base import Measure
from maskbench.errors import ConfigError
from maskbench.rollout.metrics import (
    MetricRow,
    bootstrap_entropy,
    bootstrap_mean,
    bootstrap_median,
    paired_difference,
    summarise,
    wilson,
    write_metrics,
)
from maskbench.trajectory import EpisodeRecord


def record(row: int, total: float = 0.0, success: bool | None = True, query: str = "bc", **more: object) -> EpisodeRecord:
    return EpisodeRecord(row, "toy", row, row, query, total, 10, success, False, **more)  # type: ignore[arg-type]


def by_name(rows: list[MetricRow]) -> dict[str, MetricRow]:
    return {r.metric: r for r in rows}


def test_wilson_gives_the_textbook_interval() -> None:
    found = wilson(8, 10)
    assert (found.value, found.n) == (0.8, 10)
    assert (found.low, found.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 5).low == 0
    assert wilson(0, 5).high > 0.4
    with pytest.raises(ConfigError):
        wilson(1, 0)


def test_bootstrap_interval_covers_and_shrinks_and_repeats() -> None:
    draw = np.random.default_rng(0).normal(2.0, 1.0, 400)
    few, many = bootstrap_mean(draw[:40]), bootstrap_mean(draw)
    assert many.low < 2.0 < many.high
    assert many.high - many.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert few.high - few.low > 2 * (many.high - many.low)
    assert bootstrap_mean(draw) == many


def test_constant_single_and_two_valued_samples_have_honest_intervals() -> None:
    assert bootstrap_mean([3.0] * 7) == bootstrap_median([3.0] * 7)
    assert (bootstrap_mean([3.0] * 7).low, bootstrap_mean([3.0] * 7).high) == (3.0, 3.0)
    single = bootstrap_mean([3.0])
    assert single.value == 3.0
    assert math.isnan(single.low)
    pair = bootstrap_mean([0.0, 1.0])
    assert 0 <= pair.low <= 0.5 <= pair.high <= 1
    with pytest.raises(ConfigError):
        bootstrap_mean([])


def test_pairing_finds_a_small_difference_that_the_spread_hides() -> None:
    draw = np.random.default_rng(1)
    b = draw.normal(0, 10, 60)
    a = b + draw.normal(0.5, 0.2, 60)
    paired = paired_difference(a, b)
    assert 0 < paired.low < 0.5 < paired.high
    assert bootstrap_mean(a).low < bootstrap_mean(b).high
    with pytest.raises(ConfigError, match="3 and 2"):
        paired_difference([1, 2, 3], [1, 2])


def test_summary_states_each_metric_with_its_definition_and_sources() -> None:
    def one(i: int, d: float) -> EpisodeRecord:
        distances = {"goal_distance": d, "final_goal_distance": d + 1}
        return record(i, float(i), i < 3, metrics=distances, events=((1, "key"), (2, "key")) if i else ())

    records = [one(i, d) for i, d in enumerate([1.0, 2.0, 9.0, 4.0])]
    rows = summarise(records, "bet", config_hash="c0", dataset_hash="d0")
    found = by_name(rows)
    assert found["return"].value == 1.5
    assert found["success"].value == 0.75
    assert found["goal_distance"].value == 4.0
    assert found["goal_distance_median"].value == 3.0
    assert found["final_goal_distance"].value == 5.0
    assert found["event:key"].value == 0.75  # once an episode, however often it happens
    assert {(r.policy, r.query, r.n, r.config_hash, r.dataset_hash) for r in rows} == {("bet", "bc", 4, "c0", "d0")}
    assert len({r.seeds for r in rows}) == 1
    assert all(r.definition for r in rows)


def test_success_is_left_out_where_the_environment_has_no_such_notion() -> None:
    assert "success" not in by_name(summarise([record(0, success=None), record(1, success=None)]))


def test_modes_are_counted_per_episode_with_entropy_in_bits() -> None:
    up, down = ((2, "route:up"),), ((2, "route:down"),)
    records = [record(i, events=e) for i, e in enumerate([up, up, down, down, ()])]
    found = by_name(summarise(records, known_modes=("up", "down", "middle", "left")))
    assert found["mode:up"].value == found["mode:down"].value == 0.4
    assert found["mode:middle"].value == 0
    assert found["mode:none"].value == 0.2
    assert found["mode_entropy"].value == 1.0
    assert found["mode_entropy"].n == 4
    assert found["mode_coverage"].value == 0.5
    assert "mode_entropy" not in by_name(summarise([record(0)]))


def test_queries_are_summarised_apart() -> None:
    rows = summarise([record(0, 1.0), record(1, 5.0, query="goal")])
    assert [(r.query, r.value) for r in rows if r.metric == "return"] == [("bc", 1.0), ("goal", 5.0)]


def test_csv_has_the_agreed_columns_and_empty_cells_for_missing_bounds(tmp_path: Path) -> None:
    write_metrics(summarise([record(0, 2.5)], "random"), tmp_path / "evaluation" / "rollouts.csv")
    with (tmp_path / "evaluation" / "rollouts.csv").open() as file:
        first = next(csv.DictReader(file))
    assert list(first)[:7] == ["query", "policy", "metric", "value", "low", "high", "n"]
    assert (first["metric"], first["value"], first["low"], first["n"]) == ("return", "2.5", "", "1")


def test_named_events_have_a_row_also_where_they_never_happen() -> None:
    found = by_name(summarise([record(0, events=((1, "key"), (2, "noise")))] * 4, events=("key", "door")))
    assert (found["event:key"].value, found["event:door"].value) == (1, 0)
    assert found["event:door"].high > 0
    assert "event:noise" not in found


def test_an_environments_measures_are_rates_means_and_entropies_with_intervals() -> None:
    def measures(records: list[EpisodeRecord]) -> list[Measure]:
        n = len(records)
        return [
            Measure("half", "", "rate", [i % 2 == 0 for i in range(n)]),
            Measure("size", "", "mean", list(range(n))),
            Measure("bits", "", "entropy", [("a",) if i % 4 else ("b", "c") for i in range(n)]),
            Measure("bits_of_100", "", "subset_entropy", [("a",) if i % 2 else ("b",) for i in range(n)]),
            Measure("none", "", "entropy", [()] * n),
        ]

    found = by_name(summarise([record(i) for i in range(200)], measures=measures))  # type: ignore[arg-type]
    assert found["half"].value == 0.5
    assert found["size"].value == 99.5
    assert found["bits"].value == pytest.approx(-(0.6 * math.log2(0.6) + 0.4 * math.log2(0.2)))
    assert 0.99 < found["bits_of_100"].value < 1
    assert math.isnan(found["none"].value)
    for name in ("half", "size", "bits", "bits_of_100"):
        assert found[name].low < found[name].value <= found[name].high


def test_the_interval_of_an_entropy_covers_the_truth() -> None:
    rng, shares = np.random.default_rng(0), np.array([0.5, 0.25, 0.125, 0.125])
    intervals = [bootstrap_entropy([(str(s),) for s in rng.choice(4, 120, p=shares)]) for _ in range(60)]
    assert sum(i.low <= 1.75 <= i.high for i in intervals) >= 52
    assert np.mean([i.high - i.low for i in intervals]) < 0.4
