from pathlib import Path

import numpy as np
import pytest

from maskbench.errors import DataError
from maskbench.reports.claims import claims_matrix, load_claims, published

#: uniMASK Figure 7: the same heatmap divided by the column minimum, as published.
FIGURE_7 = {
    "Multi-task": [1.012, 1.025, 1.056, 1.2, 1.111, 1.078, 11.38, 1.907],
    "Random mask": [1.068, 1.025, 1.019, 1.021, 1.022, 1.015, 6.344, 1.396],
    "Past": [1.33, 1.343, 1.39, 1.553, 1.07, 1.418, 21.63, 2.685],
}


def test_unimask_heatmap_agrees_with_its_published_normalised_figure() -> None:
    claims = published("unimask", "heatmap_500")
    assert len(claims) == 11 * 8
    assert {c.error for c in claims} == {None}
    matrix = claims_matrix(claims, "uniMASK")
    assert matrix.columns == ("BC", "RC", "Goal", "Waypoint", "Past", "Future", "Forwards", "Inverse")
    for row, expected in FIGURE_7.items():
        np.testing.assert_allclose(matrix.normalised()[matrix.rows.index(row)], expected, rtol=0.012)


def test_unknown_tables_name_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'unimask/heatmap_500'"):
        published("unimask", "heatmap_50")


def test_errors_and_blanks_are_read_and_wrong_files_refused(tmp_path: Path) -> None:
    head = "system: s\ntable: t\ntitle: x\nmetric: m\nsource: p\ncolumns: [a, b]\n"
    (tmp_path / "good.yaml").write_text(head + "rows: {r: [[0.92, 0.06], null]}\n")
    (claim,) = load_claims(tmp_path / "good.yaml")
    assert (claim.row, claim.column, claim.value, claim.error) == ("r", "a", 0.92, 0.06)
    (tmp_path / "short.yaml").write_text(head + "rows: {r: [1]}\n")
    with pytest.raises(DataError, match="needs 2 values; found 1"):
        load_claims(tmp_path / "short.yaml")
    (tmp_path / "word.yaml").write_text(head + "rows: {r: [1, high]}\n")
    with pytest.raises(DataError, match="must be a number"):
        load_claims(tmp_path / "word.yaml")
    (tmp_path / "keys.yaml").write_text(head)
    with pytest.raises(DataError, match="must hold exactly"):
        load_claims(tmp_path / "keys.yaml")
