"""The reproducibility study's search for a better MLP: rate, weight decay, clipping, width, depth and BatchNorm, with Optuna.

    python reproducibility_scripts/bet/sweep_mlp.py quick --env blockpush   # 10 trials of 4000 steps, about twenty minutes
    python reproducibility_scripts/bet/sweep_mlp.py quick --env kitchen --trials 20
    python reproducibility_scripts/bet/sweep_mlp.py full --env kitchen      # as the study: 25 trials of the published length

Trials minimise the validation loss and do not act, as in the study; the best one's settings are then trained to the length of
the recipe and act (``tuned``), beside the study's tuned MLP. Written below ``--folder``: the trials (one run folder each, and
``search.journal``, Optuna's), ``trials.csv``, ``trials.png`` and ``tuned.csv``. Run it again to go on after an interruption;
more ``--trials`` add to those that there are. Needs ``pip install 'maskbench[sweep]'``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import study
import typer
from omegaconf import OmegaConf
from rich.console import Console

from hydra_plugins.maskbench_sweeper.sweeper import open_study
from maskbench.app.config.compose import load
from maskbench.reports.search import Trial, trials_figure, trials_table
from maskbench.reports.style import png

#: Trials and, where not the recipe's, their steps.
TRIALS: dict[str, int] = {"quick": 10, "full": 25}
QUICK_STEPS = 4000
#: Widths and depths that the study tried.
SIZES = {"blockpush": ("72,128,144", "4,6,8"), "kitchen": ("120,132", "6,8,10,12")}
NAME, TOLD = "mlp", "validation loss"


def space(env: str) -> list[str]:
    """What is searched, in Hydra's grammar."""
    widths, depths = SIZES[env]
    return [
        "optimizer.lr=tag(log,interval(1e-5,1e-1))",
        "optimizer.weight_decay=choice(0.01,0.05,0.1)",
        "trainer.grad_clip=null,1.0",
        f"model.n_hidden=choice({widths})",
        f"model.n_layer=choice({depths})",
        "model.norm=choice(batch,none)",
    ]


def fixed(env: str, mode: study.Mode) -> list[str]:
    """What all trials share. The batch is named because ``sweep=optuna`` would search it."""
    line = study.line(env, mode, 0, "mlp")
    shared = [*(x for x in line if not x.startswith(("model.n_hidden", "model.n_layer", "model.norm", "model.n_embd")))]
    shared += ["model.n_embd=${model.n_hidden}", f"experiment.batch_size={load('train', line).experiment.batch_size}"]
    return [*shared, *([f"experiment.num_steps={QUICK_STEPS}"] if mode == "quick" else []), "evaluation.rollout=[]"]


def journal(root: Path) -> list[Trial]:
    """Finished trials of the search below ``root``."""
    settings = {"study": NAME, "storage": str(root / "search.journal"), "direction": "minimize", "sampler": "tpe", "seed": 0}
    found = open_study(OmegaConf.create(settings)).trials
    return [Trial(t.number, dict(t.params), float(t.value)) for t in found if t.value is not None]


def search(root: Path, env: str, mode: study.Mode, trials: int, more: list[str]) -> list[Trial]:
    """Adds what is missing of ``trials``; returns all finished ones. Raises typer.Exit with the code of a failed search."""
    missing = trials - len(journal(root))
    if missing > 0:
        names = [f"sweep.trials={missing}", f"sweep.study={NAME}", f"sweep.storage={root / 'search.journal'}"]
        line = ["-m", "sweep=optuna", *names, *fixed(env, mode), *more, *space(env), f"hydra.sweep.dir={root / 'trials'}"]
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        code = subprocess.run([sys.executable, "train.py", *line], env=os.environ | threads, check=False).returncode
        if code != 0:
            raise typer.Exit(code)
    return journal(root)


def main(
    mode: study.ModeArgument = "quick",
    env: study.EnvOption = "blockpush",
    folder: study.FolderOption = None,
    trials: Annotated[int | None, typer.Option(help="trials in all; 10 in quick and 25 in full")] = None,
    more: study.MoreOption = None,
) -> None:
    """Searches, then trains the best settings and lets them act."""
    mode, env = study.checked(mode, env)
    if env not in SIZES:
        raise typer.BadParameter(f"the study searched on {' and '.join(SIZES)}; found '{env}'")
    root, console = folder or Path(f"train_runs/bet/sweep_mlp_{env}_{mode}"), Console(stderr=True)
    found = search(root, env, mode, trials or TRIALS[mode], more or [])
    title = f"{env}: {len(found)} trials of an MLP"
    table = trials_table(title, found, TOLD)
    table.save(root / "trials")
    (root / "trials.png").write_bytes(png(trials_figure(title, found, TOLD)))
    console.print(table.to_rich())
    best = min(found, key=lambda trial: trial.value)
    settings = [f"{key}={value}" for key, value in best.settings.items()]
    line = [*study.line(env, mode, 0, "mlp"), *settings, "model.n_embd=${model.n_hidden}", *(more or ())]
    runs = study.train(root, {"tuned/0": line}, 1, console)["tuned"]
    ours = {"MLP tuned": study.numbers(runs, env)}
    study.write(root, "tuned", study.side_by_side(f"{env}: the best of {len(found)}", env, ours), (), env, ours, console)


if __name__ == "__main__":
    typer.run(main)
