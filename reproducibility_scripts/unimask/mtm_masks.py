"""MTM's ablation of masks: random autoregressive masks against plain random ones and return-conditioned specialists.

    python reproducibility_scripts/unimask/mtm_masks.py quick   # the key-door gridworld; two CPU cores
    python reproducibility_scripts/unimask/mtm_masks.py full    # published sizes on the D4RL files that are there

Models that differ in their masks alone, all asked to act towards a high return. The paper's sentence: random autoregressive
masks (AUTO_MASK) do at least as well as plain random ones (RANDOM), and come close to masks made for the question (RCBC).

``quick`` takes the gridworld's noisy Boltzmann expert (3000 episodes, two seeds; 14 minutes on two busy cores). Its
returns are sums, so the question shows what is still wanted at the timesteps up to now, not one average in every slot; beside
MTM's RCBC, which learns from all returns of a window, stands uniMASK's specialist (``return``, the first return alone).
``full`` takes medium-replay data of hopper, halfcheetah and walker2d where it is (fetched with ``python -m maskbench data
fetch``), asks for 100 % of the range of returns in every slot, as published, and lists what is missing. Finished runs are
never trained again; run it again to go on after an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from mtm_heteromodal import PUBLISHED, Mode, publish, verdict
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.app.config.folder import config_folder
from maskbench.app.config.help import options
from maskbench.reports.average import acted
from maskbench.reports.collect import Run
from maskbench.reports.tables import Cell, Measured, Table

SEEDS = {"quick": 2, "full": 5}
MASKS = {
    "AUTO_MASK": ("masking=mtm",),
    "RANDOM": ("masking=mtm_random",),
    "RCBC": ("masking=mtm_pattern", "masking.train.name=rcbc"),
    "return": ("masking=return", "model=autoencoder_mtm", "tokens=per_factor", "head=mtm"),
}
#: Masks made for the question.
SPECIALISTS = {"quick": ("RCBC", "return"), "full": ("RCBC",)}
QUICK = (
    "env=doorkey",
    "dataset.generate.episodes=3200",
    "dataset.split.train=3000",
    "dataset.split.validation=100",
    "dataset.split.test=100",
    "dataset.window=5",
    "model.n_embd=64",
    "experiment.num_steps=4000",
    "experiment.batch_size=64",
    "optimizer.lr=1e-3",
    "scheduler=cosine",
    "scheduler.warmup_steps=100",
    "evaluation.num_windows=500",
    "query=return",
    "evaluation.rollout=[bc,return]",
    "experiment.num_eval_eps=500",
    "masking.tasks=[bc,return]",
)
#: Name -> file of the D4RL data set below the data folder; the name is also the environment's.
FULL = {env: f"{env}_medium_replay-v2.hdf5" for env in ("hopper", "halfcheetah", "walker2d")}
#: "Close to": this share of the specialist's score.
CLOSE = 0.9


def names(mode: Mode) -> tuple[str, ...]:
    """The masks that are compared."""
    return ("AUTO_MASK", "RANDOM", *SPECIALISTS[mode])


def runs(mode: Mode, env: str = "doorkey", data: Path = Path("data")) -> dict[str, list[str]]:
    """Overrides of ``train.py`` by name of the run, ``<masks>/<seed>``."""
    found = {}
    for name in names(mode):
        masks = MASKS[name]
        for seed in range(SEEDS[mode]):
            line = [*masks, f"experiment.seed={seed}"]
            if mode == "full":
                path = data / "downloads" / f"d4rl/{env}-medium-replay-v2" / FULL[env]
                line += [f"env={env}", f"dataset.path={path}", *PUBLISHED, "evaluation.rollout=[bc,return]"]
            else:
                line += QUICK
            found[f"{name}/{seed}"] = line
    return found


def missing(env: str, data: Path) -> str | None:
    """What has to be there before an environment can be trained; None where all is."""
    if env not in options(config_folder(), "env"):
        return f"there is no environment '{env}'"
    name = f"d4rl/{env}-medium-replay-v2"
    return None if (data / "downloads" / name / FULL[env]).is_file() else f"no data: python -m maskbench data fetch {name}"


def table(ours: dict[str, Measured], title: str) -> Table:
    """The paper's two sentences, the second for every specialist, and whether they hold."""
    auto = ours["AUTO_MASK"]
    rows: list[tuple[Cell, ...]] = []
    for name, share in (("RANDOM", 1.0), *((n, CLOSE) for n in ours if n not in ("AUTO_MASK", "RANDOM"))):
        wanted = name if share == 1 else f"{share} {name}"
        rows.append((f"AUTO_MASK >= {wanted}", auto, ours[name], verdict(auto, ours[name], share)))
    notes = ("The paper gives no numbers for this.",)
    return Table(title, ("ordering", "ours, first", "ours, second", "verdict"), tuple(rows), notes)


def report(results: Mapping[str, Run], root: Path, mode: Mode, env: str, console: Console) -> None:
    """What one environment says of the paper's sentences."""
    metric = "normalised_score" if mode == "full" else "return"
    seeds, masks = range(SEEDS[mode]), names(mode)
    found = {(m, q): acted([results[f"{m}/{s}"] for s in seeds], q, metric) for m in masks for q in ("bc", "return")}
    verdicts = table({m: found[m, "return"] for m in masks}, f"Masks, {env}: asked for a return")
    publish(found, verdicts, root / "masks", metric, len(seeds), console)


def main(
    mode: Annotated[Mode, typer.Argument(help="quick | full")] = "quick",
    folder: Annotated[Path, typer.Option(help="where runs and results go")] = Path("train_runs/mtm/masks"),
    data: Annotated[Path, typer.Option(help="folder of fetched data, for full")] = Path("data"),
    workers: Annotated[int, typer.Option(help="runs at the same time, one core each")] = 2,
) -> None:
    """Trains what is missing, then writes CSV and PNG and prints whether the paper's orderings hold."""
    console = Console(stderr=True)
    if mode == "quick":
        report(Campaign(folder / mode, runs(mode), workers).run(console), folder / mode, mode, "doorkey", console)
        return
    for env in FULL:
        if (why := missing(env, data)) is not None:
            console.print(f"{env}: left out, {why}", soft_wrap=True)
            continue
        done = Campaign(folder / mode / env, runs(mode, env, data), workers).run(console)
        report(done, folder / mode / env, mode, env, console)


if __name__ == "__main__":
    typer.run(main)
