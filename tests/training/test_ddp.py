import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from maskbench.training import checkpoint
from maskbench.training.trainer import Trainer
from tests.training.toy import Regression, parts

ROOT = Path(__file__).parents[2]


def run(run_dir: Path, num_steps: int, resume: bool) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("ddp_script.py")), str(run_dir), str(num_steps)]
    subprocess.run([*command, "resume" if resume else "new"], check=True, env=environment, timeout=120, capture_output=True)


class BothRanks(Regression):
    """What two processes see together."""

    def batch(self, step, rank):
        (x0, y0), (x1, y1) = (Regression.batch(self, step, r) for r in (0, 1))
        return torch.cat([x0, x1]), torch.cat([y0, y1])


@pytest.mark.slow
def test_two_processes_equal_one_with_both_batches_and_resume_exactly(tmp_path):
    run(tmp_path / "whole", 12, resume=False)
    run(tmp_path / "parts", 8, resume=False)
    run(tmp_path / "parts", 12, resume=True)
    model, optimizer, scheduler = parts(dropout=0.0)
    one = Trainer(12, device="cpu", accumulate=2, grad_clip=1.0, validate_every=4, log_every=3, progress=False)
    one.fit(model, BothRanks(), optimizer, scheduler, tmp_path / "one")
    whole, resumed, single = (checkpoint.load_model(tmp_path / name, "last") for name in ("whole", "parts", "one"))
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name])
        torch.testing.assert_close(tensor, single[name], rtol=1e-4, atol=1e-5)
    first_rows = [(tmp_path / name / "metrics.csv").read_text().splitlines()[2] for name in ("whole", "one")]
    several, alone = ([float(cell) for cell in row.split(",") if cell] for row in first_rows)
    assert len(several) == 6
    assert several == pytest.approx(alone, rel=1e-4)
