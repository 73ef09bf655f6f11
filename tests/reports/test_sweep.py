"""The jobs of a multirun side by side."""

import csv
from pathlib import Path

import pytest

from maskbench.errors import ConfigError, DataError
from maskbench.reports.cross import Bar, bars_by_world
from maskbench.reports.sweep import read_jobs, sweep_table, write_sweep
from maskbench.reports.tables import Measured

MEASURES = {"kitchen": ("return", "p_1", "p_4"), "walker": ("return", "mode_entropy")}


def job(folder: Path, env: str, masking: str, value: float, queries: tuple[str, ...] = ("bc",)) -> None:
    (folder / "evaluation").mkdir(parents=True)
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text(f"- env={env}\n- masking={masking}\n- experiment.num_steps=5\n")
    (folder / "config.yaml").write_text(f"env: {{name: {env}}}\n")
    (folder / "metrics.csv").write_text(f"step,validation/loss\n0,9\n5,{value}\n")
    (folder / "timing.csv").write_text("step,time/seconds\n5,90\n")
    lines = ["query,policy,metric,value,low,high,n,definition"]
    for query in queries:
        for policy, share in (("model", value), ("random", 0.0), ("data", 1.0)):
            lines += [f"{query},{policy},{m},{share},{share - 0.1},{share + 0.1},40," for m in MEASURES[env]]
    (folder / "evaluation" / "rollouts.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def multirun(tmp_path: Path) -> Path:
    job(tmp_path / "0", "kitchen", "unimask", 0.25, ("bc", "return"))
    job(tmp_path / "1", "kitchen", "bet", 0.75)
    job(tmp_path / "10", "walker", "bet", 0.5)
    job(tmp_path / "2", "walker", "unimask", 0.4)
    return tmp_path


def test_a_job_is_told_by_what_differs_and_its_environment(multirun: Path) -> None:
    jobs = read_jobs(multirun)
    assert [(j.name, j.world, dict(j.settings)) for j in jobs] == [
        ("0", "kitchen", {"masking": "unimask"}),
        ("1", "kitchen", {"masking": "bet"}),
        ("2", "walker", {"masking": "unimask"}),
        ("10", "walker", {"masking": "bet"}),
    ]
    assert (jobs[0].loss, jobs[0].minutes) == (0.25, 1.5)


def test_an_override_may_refer_to_another_key(multirun: Path) -> None:
    for name, width in (("0", "64"), ("1", "${model.n_hidden}")):
        with (multirun / name / ".hydra" / "overrides.yaml").open("a") as file:
            file.write(f"- model.n_embd={width}\n")
    assert [j.settings["model.n_embd"] for j in read_jobs(multirun)] == ["64", "${model.n_hidden}", "", ""]


def test_every_query_is_a_row_with_intervals_and_references_come_once_an_environment(multirun: Path) -> None:
    table = sweep_table(read_jobs(multirun), "t")
    assert table.columns == ("job", "env", "masking", "validation loss", "minutes", "query", "p_1", "p_4", "return")
    rows = {(row[1], row[2] or row[0], row[5]): row[6:] for row in table.rows}
    assert list(rows) == [
        ("kitchen", "unimask", "bc"),
        ("kitchen", "unimask", "return"),
        ("kitchen", "bet", "bc"),
        ("walker", "unimask", "bc"),
        ("walker", "bet", "bc"),
        *[(w, name, "bc") for w in ("kitchen", "walker") for name in ("random actions", "demonstrations")],
    ]
    assert rows["kitchen", "bet", "bc"] == (Measured(0.75, 0.65, 0.85),) * 3
    assert rows["walker", "bet", "bc"] == (None, None, Measured(0.5, 0.4, 0.6))
    assert rows["kitchen", "demonstrations", "bc"][0] == Measured(1.0, 0.9, 1.1)


def test_a_multirun_leaves_one_csv_a_table_an_environment_and_a_figure(multirun: Path) -> None:
    brief = write_sweep(multirun)
    assert brief.columns == ("job", "env", "masking", "validation loss", "return (success)")
    assert brief.rows[0][-1] == "bc 0.250, return 0.250"
    with (multirun / "summary.csv").open() as file:
        found = {(r["env"], r["masking"]): r for r in csv.DictReader(file)}
    assert len(found) == 4
    assert float(found["kitchen", "bet"]["bc p 4_low"]) == pytest.approx(0.65)
    assert float(found["kitchen", "unimask"]["return return"]) == 0.25
    assert found["walker", "bet"]["bc p 4"] == ""
    kitchen, walker = (multirun / "summary.md").read_text().split("### walker")
    assert "p_4" in kitchen
    assert "p_4" not in walker
    assert (multirun / "summary.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_finished_jobs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished run"):
        write_sweep(tmp_path)


def test_the_figure_has_a_row_of_panels_an_environment_and_only_its_metrics() -> None:
    half = Measured(0.5, 0.4, 0.6)
    worlds = {
        "kitchen": [Bar("bet", "bc", {"p_1": half, "p_4": half}), Bar("random actions", "bc", {"p_1": half}, reference=True)],
        "walker": [Bar("bet", "bc", {"return": Measured(30.0)})],
    }
    figure = bars_by_world(worlds)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == ["kitchen: p 1", "p 4", "walker: return"]
    assert [t.get_text() for t in shown[0].get_yticklabels()] == ["bet  ·  bc", "random actions"]
    assert shown[0].get_xlim() == (0, 1.02)
    with pytest.raises(ConfigError, match="no rollouts"):
        bars_by_world({"walker": [Bar("bet", "bc", {})]})
