"""What the scripts of Behavior Transformers and its reproducibility study share: command lines, numbers, tables, figures."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import torch
import typer
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.app.experiment import Model, build_dataset, load_model
from maskbench.app.measure import recompute
from maskbench.envs.base import MetricsVersion
from maskbench.envs.kitchen.tasks import TASKS
from maskbench.errors import DataError
from maskbench.models.heads.bins import BinsHead
from maskbench.policies.queries import Query
from maskbench.reports.average import acted
from maskbench.reports.behaviour import pushes, sequence_flow
from maskbench.reports.claims import Claim, published
from maskbench.reports.collect import RolloutResult, Run
from maskbench.reports.comparison import Key, Ordering, ordering_table, verdicts
from maskbench.reports.plane import action_bins, trajectories
from maskbench.reports.style import png
from maskbench.reports.tables import Cell, Measured, Table
from maskbench.rollout.metrics import bootstrap_entropy, mode_of
from maskbench.rollout.plan import EpisodePlan, PlanRow
from maskbench.rollout.records import read_records
from maskbench.rollout.runner import RolloutRunner
from maskbench.trajectory import EpisodeRecord

Mode = Literal["quick", "full"]
Env = Literal["blockpush", "kitchen", "pointmass1", "pointmass2"]

#: Arguments and options that the scripts share.
ModeArgument = Annotated[str, typer.Argument(help="quick | full")]
EnvOption = Annotated[str, typer.Option("--env", help="blockpush | kitchen | pointmass1 | pointmass2")]
FolderOption = Annotated[Path | None, typer.Option("--folder", help="where runs and results go")]
OnlyOption = Annotated[list[str] | None, typer.Option("--only", help="a variant to train, again for more; all by default")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help="seeds 0, 1, ...; 2 in quick, the study's number in full")]
WorkersOption = Annotated[int, typer.Option("--workers", help="runs at the same time, one core each")]
MoreOption = Annotated[list[str] | None, typer.Option("--more", help="an override of every run, again for more")]

#: Metrics of an environment's table.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "blockpush": ("R1", "R2", "P1", "P2"),
    "kitchen": ("p_1", "p_2", "p_3", "p_4", "p_5", "sequence_entropy", "task_entropy"),
    "pointmass1": ("success", "mode_entropy", "mode_coverage", "mode_kl"),
    "pointmass2": ("success", "mode_entropy", "mode_coverage", "mode_kl"),
}
#: Metrics that are no fractions of episodes, whose intervals end at 0 and 1.
NO_SHARES = ("return", "tasks", "sequence_entropy", "task_entropy", "mode_entropy", "mode_kl")
#: Environments alive at once in rollouts that are drawn.
SLOTS = 64
#: Published network: layers and width (heads belong to the transformer).
SIZES: Mapping[str, tuple[int, int]] = {"blockpush": (4, 72), "kitchen": (6, 120), "pointmass1": (1, 20), "pointmass2": (1, 20)}
#: Published bins and window.
PUBLISHED: Mapping[str, tuple[int, int]] = {
    "blockpush": (24, 5),
    "kitchen": (64, 10),
    "pointmass1": (3, 2),
    "pointmass2": (3, 2),
}
#: What ``quick`` changes where the environment has no quick preset: a higher rate along a cosine, and no dropout.
QUICK_POINTMASS = (
    *("experiment.num_prior_epochs=null", "experiment.num_steps=6000", "optimizer.lr=1e-3"),
    *("scheduler.name=cosine", "scheduler.warmup_steps=200", "scheduler.final_ratio=0.02"),
)
#: The study's tuned MLP (its best of 25 trials): learning rate and weight decay; neither clips.
TUNED_MLP = {"blockpush": (3.05e-4, 0.05), "kitchen": (5.3e-4, 0.01)}


def line(env: str, mode: Mode, seed: int, model: str = "decoder", extra: Sequence[str] = ()) -> list[str]:
    """Overrides of ``train.py`` for one run. model: ``decoder`` (the paper's), ``mlp`` or ``lstm`` in the study's sizes."""
    quick = mode == "quick"
    preset = f"{env}_quick" if quick and env in TUNED_MLP else env
    found = [f"paper=bet/{preset}" if model == "decoder" else f"paper=bet/recipe/{preset}", f"experiment.seed={seed}"]
    layers, width = SIZES[env]
    if model == "mlp":
        sizes = (f"model.n_layer={layers}", f"model.n_hidden={width}", f"model.n_embd={width}", "model.dropout=0")
        found += ["model=mlp", *sizes, "model.norm=batch", "model.init=orthogonal"]
    elif model == "lstm":
        found += ["model=lstm", "model.n_layer=2", f"model.n_embd={256 if quick else 1024}"]
    if quick and env not in TUNED_MLP:
        found += [*QUICK_POINTMASS, *(["model.dropout=0"] if model == "decoder" else [])]
    return [*found, *extra]


def seeds_of(mode: Mode, asked: int | None, full: int) -> int:
    """How many seeds: as asked, else two in ``quick`` and the study's number in ``full``."""
    return asked or (2 if mode == "quick" else full)


def train(
    root: Path, lines: Mapping[str, Sequence[str]], workers: int, console: Console, only: Collection[str] | None = None
) -> dict[str, list[Run]]:
    """Results by group: the names of ``lines`` are ``<group>/<seed>``. Trains what is missing, of the groups ``only`` if given;
    groups of which no run is finished then have no results."""
    wanted = None if only is None else [name for name in lines if name.rpartition("/")[0] in only]
    done = Campaign(root, lines, workers).run(console, wanted)
    groups: dict[str, list[Run]] = {}
    for name, run in done.items():
        groups.setdefault(name.rpartition("/")[0], []).append(run)
    return groups


def train_rows(
    root: Path,
    rows: Collection[str],
    only: Collection[str] | None,
    line_of: Callable[[str, int], Sequence[str]],
    more: Sequence[str] | None,
    seeds: int,
    workers: int,
    console: Console,
) -> dict[str, list[Run]]:
    """Results of the rows of a table that have any, after those ``only`` (None: of all) are trained for so many ``seeds``.

    line_of: overrides of a row and seed; ``more`` are those of every run.
    A row's runs lie in a folder of its name, spaces as underscores. Raises BadParameter where ``only`` names no row.
    """
    if unknown := [row for row in only or () if row not in rows]:
        raise typer.BadParameter(f"rows are {', '.join(rows)}; found {unknown}")
    folders = {row.replace(" ", "_").translate({ord(c): None for c in ",()"}): row for row in rows}
    lines = {f"{folder}/{s}": [*line_of(row, s), *(more or ())] for s in range(seeds) for folder, row in folders.items()}
    results = train(root, lines, workers, console, only=[f for f, row in folders.items() if row in (only or rows)])
    return {folders[folder]: runs for folder, runs in results.items()}


def judged(runs: Sequence[Run], version: MetricsVersion) -> list[Run]:
    """The same rollouts by another definition."""
    found = []
    for run in runs:
        rows = recompute(run.folder, version)
        results = (RolloutResult(r.query, r.policy, r.metric, r.value, r.low, r.high, r.n, r.definition) for r in rows)
        found.append(Run(run.folder, config=run.config, rollouts=tuple(results)))
    return found


def numbers(runs: Sequence[Run], env: str, columns: Sequence[str] = ()) -> dict[str, Measured]:
    """The metrics of a table over seeds; one that no rollout could give (the entropy of no modes) is left out."""
    found = {}
    for metric in columns or COLUMNS[env]:
        try:
            measured = acted(runs, "bc", metric)
        except DataError:
            continue
        if math.isfinite(measured.value):
            share = metric not in NO_SHARES
            found[metric] = Measured(measured.value, max(0.0, measured.low), min(1.0, measured.high)) if share else measured
    return found


def demonstrations(run: Run, env: str) -> dict[str, Measured]:
    """The same metrics of what the model was trained on, where the modes of demonstrations say them."""
    counts = demonstrated(run)
    orders = [mode.split(">") for mode, count in counts.items() for _ in range(count)]
    if env == "kitchen":
        found = {f"p_{n}": Measured(float(np.mean([len(o) >= n for o in orders]))) for n in range(1, 6)}
        whole = bootstrap_entropy([[">".join(o)] for o in orders])
        padded = bootstrap_entropy([o + ["_"] * max(0, 5 - len(o)) for o in orders])
        return found | {
            "sequence_entropy": Measured(whole.value, whole.low, whole.high),
            "task_entropy": Measured(padded.value, padded.low, padded.high),
        }
    if env == "blockpush":
        both = float(np.mean([len(o) == 2 for o in orders]))
        return {"R1": Measured(1.0), "R2": Measured(both), "P1": Measured(1.0), "P2": Measured(both)}
    entropy = bootstrap_entropy(orders)
    return {"success": Measured(1.0), "mode_entropy": Measured(entropy.value, entropy.low, entropy.high)}


def demonstrated(run: Run) -> dict[str, int]:
    """Training episodes by mode."""
    content: dict[str, int] = json.loads((run.folder / "evaluation" / "bc" / "demonstrated_modes.json").read_text())
    return content


def claims(env: str) -> tuple[list[Claim], list[Claim]]:
    """The original's numbers of an environment, and the study's."""
    if env not in TUNED_MLP:
        return [], []
    return [c for c in published("bet", "paper") if c.column in COLUMNS[env]], published("bet", env)


def side_by_side(title: str, env: str, ours: Mapping[str, Mapping[str, Measured]], **others: Mapping[Key, Measured]) -> Table:
    """One row a variant and metric: the paper, the study, ours; ``others`` are further columns of ours."""
    original, study = ({(c.row, c.column): c for c in found} for found in claims(env))
    keys = dict.fromkeys([(row, m) for row, values in ours.items() for m in values])
    keys |= dict.fromkeys(k for k in study if k[0] in ours)
    rows: list[tuple[Cell, ...]] = []
    for row, metric in keys:
        theirs = [_claimed(original.get((row, metric))), _claimed(study.get((row, metric)))]
        rows.append((row, metric, *theirs, ours[row].get(metric), *(found.get((row, metric)) for found in others.values())))
    notes = (
        "Paper and study trained on other demonstrations and in other simulators: ours are generated (maskbench-gen).",
        "Study: mean and standard deviation over seeds. Ours: mean over seeds with a 95 % interval.",
    )
    named = tuple(name.replace("_", " ") for name in others)
    return Table(title, ("variant", "metric", "paper", "study", "ours", *named), tuple(rows), notes)


def diversity(runs: Sequence[Run]) -> Table:
    """Block push: which block came first and which went where, of the original, the study and ours; demonstrations have .50."""
    claims = published("bet", "diversity")
    theirs = {(c.row, c.column): c for c in claims}
    metrics = tuple(dict.fromkeys(c.column for c in claims))
    ours = numbers(runs, "blockpush", metrics)
    rows = tuple((m, *(_claimed(theirs.get((row, m))) for row in ("original", "study")), ours.get(m)) for m in metrics)
    return Table("Block push: which block, which zone", ("metric", "paper", "study", "ours"), rows)


def _claimed(claim: Claim | None) -> Measured | None:
    if claim is None:
        return None
    reach = math.nan if claim.error is None else claim.error
    return Measured(claim.value, claim.value - reach, claim.value + reach)


def write(
    folder: Path,
    name: str,
    table: Table,
    orderings: Sequence[Ordering],
    env: str,
    ours: Mapping[str, Mapping[str, Measured]],
    console: Console,
) -> None:
    """Tables side by side and of orderings, on disk and on the console."""
    table.save(folder / name)
    flat = {(row, metric): m for row, values in ours.items() for metric, m in values.items()}
    console.print(table.to_rich())
    if orderings:
        held = ordering_table(f"{env}: what is said of it", orderings, claims(env)[1], flat, lower_is_better=False)
        held.save(folder / f"{name}_orderings")
        console.print(verdicts(held).to_rich())
    console.print(f"tables and figures: {folder}")


def better(first: str, second: str, metrics: Sequence[str]) -> tuple[tuple[Key, Key], ...]:
    """Pairs that say: ``first`` has more of every metric."""
    return tuple(((first, m), (second, m)) for m in metrics)


def draw_behaviour(run: Run, env: str, path: Path, episodes: int = 60) -> None:
    """What the model does beside its demonstrations: routes, pushes, or orders of tasks."""
    if env == "kitchen":
        records = read_records(run.folder / "evaluation" / "bc")
        modes = [mode_of(r) for r in records]
        panels = {"demonstrations": demonstrated(run), "model": {m: modes.count(m) for m in modes}}
        names = {task.letter: name.replace("_", " ") for name, task in TASKS.items()}
        path.write_bytes(png(sequence_flow(panels, names, title="Kitchen: which task follows which")))
        return
    model = load_model(str(run.folder))
    groups: dict[str, list[np.ndarray]] = {}
    for record in played(model, episodes):
        groups.setdefault(mode_of(record) or "none", []).append(walked(record))
    groups = dict(sorted(groups.items(), key=lambda item: -len(item[1])))
    if env == "blockpush":
        kept = dict(list(groups.items())[:5])
        path.write_bytes(png(pushes(kept, title=f"Block push: {episodes} rollouts by mode")))
        return
    behind = list(itertools.islice(demonstrated_states(model), 100))
    title = f"{env}: {episodes} rollouts by route, over demonstrations"
    path.write_bytes(png(trajectories(groups, behind=behind, title=title, jitter=0.08)))


def draw_actions(run: Run, path: Path, samples: int = 200, shown: int = 8000) -> bool:
    """Demonstrated actions by bin, and those that the model draws at three moments of a held-out episode. False where actions
    lie in no plane or the model has no bins."""
    model = load_model(str(run.folder))
    action = model.spec.with_role("action")[0].name
    head = model.network.head(action)
    if not isinstance(head, BinsHead) or head.factor.width != 2:
        return False
    data = build_dataset(model.config.dataset, model.environment, model.config.experiment.data_root)
    normaliser, rng = model.normaliser, np.random.default_rng(0)
    rows = data.store.rows(data.split.train)
    found = data.store.array(action)[np.sort(rng.choice(rows, min(shown, len(rows)), replace=False))]
    bins = head.encode(normaliser.apply(action, torch.as_tensor(found, dtype=torch.float32)))
    centres = normaliser.invert(action, head.centres)
    episode = data.store.episode(int(data.split.validation[0])).values
    moments = sorted({0, len(episode[action]) // 3, 2 * len(episode[action]) // 3})
    policy = model.policy(Query("bc", action_batch=samples), 1)
    policy.reset(np.array([0]), [PlanRow(0, 0, 0)])
    clouds = {}
    for step in range(moments[-1] + 1):
        policy.act({f.name: episode[f.name][step : step + 1] for f in model.environment.spec.with_role("state")}, np.array([0]))
        if step in moments:
            clouds[f"{samples} draws at step {step}"] = policy.cloud[0]
    title = f"{model.environment.name}: actions, bins and what the model draws in a held-out episode"
    path.write_bytes(png(action_bins(found, bins.numpy(), centres.numpy(), clouds, title=title)))
    return True


def played(model: Model, episodes: int, seed: int = 1) -> list[EpisodeRecord]:
    """Rollouts of a model asked to imitate, with what it saw and did; the same ones every time."""
    runner = RolloutRunner(
        model.environment, partial(model.policy, Query("bc"), SLOTS), num_slots=SLOTS, record_trajectories=True
    )
    return runner.run(EpisodePlan.build(episodes, seed=seed))


def demonstrated_states(model: Model) -> Iterator[np.ndarray]:
    """States ``(length + 1, width)`` of each demonstration."""
    store = build_dataset(model.config.dataset, model.environment, model.config.experiment.data_root).store
    for i in range(store.num_episodes):
        yield walked_episode(store.episode(i).values["state"], store.finals["state"][i])


def walked(record: EpisodeRecord) -> np.ndarray:
    """States ``(length + 1, width)`` of a rollout."""
    assert record.trajectory is not None
    return walked_episode(record.trajectory["state"], record.trajectory["final.state"])


def walked_episode(states: np.ndarray, final: np.ndarray) -> np.ndarray:
    return np.vstack((states, final[None]))


def checked(mode: str, env: str) -> tuple[Mode, Env]:
    """Both as they may be, else a message of the command line."""
    if mode not in get_args(Mode):
        raise typer.BadParameter(f"mode is quick or full; found '{mode}'")
    if env not in get_args(Env):
        raise typer.BadParameter(f"env is one of {', '.join(get_args(Env))}; found '{env}'")
    return mode, env  # type: ignore[return-value]
