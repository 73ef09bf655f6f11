"""What came after Behavior Transformers: other heads on its trunk, its recurrent rival, and goals.

    python reproducibility_scripts/bet/successors.py quick --env kitchen     # five models, one seed, about twenty minutes each
    python reproducibility_scripts/bet/successors.py quick --env blockpush --only VQ-BeT --only C-BeT
    python reproducibility_scripts/bet/successors.py full --env kitchen      # three seeds at BeT's published length

All take data, trunk and budget of ``paper=bet/<env>`` (``_quick`` in quick) and differ in what they say of an action: k-means
bins (BeT), codes of a residual autoencoder (VQ-BeT; ``true codes`` trains offsets for these, not for sampled ones), a mixture
of Gaussians that acts by the mean of a drawn component (as Q-FAT does, whose network is another one), the same on an LSTM
(LSTM-GMM), and bins behind a goal (C-BeT). Block push, whose actions are centimetres in metres, standardises them for codes
and mixtures.

C-BeT also acts towards the ends of held-out demonstrations, from where these began: ``goal tasks`` counts the tasks (blocks) of
the demonstration that it repeats; beside it stands the same model without the goal on the same episodes. Published numbers
come from other demonstrations and simulators. Run it again to go on after an interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import study
import typer
from rich.console import Console

from maskbench.reports.average import acted, over_seeds
from maskbench.reports.claims import Claim, published
from maskbench.reports.collect import RolloutResult, Run
from maskbench.reports.comparison import Key, Ordering, comparison_table, ordering_table, verdicts
from maskbench.reports.tables import Measured
from maskbench.rollout.metrics import bootstrap_mean
from maskbench.rollout.records import read_records
from maskbench.trajectory import EpisodeRecord

MIXTURE = "mixture (Q-FAT)"
#: What each row changes in the command line of BeT's; ``model`` names the trunk.
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "BeT": ("decoder", ()),
    "VQ-BeT": ("decoder", ("head=vqbet", "head.action.offset_scale=100")),
    "VQ-BeT, true codes": ("decoder", ("head=vqbet", "head.action.offset_scale=100", "head.action.vq.offset_of='true'")),
    MIXTURE: ("decoder", ("head=mdn", "head.action.num_bins=10", "query.spread=0")),
    "LSTM-GMM": ("lstm", ("head=mdn", "head.action.num_bins=5", "query.spread=0")),
    "C-BeT": ("decoder", ("masking=cbet", "evaluation.rollout=[bc,goal_demonstrated]")),
}
COLUMNS = {
    "kitchen": ("p_1", "p_2", "p_3", "p_4", "p_1 to p_4", "sequence_entropy"),
    "blockpush": ("P1", "P2", "P1 + P2", "mode_entropy"),
}
SUM = {"kitchen": "p_1 to p_4", "blockpush": "P1 + P2"}
#: Tasks of the goal that are done: behind the goal, and by the same model on the same episodes without it.
GOAL, WITHOUT = "goal tasks", "goal tasks, goal not shown"


def line(row: str, env: study.Env, mode: study.Mode, seed: int) -> list[str]:
    """The command line of one run."""
    model, extra = ROWS[row]
    small = env == "blockpush" and any(e.startswith("head=") for e in extra)
    return study.line(env, mode, seed, model, [*extra, *(["dataset.normalise.action=standard"] if small else [])])


def score(record: EpisodeRecord, env: str) -> int:
    """Tasks done, of four, or blocks pushed, of two: what the successors sum up."""
    names = {name for _, name in record.events}
    if env == "blockpush":
        return len(names & {"P1", "P2"})
    return min(4, sum(name.startswith("route:") for name in names))


def scored(run: Run, env: str) -> Run:
    """The run with the mean score of its rollouts among its metrics."""
    found = bootstrap_mean([score(r, env) for r in read_records(run.folder / "evaluation" / "bc")])
    row = RolloutResult("bc", "model", SUM[env], found.value, found.low, found.high, found.n, "")
    return replace(run, rollouts=(*run.rollouts, row))


def numbers(row: str, runs: Sequence[Run], env: str) -> dict[Key, Measured]:
    """The cells of a row."""
    runs = [scored(run, env) for run in runs]
    found: dict[Key, Measured] = {(row, m): acted(runs, "bc", m) for m in COLUMNS[env]}
    if row != "C-BeT":
        return found
    parts = {r.policy: r for r in over_seeds(runs).rollouts if (r.query, r.metric) == ("goal_demonstrated", "goal_parts")}
    for name, policy in ((GOAL, "model"), (WITHOUT, "bc")):
        found[row, name] = Measured(parts[policy].value, parts[policy].low, parts[policy].high)
    return found


def claims(env: str) -> list[Claim]:
    """The published cells of an environment."""
    columns = (*COLUMNS[env], *((GOAL,) if env == "kitchen" else ()))
    return [c for c in published("bet", "successors") if c.column in columns]


def orderings(env: str) -> list[Ordering]:
    """What the successors' papers say."""
    best = SUM[env]
    return [
        Ordering("codes do at least as much as bins (VQ-BeT)", study.better("VQ-BeT", "BeT", (best,)), margin=0.05),
        Ordering("a mixture does at least as much as bins (Q-FAT)", study.better(MIXTURE, "BeT", (best,)), margin=0.05),
        Ordering("BeT does more than an LSTM with a mixture", study.better("BeT", "LSTM-GMM", (best,))),
        Ordering("a goal is followed", ((("C-BeT", GOAL), ("C-BeT", WITHOUT)),)),
    ]


def main(
    mode: study.ModeArgument = "quick",
    env: study.EnvOption = "kitchen",
    folder: study.FolderOption = None,
    only: study.OnlyOption = None,
    seeds: study.SeedsOption = None,
    workers: study.WorkersOption = 2,
    more: study.MoreOption = None,
) -> None:
    """Trains what is missing, then tabulates published numbers and ours, of all models that are trained."""
    mode, env = study.checked(mode, env)
    if env not in COLUMNS:
        raise typer.BadParameter(f"the successors' papers play {' and '.join(COLUMNS)}; found '{env}'")
    root = folder or Path(f"train_runs/bet/successors_{env}_{mode}")
    console = Console(stderr=True)
    count = seeds or (1 if mode == "quick" else 3)
    results = study.train_rows(root, ROWS, only, lambda row, s: line(row, env, mode, s), more, count, workers, console)
    ours: dict[Key, Measured] = {}
    for row, runs in results.items():
        ours |= numbers(row, runs, env)
    compared = comparison_table(f"{env}: what came after BeT", claims(env), ours)
    judged = ordering_table(f"{env}: what is said of it", orderings(env), claims(env), ours, lower_is_better=False)
    compared.save(root / "successors")
    judged.save(root / "successors_orderings")
    for table in (compared, verdicts(judged)):
        console.print(table.to_rich())
    console.print(f"tables: {root}")


if __name__ == "__main__":
    typer.run(main)
