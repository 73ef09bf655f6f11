"""What a run folder says of how it was started."""

from __future__ import annotations

from pathlib import Path

from maskbench.app.config.runs import read_overrides, saved_overrides
from maskbench.app.seeds import seed_folder


def test_interpolations_of_a_command_line_stay_what_they_were(tmp_path: Path) -> None:
    given = ["env=kitchen", "model.n_hidden=${model.n_embd}", "experiment.seed=0"]
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / ".hydra" / "overrides.yaml").write_text("".join(f"- {line}\n" for line in given))
    (tmp_path / "run" / ".hydra" / "config.yaml").write_text("experiment: {seed: 0}\n")
    assert saved_overrides(str(tmp_path / "run"), "resume") == given
    folder = seed_folder(tmp_path / "run", "cv_1", {"experiment.seed": 1})
    assert read_overrides(folder / ".hydra" / "overrides.yaml") == [*given[:2], "experiment.seed=1"]
