"""Behavior Transformers along the number of bins: the reproducibility study's sweep and the paper's plateau.

    python reproducibility_scripts/bet/sweep_num_bins.py quick --env pointmass2   # minutes
    python reproducibility_scripts/bet/sweep_num_bins.py quick --env blockpush    # twenty minutes a run, two seeds
    python reproducibility_scripts/bet/sweep_num_bins.py full --env kitchen       # the study's values and three seeds
    python reproducibility_scripts/bet/sweep_num_bins.py quick --more experiment.num_steps=10000 --folder train_runs/bins

One bin is the ablation without binning. Two bins on pointmass1, the study's choice, put two of its three kinds of action
into one bin and fail.
Judged is whether the published value is as good as each other one in mean return, within 5 %. Written below ``--folder``:
tables and ``sweep.png``. Run it again to go on after an interruption.
"""

from __future__ import annotations

import sweeps

if __name__ == "__main__":
    sweeps.command(sweeps.NUM_BINS)
