"""MTM's ablation of masks: random autoregressive masks against plain random ones and a return-conditioned specialist.

    python reproducibility_scripts/unimask/mtm_masks.py quick   # maze2d, generated; two CPU cores
    python reproducibility_scripts/unimask/mtm_masks.py full    # published sizes on the D4RL files that are there

Three models that differ in their masks alone, all asked for a high return in every slot (RCBC). The paper's sentence: random
autoregressive masks (AUTO_MASK) do at least as well as plain random ones (RANDOM), and come close to masks made for the
question (RCBC).

``quick`` takes maze2d-medium's balls that wander to random goals: only returns tell which of them came by the task's goal.
``full`` takes hopper, halfcheetah and walker2d medium-replay data where it is (fetched with ``python -m maskbench data fetch``)
and lists what is missing. Finished runs are never trained again; run it again to go on after an interruption.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from mtm_heteromodal import PUBLISHED, SEEDS, Mode
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.app.config.folder import config_folder
from maskbench.app.config.help import options
from maskbench.reports.collect import RolloutResult
from maskbench.reports.figures import png, rollout_bars
from maskbench.reports.pooled import over_seeds
from maskbench.reports.tables import Cell, Measured, Table

MASKS = {
    "AUTO_MASK": ("masking=mtm",),
    "RANDOM": ("masking=mtm_random",),
    "RCBC": ("masking=mtm_pattern", "masking.train.name=rcbc"),
}
QUICK = (
    "env=maze2d_medium",
    "env.horizon=300",
    "dataset.generate.episodes=400",
    "dataset.returns.mode=mean",
    "dataset.normalise.return=standard",
    "dataset.window=5",
    "model.n_embd=64",
    "model.dropout=0",
    "experiment.num_steps=4000",
    "experiment.batch_size=64",
    "optimizer.lr=2e-3",
    "scheduler=cosine",
    "scheduler.warmup_steps=100",
    "evaluation.num_windows=500",
    "query=return",
    "query.target=100%",
    "evaluation.rollout=[bc,return]",
    "experiment.num_eval_eps=50",
    "masking.tasks=[bc,return,last_state,action_between]",
)
#: Name -> file of the D4RL data set below the data folder; the name is also the environment's.
FULL = {env: f"{env}_medium_replay-v2.hdf5" for env in ("hopper", "halfcheetah", "walker2d")}
#: "Close to": this share of the specialist's score.
CLOSE = 0.9


def runs(mode: Mode, env: str = "maze2d_medium", data: Path = Path("data")) -> dict[str, list[str]]:
    """Overrides of ``train.py`` by name of the run, ``<masks>/<seed>``."""
    found = {}
    for name, masks in MASKS.items():
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
    """The paper's two sentences, and whether they hold."""
    auto, random, special = (ours[name] for name in MASKS)
    rows: tuple[tuple[Cell, ...], ...] = (
        ("AUTO_MASK >= RANDOM", auto, random, "holds" if auto.value >= random.value else "does not hold"),
        (f"AUTO_MASK >= {CLOSE} RCBC", auto, special, "holds" if auto.value >= CLOSE * special.value else "does not hold"),
    )
    return Table(title, ("ordering", "ours, first", "ours, second", "verdict"), rows, ("The paper gives no numbers for this.",))


def report(root: Path, mode: Mode, env: str, console: Console) -> None:
    """CSV, PNG and the tables of one environment."""
    metric = "normalised_score" if mode == "full" else "episode_return"
    seeds = range(SEEDS[mode])
    found = {(m, q): over_seeds([root / f"{m}/{s}" for s in seeds], q, metric) for m in MASKS for q in ("bc", "return")}
    values = Table(f"{env}, {len(seeds)} seeds", ("masks", "query", metric), tuple((*key, m) for key, m in found.items()))
    verdicts = table({m: found[m, "return"] for m in MASKS}, f"Masks, {env}: asked for a return")
    bars = [RolloutResult(m, q, metric, v.value, v.low, v.high, len(seeds), "") for (m, q), v in found.items()]
    (root / "masks.csv").write_text(values.to_csv(), encoding="utf-8")
    (root / "masks_orderings.csv").write_text(verdicts.to_csv(), encoding="utf-8")
    (root / "masks.png").write_bytes(png(rollout_bars(bars, [metric])))
    console.print(values.to_rich(), verdicts.to_rich())


def main(
    mode: Annotated[Mode, typer.Argument(help="quick | full")] = "quick",
    folder: Annotated[Path, typer.Option(help="where runs and results go")] = Path("train_runs/mtm/masks"),
    data: Annotated[Path, typer.Option(help="folder of fetched data, for full")] = Path("data"),
) -> None:
    """Trains what is missing, then writes CSV and PNG and prints whether the paper's orderings hold."""
    console = Console(stderr=True)
    if mode == "quick":
        Campaign(folder / mode, runs(mode)).run(console)
        report(folder / mode, mode, "maze2d_medium", console)
        return
    for env in FULL:
        if (why := missing(env, data)) is not None:
            console.print(f"{env}: left out, {why}", soft_wrap=True)
            continue
        Campaign(folder / mode / env, runs(mode, env, data)).run(console)
        report(folder / mode / env, mode, env, console)


if __name__ == "__main__":
    typer.run(main)
