"""Behavior Transformers along the window: the reproducibility study's sweep and the paper's plateau.

    python reproducibility_scripts/bet/sweep_window_size.py quick --env pointmass2   # minutes
    python reproducibility_scripts/bet/sweep_window_size.py quick --env blockpush    # twenty minutes a run, two seeds
    python reproducibility_scripts/bet/sweep_window_size.py full --env kitchen       # the study's values and three seeds

A window of one is the ablation without history. On pointmass2 all routes meet at (4, 4): a window that does not reach back
to where they part cannot tell which leg comes next.
Judged is whether the published value is as good as each other one in mean return, within 5 %. Written below ``--folder``:
tables and ``sweep.png``. Run it again to go on after an interruption.
"""

from __future__ import annotations

import sweeps

if __name__ == "__main__":
    sweeps.command(sweeps.WINDOW_SIZE)
