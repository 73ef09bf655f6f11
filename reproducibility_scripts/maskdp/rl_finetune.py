"""MaskDP, Figure 8: offline RL from pretrained trunks and from new ones, on exploratory data.

    python reproducibility_scripts/maskdp/rl_finetune.py quick --data <tree>   # 10 000 updates, 3 seeds; 37 CPU minutes
    python reproducibility_scripts/maskdp/rl_finetune.py full --data <tree>    # 40 000 updates of the published size; a GPU

``--data`` is a tree with exploratory episodes (unsup) of the domain: python -m maskbench collect env=walker agent=rnd. Models
are pretrained on all its episodes, without rewards; agents learn from its unsup episodes, relabelled for the task. Beside
MaskDP and GPT stand their trunks as initialised and orthogonal, as published; ``quick`` compares MaskDP with its trunk as
initialised (``--starts all --trunks MaskDP,GPT`` for the rest: 18 runs, about two CPU hours). ``--protocol code``
freezes of a GPT what the released code freezes, fair trains everything of both. Judged at the last evaluation, and by the mean
over all of them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import maskdp_study as study
import numpy as np
import typer
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.reports.behaviour import swept
from maskbench.reports.collect import Run
from maskbench.reports.comparison import Key, Ordering
from maskbench.reports.style import png
from maskbench.reports.tables import Measured, Table
from maskbench.rollout.metrics import bootstrap_mean

SEEDS = 3
STARTS = ("pretrained", "new", "orthogonal")
#: Trunks and starts that are compared where none are named.
COMPARED = {"quick": ("MaskDP", "pretrained,new"), "full": ("MaskDP,GPT", "all")}
TRUNKS = {"MaskDP": "maskdp", "GPT": "maskdp_gpt"}
#: Published sizes of new trunks; pretrained ones bring theirs.
SIZES = {"MaskDP": ["model.n_enc_layer=3", "model.n_dec_layer=2"], "GPT": ["model.n_layer=5"]}
PRESETS = {"quick": ("", "paper=maskdp/rl_quick"), "full": ("paper=maskdp/{}", "paper=maskdp/rl")}


def runs(
    mode: study.Mode, task: str, data: Path, root: Path, protocol: str, seeds: int, trunks: str = "", starts: str = ""
) -> dict[str, list[str]]:
    """Overrides by name: a pretraining of each trunk, then ``<trunk> <start>/<seed>``. Trunks and starts are separated by
    commas; none: those of the mode."""
    trunks, starts = trunks or COMPARED[mode][0], starts or COMPARED[mode][1]
    began = STARTS if starts == "all" else tuple(starts.split(","))
    if not set(trunks.split(",")) <= set(TRUNKS) or not set(began) <= set(STARTS):
        raise typer.BadParameter(f"trunks are {[*TRUNKS]}, starts {[*STARTS]} or all; found '{trunks}' and '{starts}'")
    domain, _, name = task.partition("_")
    where = [f"env={domain}", f"env.task={name}", f"dataset.path={data}"]
    found = {}
    for trunk in trunks.split(","):
        masking = TRUNKS[trunk]
        preset = f"paper=maskdp/{'pretrain' if trunk == 'MaskDP' else masking}" if mode == "full" else f"masking={masking}"
        found[f"pretrained/{trunk}"] = [preset, *where, "evaluation.rollout=[]"]
        freeze = "as_published" if protocol == "code" else "none"
        shared = [PRESETS[mode][1], *where, "dataset.qualities=[unsup]", f"rl.freeze={freeze}"]
        if trunk == "GPT":  # paper=maskdp/rl* choose masking=maskdp; the trunk comes from the loaded run or from here
            shared += [f"masking={masking}", "rl=td3"]
        size = SIZES[trunk] if mode == "full" else []
        for s in range(seeds):
            line = [*shared, f"experiment.seed={s}"]
            own = {
                "pretrained": [f"model.load_dir={root / 'pretrained' / trunk}"],
                "new": size,
                "orthogonal": [*size, "rl.init=orthogonal"],
            }
            found |= {f"{trunk} {start}/{s}": [*line, *own[start]] for start in began}
    return found


def curve(runs: Sequence[Run]) -> dict[int, list[float]]:
    """Mean returns of every seed by update."""
    found: dict[int, list[float]] = {}
    for run in runs:
        with (run.folder / "evaluation" / "returns.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found.setdefault(int(row["step"]), []).append(float(row["return"]))
    return found


def interval(values: Sequence[float]) -> Measured:
    """Mean over seeds with its bootstrap interval."""
    found = bootstrap_mean(values)
    return Measured(found.value, found.low, found.high)


def report(found: Mapping[str, Sequence[Run]], root: Path, task: str, console: Console) -> None:
    """The curves as a table and a figure; pretrained against new trunks at the end and on average."""
    curves = {name: curve(group) for name, group in found.items() if not name.startswith("pretrained")}
    cells: dict[Key, Measured] = {}
    for name, steps in curves.items():
        cells[name, "at the end"] = interval(steps[max(steps)])
        cells[name, "mean of all evaluations"] = interval(np.mean([steps[s] for s in steps if s], axis=0).tolist())
    columns = ("at the end", "mean of all evaluations")
    orderings = [
        Ordering(f"{t} pretrained is above {t} {other}", tuple(((f"{t} pretrained", c), (f"{t} {other}", c)) for c in columns))
        for t in TRUNKS
        for other in STARTS[1:]
        if {f"{t} pretrained", f"{t} {other}"} <= set(curves)
    ]
    title = f"Offline RL, {task}"
    study.publish(root, "rl_finetune", title, cells, orderings, console, lower_is_better=False, unit="return")
    every = sorted({s for steps in curves.values() for s in steps})
    rows = tuple((s, *(interval(c[s]) if s in c else None for c in curves.values())) for s in every)
    Table(f"{title}: return by update", ("update", *curves), rows).save(root / "rl_curves")
    series = {name: {float(s): interval(values) for s, values in steps.items()} for name, steps in curves.items()}
    (root / "rl_curves.png").write_bytes(png(swept(title, series, x_label="update", y_label="return")))
    for trunk in TRUNKS:
        if not {f"{trunk} pretrained", f"{trunk} new"} <= set(curves):
            continue
        ours, new = cells[f"{trunk} pretrained", columns[0]], cells[f"{trunk} new", columns[0]]
        clear = ours.low > new.high
        console.print(f"{trunk}: pretrained {'is clearly above' if clear else 'is not clearly above'} new at the end")


def main(
    data: study.Data,
    mode: study.ModeArgument = "quick",
    task: Annotated[str, typer.Option(help="<domain>_<task> whose rewards agents learn from")] = "walker_run",
    protocol: Annotated[str, typer.Option(help="fair | code: what of a GPT is frozen")] = "fair",
    trunks: Annotated[str, typer.Option(help="MaskDP, GPT or both; quick takes MaskDP where none is given")] = "",
    starts: Annotated[str, typer.Option(help="pretrained, new, orthogonal or all; quick takes the first two")] = "",
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ...")] = SEEDS,
    folder: Annotated[Path, typer.Option(help="where runs and results go")] = Path("train_runs/maskdp/rl_finetune"),
    workers: study.Workers = 2,
) -> None:
    """Trains what is missing, then tabulates, judges and draws."""
    console, how = Console(stderr=True), study.checked(mode, data)
    root = folder / how / protocol / task
    done = Campaign(root, runs(how, task, data, root, protocol, seeds, trunks, starts), workers).run(console)
    report(study.groups(done), root, task, console)


if __name__ == "__main__":
    typer.run(main)
