import base64
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.reports.demo import write_run

from maskbench.errors import DataError
from maskbench.reports.html import write_report

VOID = {"meta", "img", "source", "br"}


class Outline(HTMLParser):
    """Headings and images of a page; fails on tags that do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.links: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)


def test_report_is_one_self_contained_page_with_every_section(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = write_report(folder)
    page = path.read_text()
    outline = Outline(page)
    assert path == folder / "report.html"
    assert outline.headings == ["Task losses", "Rollouts", "Learning curves", "What was run", "Files"]
    assert all(link.startswith(("data:image/", "#")) for link in outline.links)
    assert "<script" not in page
    assert "prefers-color-scheme:dark" in page
    (gif,) = re.findall(r'src="data:image/gif;base64,([^"]*)"', page)
    assert base64.b64decode(gif) == (folder / "evaluation" / "rollouts_goal.gif").read_bytes()
    assert "doorkey &lt;500&gt;" in page
    assert "9f3a6c21" in page
    assert "${experiment.num_steps}" in page  # configurations are quoted, not resolved


def test_missing_pieces_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("experiment: {name: bare}\n")
    outline = Outline(write_report(tmp_path).read_text())
    assert outline.headings == ["What was run", "Files"]
    again = Outline(write_report(tmp_path).read_text())
    assert again.links == outline.links
    with pytest.raises(DataError):
        write_report(tmp_path / "absent")


def test_reports_and_rollouts_import_no_torch() -> None:
    code = (
        "import sys, maskbench.reports.html, maskbench.reports.claims, maskbench.rollout.runner, maskbench.rollout.metrics\n"
        "import maskbench.rollout.records, maskbench.rollout.video, maskbench.rollout.invariant\n"
        "print([m for m in ('torch', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"
