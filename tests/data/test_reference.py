"""D4RL reference returns."""

from __future__ import annotations

import pytest

from maskbench.data.reference import normalised_score, reference_returns
from maskbench.errors import DataError


@pytest.mark.parametrize(
    ("env_id", "low", "high"),
    [
        ("maze2d-umaze-v1", 23.85, 161.86),
        ("maze2d-medium-v1", 13.13, 277.39),
        ("maze2d-large-v1", 6.7, 273.99),
        ("maze2d-open-v0", 0.01, 20.66),
        ("maze2d-umaze-dense-v1", 68.537689, 193.662856),
        ("maze2d-medium-dense-v1", 44.264742, 297.455255),
        ("maze2d-large-dense-v1", 30.569041, 303.485738),
        ("kitchen-complete-v0", 0, 4),
        ("kitchen-partial-v0", 0, 4),
        ("kitchen-mixed-v0", 0, 4),
        ("hopper-medium-replay-v2", -20.272305, 3234.3),
        ("walker2d-full-replay-v1", 1.629008, 4592.3),
        ("halfcheetah-expert-v0", -280.178953, 12135.0),
        ("door-cloned-v1", -56.512833, 2880.569309),
    ],
)
def test_reference_returns_are_0_and_100(env_id: str, low: float, high: float) -> None:
    assert reference_returns(env_id) == pytest.approx((low, high))
    assert normalised_score(env_id, low) == pytest.approx(0, abs=1e-6)
    assert normalised_score(env_id, high) == pytest.approx(100, abs=1e-5)


@pytest.mark.parametrize(("maze", "value", "score"), [("umaze", 234, 152), ("medium", 480, 177), ("large", 632, 234)])
def test_measured_point_maze_returns_have_the_measured_scores(maze: str, value: float, score: float) -> None:
    assert normalised_score(f"maze2d-{maze}-v1", value) == pytest.approx(score, abs=0.6)


def test_scores_are_linear() -> None:
    assert normalised_score("kitchen-partial-v0", 3) == 75
    assert normalised_score("kitchen-partial-v0", 5) == 125


@pytest.mark.parametrize("env_id", ["maze2d-umaze-v2", "hopper-human-v0", "kitchen"])
def test_an_unknown_id_is_refused(env_id: str) -> None:
    with pytest.raises(DataError, match=f"no D4RL reference score is known for '{env_id}'"):
        normalised_score(env_id, 1.0)
