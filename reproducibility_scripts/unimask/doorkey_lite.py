"""uniMASK, Figure 7 in small: random masking + finetuning against single-task training on four tasks of the gridworld.

    python reproducibility_scripts/unimask/doorkey_lite.py [FOLDER]

500 episodes as published, one seed, about half an hour on two CPU cores. Random masking trains for a fifth of the published
steps; finetuning as the stored figures were made (1000 steps at 5e-5); single tasks for half or all of their published
steps, with the published sizes (uniMASK spec 3.6).
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.reports.collect import task_matrix
from maskbench.reports.figures import heatmap, png
from maskbench.reports.tables import matrix_table

TASKS = ("goal", "waypoint", "past", "future")
EVERY = "masking.tasks=[bc,return,goal,waypoint,past,future,forward_dynamics,inverse_dynamics]"
COMMON = ("paper=unimask/doorkey_lite", "evaluation=losses", EVERY)
SINGLE = {
    "goal": ("experiment.num_steps=3000", "model.n_layer=3"),
    "waypoint": ("experiment.num_steps=3000", "model.n_layer=3"),
    "past": ("experiment.num_steps=4000", "model.n_layer=4", "model.n_embd=32", "model.n_head=4", "+masking.weights.state=0.5"),
    "future": ("experiment.num_steps=4000", "model.n_inner=32", "model.n_head=4", "+masking.weights.state=0.5"),
}


def main(root: Path) -> None:
    """Trains what is missing, then prints and draws the matrix: one row a training, one column a task."""
    console = Console(stderr=True)
    runs: dict[str, tuple[str, ...]] = {"random": COMMON}
    for task in TASKS:
        runs[f"single_{task}"] = (*COMMON, f"masking={task}", "experiment.batch_size=250", *SINGLE[task])
    for task in TASKS:
        start = (f"masking={task}", f"model.load_dir={root / 'random'}", "optimizer.lr=5e-5")
        runs[f"finetune_{task}"] = (*COMMON, *start, "experiment.batch_size=250", "experiment.num_steps=1000")
    results = Campaign(root, runs).run(console)
    matrix = task_matrix(results, "Loss by task, 500 episodes")
    (root / "doorkey_lite.csv").write_text(matrix_table(matrix).to_csv())
    for scale in ("raw", "excess"):
        (root / f"doorkey_lite_{scale}.png").write_bytes(png(heatmap(matrix, scale)))
    console.print(matrix_table(matrix).to_rich())
    column = {name: i for i, name in enumerate(matrix.columns)}
    row = {name: i for i, name in enumerate(matrix.rows)}
    for task in TASKS:
        tuned, single = (matrix.values[row[f"{kind}_{task}"], column[task]] for kind in ("finetune", "single"))
        verdict = "holds" if tuned < single else "does not hold"
        console.print(f"{task}: finetuned {tuned:.3f}, single-task {single:.3f}: the paper's ordering {verdict}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "train_runs/unimask/doorkey_lite"))
