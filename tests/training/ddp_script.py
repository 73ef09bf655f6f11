"""Trains the toy problem on two processes; started as a program by test_ddp.py, and anew by itself for the second rank."""

import sys

from maskbench.training.trainer import Trainer
from tests.training.toy import Regression, parts

if __name__ == "__main__":
    run_dir, num_steps, resume = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "resume"
    model, optimizer, scheduler = parts(dropout=0.0)
    trainer = Trainer(
        num_steps,
        device="cpu",
        devices=2,
        strategy="ddp",
        validate_every=4,
        log_every=3,
        accumulate=2,
        grad_clip=1.0,
        progress=False,
    )
    trainer.fit(model, Regression(), optimizer, scheduler, run_dir, resume=resume)
