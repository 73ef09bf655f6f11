"""The index sets of uniMASK's tasks, row by row (spec 2.1)."""

import pytest
import torch
from tests.examples import discrete_spec

from maskbench.errors import ConfigError
from maskbench.masking.tasks import TASKS, NamedTask
from maskbench.tokens.layout import build_layout

LAYOUT = build_layout(discrete_spec(), 5)


def bits(cells: torch.Tensor, role: str) -> list[str]:
    """One string of 0 and 1 per row, for the first column of a role."""
    column = LAYOUT.columns(role)[0]
    return ["".join(str(int(v)) for v in row) for row in cells[:, :, column]]


def table(name: str, legacy: bool = False) -> list[tuple[str, str, str, str, str]]:
    task = NamedTask(name, legacy_wraparound=legacy)
    masks = task.at(torch.tensor(list(task.indices(5))), LAYOUT)
    v, p = masks.visible, masks.predict
    return list(zip(bits(v, "state"), bits(v, "action"), bits(v, "return"), bits(p, "state"), bits(p, "action"), strict=True))


NONE = "00000"
BC = [
    ("10000", "00000", NONE, NONE, "10000"),
    ("11000", "10000", NONE, NONE, "01000"),
    ("11100", "11000", NONE, NONE, "00100"),
    ("11110", "11100", NONE, NONE, "00010"),
    ("11111", "11110", NONE, NONE, "00001"),
]
TABLES = {
    "bc": BC,
    "return": [(s, a, "10000", ps, pa) for s, a, _, ps, pa in BC],
    "goal": [
        ("10001", "00000", NONE, NONE, "10000"),
        ("11001", "10000", NONE, NONE, "01000"),
        ("11101", "11000", NONE, NONE, "00100"),
        ("11111", "11100", NONE, NONE, "00010"),
    ],
    "waypoint": [
        ("11011", "00000", NONE, NONE, "10000"),
        ("11011", "10000", NONE, NONE, "01000"),
        ("11111", "11000", NONE, NONE, "00100"),
        ("11111", "11100", NONE, NONE, "00010"),
        ("11111", "11110", NONE, NONE, "00001"),
    ],
    "past": [
        ("01111", "01111", NONE, "10000", "10000"),
        ("00111", "00111", NONE, "11000", "11000"),
        ("00011", "00011", NONE, "11100", "11100"),
        ("00001", "00001", NONE, "11110", "11110"),
        (NONE, NONE, NONE, "11111", "11111"),
    ],
    "future": [
        ("10000", "00000", NONE, "01111", "11111"),
        ("11000", "10000", NONE, "00111", "01111"),
        ("11100", "11000", NONE, "00011", "00111"),
        ("11110", "11100", NONE, "00001", "00011"),
        ("11111", "11110", NONE, NONE, "00001"),
    ],
    "forward_dynamics": [
        ("10000", "10000", NONE, "01000", NONE),
        ("01000", "01000", NONE, "00100", NONE),
        ("00100", "00100", NONE, "00010", NONE),
        ("00010", "00010", NONE, "00001", NONE),
    ],
    "inverse_dynamics": [
        ("01000", "10000", NONE, "10000", NONE),
        ("00100", "01000", NONE, "01000", NONE),
        ("00010", "00100", NONE, "00100", NONE),
        ("00001", "00010", NONE, "00010", NONE),
    ],
    "inverse_dynamics_action": [
        ("11000", "00000", NONE, NONE, "10000"),
        ("01100", "00000", NONE, NONE, "01000"),
        ("00110", "00000", NONE, NONE, "00100"),
        ("00011", "00000", NONE, NONE, "00010"),
    ],
    "last_state": [("11110", "00010", NONE, "00001", NONE)],
    "action_between": [("11111", "00000", NONE, NONE, "00010")],
}


@pytest.mark.parametrize("name", TABLES)
def test_visible_and_predicted_cells_are_those_of_the_paper(name: str) -> None:
    assert table(name) == TABLES[name]


def test_every_task_has_a_table() -> None:
    assert set(TABLES) == set(TASKS)


def test_the_original_inverse_dynamics_wraps_its_first_sample() -> None:
    assert table("inverse_dynamics", legacy=True) == [
        ("10000", "00001", NONE, "00001", NONE),
        ("01000", "10000", NONE, "10000", NONE),
        ("00100", "01000", NONE, "01000", NONE),
        ("00010", "00100", NONE, "00100", NONE),
    ]


def test_waypoints_of_ten_steps_are_0_3_6_9(grid_layout) -> None:
    masks = NamedTask("waypoint").at(torch.tensor([1]), grid_layout)
    assert masks.visible[0, :, grid_layout.column("state")].nonzero().flatten().tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize("name", [n for n, rule in TASKS.items() if rule.tiled])
def test_span_tasks_spread_their_indices_evenly_over_a_batch(name: str, grid_layout) -> None:
    task = NamedTask(name)
    masks = task.sample(torch.Generator().manual_seed(0), 50, grid_layout)
    rows = {tuple(r.flatten().tolist()) for r in torch.cat([masks.visible, masks.predict], -1)}
    expected = task.at(torch.tensor(list(task.indices(10))), grid_layout)
    assert rows == {tuple(r.flatten().tolist()) for r in torch.cat([expected.visible, expected.predict], -1)}
    counts = torch.stack([(masks.visible == v).flatten(1).all(1).sum() for v in expected.visible])
    assert (counts == 5).all()


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("length", [2, 3, 7, 10])
def test_no_cell_is_both_visible_and_predicted(name: str, length: int) -> None:
    layout = build_layout(discrete_spec(), length)
    masks = NamedTask(name).sample(torch.Generator().manual_seed(1), 64, layout)
    assert not (masks.visible & masks.predict).any()
    assert masks.predict.any(-1).any(-1).all()


def test_an_unknown_task_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'waypoint'"):
        NamedTask("waypoints")


def test_dynamics_need_more_than_one_timestep() -> None:
    with pytest.raises(ConfigError, match="windows longer than 1"):
        NamedTask("forward_dynamics").sample(torch.Generator(), 4, build_layout(discrete_spec(), 1))


@pytest.mark.parametrize(
    ("name", "at", "index", "action"),
    [
        ("bc", "last", 10, 9),  # BC_last
        ("return", "last", 10, 9),  # RC_last
        ("bc", "second_last", 9, 8),  # BC_stlast
        ("return", "second_last", 9, 8),  # RC_stlast
        ("goal", "second_last", 9, 8),  # gc_stlast
    ],
)
def test_a_fixed_index_asks_for_one_action_in_every_row(name: str, at: str, index: int, action: int, grid_layout) -> None:
    task = NamedTask(name, at=at)
    masks = task.sample(torch.Generator().manual_seed(0), 6, grid_layout)
    expected = NamedTask(name).at(torch.full((6,), index), grid_layout)
    assert torch.equal(masks.visible, expected.visible)
    assert masks.predict.nonzero()[:, 1].unique().tolist() == [action]


@pytest.mark.parametrize(("name", "at"), [("goal", "last"), ("forward_dynamics", "second_last"), ("inverse_dynamics", "last")])
def test_an_index_that_a_task_never_takes_is_refused(name: str, at: str) -> None:
    with pytest.raises(ConfigError, match="outside the window"):
        NamedTask(name, at=at)
