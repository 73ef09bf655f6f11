"""Relative links of the README and the documentation lead somewhere, headings included."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = (
    "*.md",
    "docs/**/*.md",
    "benchmarks/**/*.md",
    "installation/**/*.md",
    "data/README.md",
    "reproducibility_scripts/**/*.md",
)
PAGES = sorted({page for place in PLACES for page in ROOT.glob(place)})
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*(\S+)|(?:src|href)=\"([^\"]+)\"",
    re.MULTILINE,
)


def links(text: str) -> list[str]:
    """Targets inside this repository that ``text`` links to; code is not text."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    targets = ["".join(groups) for groups in LINK.findall(prose)]
    return [t for t in targets if not re.match(r"[a-z][a-z0-9+.-]*:|//", t)]


def anchors(text: str) -> set[str]:
    """Anchors of the headings, as the forges and the site make them."""
    headings = re.findall(r"^#{1,6}\s+(.*?)\s*#*$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    faults = []
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            faults.append(f"{link}: no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            faults.append(f"{link}: no such heading")
    return faults


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    assert broken(page) == []


def test_broken_files_and_headings_are_found(tmp_path):
    (tmp_path / "there.md").write_text("# Here it is\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Top\n[a](there.md) [b](there.md#here-it-is) [c](#top) [d](https://x.org/none) `[e](code.md)`\n"
        "```\n[f](fenced.md)\n```\n[g](gone.md) ![h](gone.png) [i](there.md#gone) [[j]](gone2.md)\n"
    )
    assert broken(page) == [
        "gone.md: no such file",
        "gone.png: no such file",
        "there.md#gone: no such heading",
        "gone2.md: no such file",
    ]
