import csv
import io
import math
from pathlib import Path

import pytest
from rich.console import Console
from tests.reports.demo import write_run

from maskbench.errors import ConfigError
from maskbench.reports.collect import RolloutResult, collect
from maskbench.reports.tables import Measured, Table, metric_table, occurrence_tables, rollout_table, show, task_loss_table

TABLE = Table(
    "Success <rates>",
    ("policy", "rate", "n"),
    (("a|b", Measured(0.8204, 0.75, 0.88), 200), ("none", None, 0), ("one", Measured(1.0), 3)),
    ("A note.",),
)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (0.8204, "0.820"),
        (0.0, "0.00"),
        (12345.6, "12346"),
        (123.4, "123"),
        (1.2e-6, "1.20e-06"),
        (math.nan, ""),
        (None, ""),
        (12345, "12345"),
        (Measured(1.0), "1.00"),
        (Measured(1.0, 0.5, 2.0), "1.00 [0.500, 2.00]"),
    ],
)
def test_cells_show_three_significant_digits(cell: object, text: str) -> None:
    assert show(cell) == text  # type: ignore[arg-type]


def test_csv_keeps_full_precision_and_bounds_in_their_own_columns() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.to_csv())))
    assert list(rows[0]) == ["policy", "rate", "rate_low", "rate_high", "n"]
    assert rows[0] == {"policy": "a|b", "rate": "0.8204", "rate_low": "0.75", "rate_high": "0.88", "n": "200"}
    assert rows[1]["rate"] == rows[1]["rate_low"] == rows[2]["rate_low"] == ""


def test_markdown_and_html_escape_and_align() -> None:
    text = TABLE.to_markdown()
    assert "| --- | ---: | ---: |" in text
    assert "| a\\|b | 0.820 [0.750, 0.880] | 200 |" in text
    page = TABLE.to_html()
    assert "<caption>Success &lt;rates&gt;</caption>" in page
    assert '<td class="num">0.820 <span class="range">0.750 to 0.880</span></td>' in page
    assert '<p class="note">A note.</p>' in page


def test_terminal_table_shows_every_cell() -> None:
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(TABLE.to_rich())
    text = console.export_text()
    assert all(part in text for part in ("a|b", "0.820 [0.750, 0.880]", "A note."))


def test_sentences_wrap_so_that_a_narrow_terminal_shows_every_column() -> None:
    sentence = "finetuning is best or within 4 % of the best " * 2
    table = Table("t", ("ordering", "paper", "verdict"), ((sentence, "80 of 80", "holds"),))
    console = Console(width=80, file=io.StringIO())
    console.print(table.to_rich())
    assert "verdict" in (shown := console.file.getvalue())  # type: ignore[attr-defined]
    assert "holds" in shown
    assert "80 of 80" in shown


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 columns; found a row of 1"):
        Table("t", ("a", "b"), (("x",),))


def test_run_tables_pivot_tasks_and_metrics(tmp_path: Path) -> None:
    run = collect(write_run(tmp_path / "run"))
    losses = task_loss_table(run.task_losses)
    assert losses.columns == ("task", "total", "floor", "excess", "action", "n")
    assert losses.rows[2][:3] == ("past", Measured(4.95, 4.95 * 0.97, 4.95 * 1.03), 4.6)
    assert losses.rows[2][3] == pytest.approx(0.35)
    results = rollout_table(run.rollouts)
    assert results.columns == ("query", "policy", "success", "return", "n")
    assert [row[:2] for row in results.rows] == [("bc", "masked"), ("goal", "masked"), ("bc", "random")]


def _result(policy: str, metric: str, value: float) -> RolloutResult:
    return RolloutResult("bc", policy, metric, value, value - 0.1, value + 0.1, 20, f"what {metric} is")


def test_many_metrics_of_few_policies_stand_one_a_row_with_their_meaning() -> None:
    results = [_result(p, m, 0.5) for p in ("model", "random") for m in ("p_1", "p_2", "event:kettle")]
    table = metric_table(results[:-1])
    assert table.columns == ("metric", "bc · model", "bc · random", "meaning")
    assert [(row[0], row[-1]) for row in table.rows] == [("p_1", "what p_1 is"), ("p_2", "what p_2 is")]
    assert table.notes == ("Episodes: 20 (bc · model), 20 (bc · random).",)


def test_events_keep_their_order_and_the_likeliest_modes_come_first() -> None:
    modes = [_result("model", f"mode:{i:02}", i / 100) for i in range(20)]
    events, likely = occurrence_tables([_result("model", "event:b", 0.1), _result("model", "event:a", 0.9), *modes])
    assert [row[0] for row in events.rows] == ["b", "a"]
    assert [row[0] for row in likely.rows] == [f"{i:02}" for i in range(19, 7, -1)]
    assert likely.notes == ("and 8 rarer ones",)
    assert list(occurrence_tables([_result("model", "return", 1.0)])) == []
