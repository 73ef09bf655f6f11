"""MTM's heteromodal figure: what are trajectories without actions worth, when few have actions?

    python reproducibility_scripts/unimask/mtm_heteromodal.py quick   # the key-door gridworld; two CPU cores
    python reproducibility_scripts/unimask/mtm_heteromodal.py full    # published sizes on the D4RL files that are there

Three models: on the labelled episodes alone (1 %), on these and the states and returns of all others (heteromodal), and on all
episodes labelled. Each acts directly (``bc``) and in two stages (plan states, then ask for the action).

``quick`` fetches keys in the gridworld: 1000 episodes of a nearly rational expert, 10 of them labelled, windows of 5, narrow
networks, three seeds that also draw the labelled episodes; four minutes on two cores. ``full`` takes expert data of
hopper, halfcheetah, walker2d, door and pen where it is (fetched with ``python -m maskbench data fetch``), asks for 100 % of the
range of returns and lists what is missing; Adroit's rewards stay D4RL's dense ones, in which its scores are counted. Finished
runs are never trained again; run it again to go on after an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.app.config.folder import config_folder
from maskbench.app.config.help import options
from maskbench.reports.average import acted
from maskbench.reports.claims import published
from maskbench.reports.collect import RolloutResult, Run
from maskbench.reports.figures import rollout_bars
from maskbench.reports.style import png
from maskbench.reports.tables import Cell, Measured, Table

Mode = Literal["quick", "full"]
SEEDS = {"quick": 3, "full": 5}
#: Regime -> what it changes; ``{lack}`` is how many training episodes, or which share, lack actions.
REGIMES = {
    "labelled": ("dataset.unlabelled.fraction={lack}", "dataset.unlabelled.keep=false"),
    "heteromodal": ("dataset.unlabelled.fraction={lack}", "dataset.unlabelled.ratio=1"),
    "all": (),
}
LABELS = {"labelled": "MTM, 1 %", "heteromodal": "Heteromodal MTM, 1 %", "all": "MTM, all labelled"}
QUICK = (
    "env=doorkey",
    "dataset.generate.episodes=1200",
    "dataset.generate.options.beta=4",
    "dataset.split.train=1000",
    "dataset.split.validation=100",
    "dataset.split.test=100",
    "dataset.window=5",
    "model.n_embd=64",
    "model.dropout=0.1",
    "experiment.num_steps=1500",
    "experiment.batch_size=64",
    "optimizer.lr=1e-3",
    "scheduler=cosine",
    "scheduler.warmup_steps=100",
    "evaluation.num_windows=500",
    "evaluation.rollout=[bc,bc_two_stage]",
    "experiment.num_eval_eps=500",
    "masking.tasks=[bc,last_state,action_between]",
)
#: Column of the published figure -> environment and file of the D4RL data set below the data folder.
FULL = {
    "Hopper": ("hopper", "d4rl/hopper-expert-v2", "hopper_expert-v2.hdf5"),
    "HalfCheetah": ("halfcheetah", "d4rl/halfcheetah-expert-v2", "halfcheetah_expert-v2.hdf5"),
    "Walker2d": ("walker2d", "d4rl/walker2d-expert-v2", "walker2d_expert-v2.hdf5"),
    "Adroit Door": ("adroit_door", "d4rl/door-expert-v1", "door-expert-v1.hdf5"),
    "Adroit Pen": ("adroit_pen", "d4rl/pen-expert-v1", "pen-expert-v1.hdf5"),
}
#: Published sizes (spec unimask 6.1): 2 + 1 layers of 512, windows of 4, batches of 2048, 140 010 steps.
PUBLISHED = (
    "dataset.split.train=0.95",
    "dataset.split.validation=null",
    "dataset.split.test=0",
    "dataset.split.seed=null",
    "dataset.returns.mode=mean",
    "dataset.normalise={state:standard,action:standard,return:standard}",
    "dataset.normalise_floor=0.1",
    "dataset.window=4",
    "model.n_embd=512",
    "model.dropout=0.1",
    "experiment.num_steps=140010",
    "experiment.batch_size=2048",
    "optimizer.lr=1e-4",
    "optimizer.weight_decay=0.005",
    "optimizer.decay=linear",
    "scheduler=cosine",
    "scheduler.warmup_steps=40000",
    "trainer.grad_clip=null",
    "query=return",
    "query.target=100%",
    "evaluation.rollout=[bc,bc_two_stage,return,return_two_stage]",
    "experiment.num_eval_eps=20",
)


def runs(mode: Mode, column: str = "doorkey", data: Path = Path("data")) -> dict[str, list[str]]:
    """Overrides of ``train.py`` by name of the run, ``<regime>/<seed>``."""
    found = {}
    for regime, changes in REGIMES.items():
        for seed in range(SEEDS[mode]):
            line = ["masking=mtm_heteromodal", f"experiment.seed={seed}", f"dataset.unlabelled.seed={seed}"]
            if mode == "full":
                env, name, file = FULL[column]
                line += [f"env={env}", f"dataset.path={data / 'downloads' / name / file}", *PUBLISHED]
            else:
                line += QUICK
            found[f"{regime}/{seed}"] = [*line, *(c.format(lack=0.99) for c in changes)]
    return found


def missing(column: str, data: Path) -> str | None:
    """What has to be there before a column of the published figure can be trained; None where all is."""
    env, name, file = FULL[column]
    if env not in options(config_folder(), "env"):
        return f"there is no environment '{env}'"
    if not (data / "downloads" / name / file).is_file():
        return f"no data: python -m maskbench data fetch {name}"
    return None


def measure(results: Mapping[str, Run], mode: Mode, metric: str) -> dict[tuple[str, str], Measured]:
    """Mean over seeds by regime and query."""
    queries = ("bc", "bc_two_stage") if mode == "quick" else ("bc", "bc_two_stage", "return", "return_two_stage")
    seeds = range(SEEDS[mode])
    return {(r, q): acted([results[f"{r}/{s}"] for s in seeds], q, metric) for r in REGIMES for q in queries}


def best(found: dict[tuple[str, str], Measured], regime: str, two_stage: bool | None = None) -> Measured:
    """The better of a regime's policies (``two_stage``: only those that plan, or only those that do not)."""
    fitting = (m for (r, q), m in found.items() if r == regime and two_stage in (None, q.endswith("two_stage")))
    return max(fitting, key=lambda m: m.value)


def verdict(x: Measured, y: Measured, share: float = 1.0) -> str:
    """Whether ``x`` is at least that share of ``y``."""
    if x.value < share * y.value:
        return "does not hold"
    return "holds" if x.low > share * y.high else "holds, intervals overlap"


def table(found: dict[tuple[str, str], Measured], paper: dict[str, float], title: str) -> Table:
    """The paper's sentences, its numbers, ours, and whether they hold. The planner stands for heteromodal training, the better
    policy for the others."""
    ours = {r: best(found, r, True if r == "heteromodal" else None) for r in REGIMES}
    theirs = {"labelled": paper.get("MTM, 1 %"), "heteromodal": paper.get("Heteromodal MTM, 1 %")}
    theirs["all"] = paper.get("MLP-BC, 95 % labelled")
    pairs = (("heteromodal", "labelled"), ("all", "labelled"), ("all", "heteromodal"))
    rows: list[tuple[Cell, ...]] = []
    for a, b in pairs:
        x, y = ours[a], ours[b]
        rows.append((f"{LABELS[a]} > {LABELS[b]}", theirs[a], theirs[b], x, y, verdict(x, y)))
    return Table(title, ("ordering", "paper, first", "paper, second", "ours, first", "ours, second", "verdict"), tuple(rows))


def report(results: Mapping[str, Run], root: Path, mode: Mode, column: str, console: Console) -> None:
    """What one environment says of the paper's figure."""
    metric = "normalised_score" if mode == "full" else "return"
    found = measure(results, mode, metric)
    claims = {c.row: c.value for c in published("mtm", "heteromodal") if c.column == (column if mode == "full" else "Hopper")}
    verdicts = table(
        found, claims, f"Heteromodal training, {column} ({metric}; paper: {'its score' if mode == 'full' else 'Hopper'})"
    )
    publish({(LABELS[r], q): m for (r, q), m in found.items()}, verdicts, root / "heteromodal", metric, SEEDS[mode], console)


def publish(
    found: Mapping[tuple[str, str], Measured], verdicts: Table, stem: Path, metric: str, seeds: int, console: Console
) -> None:
    """Tables and the figure of one environment, from values by model and query."""
    values = Table(f"Mean over {seeds} seeds", ("model", "query", metric), tuple((*k, m) for k, m in found.items()))
    bars = [RolloutResult(*key, metric, m.value, m.low, m.high, seeds, "") for key, m in found.items()]
    values.save(stem)
    verdicts.save(stem.with_name(f"{stem.name}_orderings"))
    stem.with_suffix(".png").write_bytes(png(rollout_bars(bars, [metric])))
    short = Table(verdicts.title, ("ordering", "verdict"), tuple((r[0], r[-1]) for r in verdicts.rows), verdicts.notes)
    console.print(values.to_rich(), short.to_rich())
    console.print(f"figures and tables: {stem.parent}", soft_wrap=True)


def main(
    mode: Annotated[Mode, typer.Argument(help="quick | full")] = "quick",
    folder: Annotated[Path, typer.Option(help="where runs and results go")] = Path("train_runs/mtm/heteromodal"),
    data: Annotated[Path, typer.Option(help="folder of fetched data, for full")] = Path("data"),
    workers: Annotated[int, typer.Option(help="runs at the same time, one core each")] = 2,
) -> None:
    """Trains what is missing, then writes CSV and PNG and prints whether the paper's orderings hold."""
    console = Console(stderr=True)
    if mode == "quick":
        report(Campaign(folder / mode, runs(mode), workers).run(console), folder / mode, mode, "doorkey", console)
        return
    for column in FULL:
        if (why := missing(column, data)) is not None:
            console.print(f"{column}: left out, {why}", soft_wrap=True)
            continue
        root = folder / mode / FULL[column][0]
        report(Campaign(root, runs(mode, column, data), workers).run(console), root, mode, column, console)


if __name__ == "__main__":
    typer.run(main)
