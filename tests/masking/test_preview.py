"""The picture of a mask says what the mask says."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from rich.console import Console
from tests.examples import continuous_spec, discrete_spec

from maskbench.masking.causal import CausalMask
from maskbench.masking.preview import Preview
from maskbench.masking.random import RatioMask
from maskbench.masking.tasks import NamedTask
from maskbench.tokens.layout import build_layout


def drawn(preview: Preview) -> str:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(preview.terminal())
    return console.export_text()


def test_the_terminal_shows_visible_and_predicted_cells() -> None:
    layout = build_layout(discrete_spec(), 5)
    text = drawn(Preview.of("past", NamedTask("past"), layout, rows=5))
    rows = [line.split()[1] for line in text.splitlines() if line.split()[:1] == ["action"]]
    assert sorted(row.count("?") for row in rows) == [1, 2, 3, 4, 5]
    assert all(row.count("?") + row.count("■") == 5 for row in rows)


def test_attention_is_causal_where_the_scheme_is() -> None:
    layout = build_layout(discrete_spec(), 3, by="role")
    preview = Preview.of("gpt", CausalMask(), layout)
    assert preview.attention().sum() == 9 * 10 / 2
    assert "█" + "·" * 8 in drawn(preview)


def test_autoencoders_attend_among_visible_tokens_only() -> None:
    layout = build_layout(continuous_spec(), 8, by="factor", inputs=["state", "action"])
    preview = Preview.of("maskdp", RatioMask([0.75]), layout, visible_only=True)
    assert preview.attention().sum() == 4 * 4


@pytest.mark.parametrize("length", [4, 32])
def test_the_svg_is_well_formed_and_holds_a_box_per_cell(length: int) -> None:
    layout = build_layout(discrete_spec(), length)
    root = ET.fromstring(Preview.of("a < b", NamedTask("bc"), layout).svg())
    boxes = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if len(e)]
    assert len(boxes) == 3 * 4 * length + length**2 + 4
