"""The reproducibility study's ablations of Behavior Transformers: offsets, focal loss, history, binning, and other trunks.

    python reproducibility_scripts/bet/ablations.py quick --env blockpush                  # seven variants, two seeds
    python reproducibility_scripts/bet/ablations.py quick --env kitchen --only "no offsets" --only BeT
    python reproducibility_scripts/bet/ablations.py full --env kitchen                     # as the study: three seeds
    python reproducibility_scripts/bet/ablations.py quick --more experiment.num_steps=20000 --folder train_runs/shorter

Variants differ in one setting from ``paper=bet/<env>`` (``_quick`` in quick): bin centres alone (no offsets), cross-entropy (no
focal loss), a window of one (no history), one bin (no binning: squared error), an MLP with BatchNorm in the trunk's size, the
same with the study's tuned rate and decay, and an LSTM of two layers (1024 wide; 256 in quick). The study's trunks had defects
(untrained LSTM layers, histories padded with zeros that training never saw) that are not copied.
Judged are the study's conclusions and the paper's, of all variants that are trained. Run it again to go on after an
interruption.
"""

from __future__ import annotations

from pathlib import Path

import study
import typer
from rich.console import Console

from maskbench.reports.comparison import Ordering

VARIANTS = ("BeT", "no offsets", "no focal loss", "no history", "no binning", "MLP", "MLP tuned", "LSTM")


def line(variant: str, env: str, mode: study.Mode, seed: int) -> list[str]:
    """The command line of one run."""
    if variant == "MLP tuned":
        lr, decay = study.TUNED_MLP[env]
        extra = [f"optimizer.lr={lr}", f"optimizer.weight_decay={decay}", "trainer.grad_clip=null"]
        return study.line(env, mode, seed, "mlp", extra)
    if variant in ("MLP", "LSTM"):
        return study.line(env, mode, seed, variant.lower())
    extra = {
        "BeT": [],
        "no offsets": ["head.action.predict_offsets=false"],
        "no focal loss": ["head.action.focal_gamma=0"],
        "no history": ["experiment.window_size=1"],
        "no binning": ["head.action.num_bins=1"],
    }[variant]
    return study.line(env, mode, seed, extra=extra)


def variants(env: str) -> list[str]:
    """Those of an environment: the study tuned no MLP on the point mass."""
    return [v for v in VARIANTS if v != "MLP tuned" or env in study.TUNED_MLP]


def orderings(env: str) -> list[Ordering]:
    """Conclusions of the paper and of the study, by metrics that leave room."""
    if env == "blockpush":
        far = ("P1", "P2")
        return [
            Ordering("discretisation is needed (paper and study)", study.better("BeT", "no binning", far)),
            Ordering("offsets are almost free (study)", study.better("no offsets", "BeT", ("P1",)), margin=0.1),
            Ordering("history matters little (study)", study.better("no history", "BeT", ("P1",)), margin=0.1),
            Ordering("the focal loss matters little (study)", study.better("no focal loss", "BeT", ("P1",)), margin=0.1),
            Ordering("an MLP trunk is far behind (study)", study.better("BeT", "MLP", far)),
            Ordering("and stays so when tuned (study)", study.better("BeT", "MLP tuned", far)),
        ]
    if env == "kitchen":
        most = ("p_1", "p_2", "p_3", "p_4")
        return [
            Ordering("offsets are vital (study)", study.better("BeT", "no offsets", most)),
            Ordering("history matters (study)", study.better("BeT", "no history", ("p_3", "p_4"))),
            Ordering("discretisation is needed (paper)", study.better("BeT", "no binning", most)),
            Ordering("no binning is as good (study, against the paper)", study.better("no binning", "BeT", most), margin=0.05),
            Ordering("the focal loss matters little (study)", study.better("no focal loss", "BeT", most), margin=0.1),
            Ordering("an MLP trunk is far behind (study)", study.better("BeT", "MLP", most)),
            Ordering("and stays so when tuned (study)", study.better("BeT", "MLP tuned", most)),
        ]
    found = [
        Ordering("discretisation is needed", study.better("BeT", "no binning", ("success",))),
        Ordering("an LSTM is as good or better (study)", study.better("LSTM", "BeT", ("success",)), margin=0.02),
    ]
    if env == "pointmass2":
        found.append(Ordering("history tells the legs apart", study.better("BeT", "no history", ("mode_entropy",)), margin=0.1))
    return found


def main(
    mode: study.ModeArgument = "quick",
    env: study.EnvOption = "blockpush",
    folder: study.FolderOption = None,
    only: study.OnlyOption = None,
    seeds: study.SeedsOption = None,
    workers: study.WorkersOption = 2,
    more: study.MoreOption = None,
) -> None:
    """Trains what is missing, then tabulates paper, study and ours and judges their conclusions."""
    mode, env = study.checked(mode, env)
    root = folder or Path(f"train_runs/bet/ablations_{env}_{mode}")
    console = Console(stderr=True)
    count = study.seeds_of(mode, seeds, 3)
    results = study.train_rows(root, variants(env), only, lambda v, s: line(v, env, mode, s), more, count, workers, console)
    ours = {v: study.numbers(runs, env) for v, runs in results.items()}
    table = study.side_by_side(f"{env}: ablations", env, ours)
    study.write(root, "ablations", table, orderings(env), env, ours, console)


if __name__ == "__main__":
    typer.run(main)
