"""The benchmark of text decoding runs, and its two ways agree (it raises where they do not)."""

import pytest
from benchmarks.text_decoding import main


@pytest.mark.slow
def test_the_smoke_run_measures_both_ways() -> None:
    pytest.importorskip("tokenizers")
    (result,) = main(["--quick"])
    assert set(result.rates) == {"plain", "maskbench"}
    assert result.items == 6
