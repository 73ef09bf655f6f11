"""What the scripts of VIMA and CoGeLoT share: command lines, episodes on the test levels, rates, tables, verdicts, figures.

``quick`` trains small models on one task (on three for ``per_task.py``) and plays 200 episodes a cell; ``full`` trains the
published sizes on the 13 training tasks and plays 200 episodes a task and cell. Both generate what they learn from.

Runs are trained once, below ``--folder``; ``--use <name>=<run folder>`` takes a finished run from elsewhere instead, and
``--skip <model>`` leaves out a model and its rows. Names are those that a script lists when it begins.

Every cell of every script plays the same seeds, so that differences are paired. Episodes that were played are kept in the
model's run folder, below ``played``, and never played again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from rich.console import Console

from maskbench.app.acting import make_query
from maskbench.app.campaign import Campaign
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.runs import has_checkpoint
from maskbench.app.experiment import Model, load_model
from maskbench.envs.base import Environment
from maskbench.envs.tabletop.partitions import tasks_of
from maskbench.errors import did_you_mean
from maskbench.masking.prompt import PromptRule
from maskbench.policies.queries import Query
from maskbench.reports.average import spread
from maskbench.reports.claims import published
from maskbench.reports.comparison import Key, Ordering, ordering_table, verdicts
from maskbench.reports.figures import grouped_bars
from maskbench.reports.style import png
from maskbench.reports.tables import Cell, Measured, Table
from maskbench.rollout.metrics import paired_difference, wilson
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.policy import RandomPolicy
from maskbench.rollout.records import RECORDS, read_records, write_records
from maskbench.rollout.runner import PolicyFactory, RolloutRunner
from maskbench.trajectory import EpisodeRecord

Mode = Literal["quick", "full"]
#: What was played: records by seed, by row and level.
Cells = Mapping[Key, Sequence[Sequence[EpisodeRecord]]]
#: Test levels.
LEVELS: Mapping[str, str] = {
    "L1": "placement_generalization",
    "L2": "combinatorial_generalization",
    "L3": "novel_object_generalization",
    "L4": "novel_task_generalization",
}
#: What each script's models change in the preset.
MODELS: Mapping[str, tuple[str, ...]] = {
    "objects, cross-attention": (),
    "objects, concatenation": ("model.conditioning=causal",),
    "patches, cross-attention": ("env.observe=pictures", "model.sight.kind=patches"),
    "patches, concatenation": ("env.observe=pictures", "model.sight.kind=patches", "model.conditioning=causal"),
    "prompt-blind": ("masking=vima_disable_both",),
    "spawn order": ("env.order=spawn", "dataset.sampling.shuffle_slots=none"),
    "spawn order, prompt-blind": ("masking=vima_disable_both", "env.order=spawn", "dataset.sampling.shuffle_slots=none"),
    "paraphrased": ("dataset.perturb=[reworded]",),
}
#: The model that the others are compared with.
WHOLE = "objects, cross-attention"
#: Seeds of the played episodes, the same for every cell.
SEED = 42
#: Episodes that are alive at once.
_SLOTS = 64
#: Half the width of a 95 % interval in standard errors.
_Z = 1.96

RUNS = Path("train_runs/vima/study")


@dataclass(frozen=True)
class Asked:
    """One cell: where a model plays, and what is done to its instructions.

    level:   a key of ``LEVELS``. tasks: None = all that the model was trained on and the level holds; the level's own at L4.
    shuffle: object slots change places at every observation.
    """

    level: str = "L1"
    tasks: tuple[str, ...] | None = None
    difficulty: str = "easy"
    perturb: tuple[str, ...] = ()
    prompt: PromptRule = field(default_factory=PromptRule)
    shuffle: bool = False

    def query(self, model: Model) -> Query:
        """What is asked of ``model``, which draws its actions as its preset says. Parts of prompts that it was trained without
        stay hidden."""
        drawn, trained = make_query(model.config.query, "bc"), model.config.masking.prompt
        parts = {f.name: getattr(self.prompt, f.name) * (getattr(trained, f.name) > 0) for f in fields(PromptRule)}
        return replace(drawn, perturb=self.perturb, prompt=PromptRule(**parts), shuffle_slots=self.shuffle)


def at(asked: Asked, level: str) -> Asked:
    """The same question on another level."""
    return replace(asked, level=level)


def hidden(asked: Asked) -> Asked:
    """The same question without its prompt."""
    return replace(asked, prompt=PromptRule(both=0.0))


def checked(mode: str) -> Mode:
    """Refuses another mode."""
    if mode not in ("quick", "full"):
        raise typer.BadParameter(f"mode is quick or full; found '{mode}'")
    return mode  # type: ignore[return-value]


def levels(mode: Mode) -> tuple[str, ...]:
    """L4 asks for tasks of several actions, which quick models never learn."""
    return tuple(LEVELS) if mode == "full" else ("L1", "L2", "L3")


def line(model: str, mode: Mode, seed: int, preset: str = "visual_manipulation_quick", extra: Sequence[str] = ()) -> list[str]:
    """Overrides of ``train.py`` for one model; ``preset`` is that of ``quick``. The script itself plays."""
    found = [f"paper=vima/{preset if mode == 'quick' else 'full'}", *MODELS[model]]
    return [*found, f"experiment.seed={seed}", "evaluation.rollout=[]", *extra]


def lines(models: Iterable[str], mode: Mode, seeds: int) -> dict[str, list[str]]:
    """Overrides by name, ``<model>/<seed>``."""
    return {f"{slug(m)}/{s}": line(m, mode, s) for m in models for s in range(seeds)}


def slug(name: str) -> str:
    """A name as a folder."""
    return name.replace(",", "").replace(" ", "_")


@dataclass(frozen=True)
class Trained:
    """A model with its last weights, and the folder of its run."""

    folder: Path
    model: Model


Runs = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Stage:
    """Where a script plays its models.

    models: by the name of the run's folder, one a seed.
    """

    root: Path
    mode: Mode
    episodes: int
    console: Console
    models: Mapping[str, Sequence[Trained]]

    @property
    def columns(self) -> tuple[str, ...]:
        return levels(self.mode)

    def has(self, name: str) -> bool:
        """Whether a model was not skipped."""
        return slug(name) in self.models

    def model(self, name: str) -> Sequence[Trained]:
        """Every seed of a model. Raises BadParameter where it was skipped."""
        if not self.has(name):
            raise typer.BadParameter(f"--skip {slug(name)}: the script needs this model")
        return self.models[slug(name)]

    def play(self, name: str, asked: Asked) -> list[list[EpisodeRecord]]:
        """A cell by every seed of a model."""
        return [play(t.folder, t.model, asked, self.episodes) for t in self.model(name)]

    def chance(self, name: str, asked: Asked) -> list[list[EpisodeRecord]]:
        """Uniform actions on the episodes of a cell of a model."""
        first = self.model(name)[0]
        return [play(first.folder, first.model, asked, self.episodes, "random")]

    def rows(self, name: str, asked: Mapping[str, Asked]) -> dict[Key, list[list[EpisodeRecord]]]:
        """Rows of one model on all levels; none where it was skipped."""
        if not self.has(name):
            return {}
        return {(row, level): self.play(name, at(a, level)) for row, a in asked.items() for level in self.columns}


def run(runs: Callable[[Mode, int], Runs], play: Callable[[Stage], None], about: str | None) -> None:
    """The command of a script: trains what is missing, then plays and reports. ``about`` is its help."""

    def main(
        mode: Annotated[str, typer.Argument(help="quick | full")] = "quick",
        folder: Annotated[
            Path, typer.Option(help="where runs and results go; scripts that share it share their models")
        ] = RUNS,
        episodes: Annotated[int, typer.Option(help="episodes a task and cell")] = 200,
        seeds: Annotated[int, typer.Option(help="trainings: seeds 0, 1, ...")] = 1,
        workers: Annotated[
            int, typer.Option(help="runs at the same time, a core each; with launcher=slurm jobs in the queue")
        ] = 2,
        launcher: Annotated[str, typer.Option(help="basic | slurm: where the runs train (configs/launcher)")] = "basic",
        use: Annotated[list[str], typer.Option(help="<name>=<folder>: a finished run to take as it is; may be repeated")] = [],  # noqa: B006
        skip: Annotated[list[str], typer.Option(help="a model to leave out, as its folder is called; may be repeated")] = [],  # noqa: B006
    ) -> None:
        how, console = checked(mode), Console(stderr=True)
        wanted = left(runs(how, seeds), skip)
        models = train(folder / how, wanted, taken(use, wanted), workers, console, launcher)
        play(Stage(folder / how, how, episodes, console, models))

    main.__doc__ = about
    typer.run(main)


def left(runs: Runs, skip: Iterable[str]) -> Runs:
    """The runs of models that are not skipped. Raises BadParameter for names that no model has."""
    names = dict.fromkeys(name.rpartition("/")[0] for name in runs)
    for name in skip:
        if name not in names:
            raise typer.BadParameter(f"--skip {name}: no model is called so. {did_you_mean(name, names)}")
    return {name: overrides for name, overrides in runs.items() if name.rpartition("/")[0] not in skip}


def taken(use: Iterable[str], runs: Runs) -> dict[str, Path]:
    """Folders of finished runs by the name of the run that each stands for. Raises BadParameter for other names and folders."""
    found = {}
    for given in use:
        name, _, folder = given.partition("=")
        if name not in runs:
            raise typer.BadParameter(f"--use {given}: no run is called '{name}'. {did_you_mean(name, runs)}")
        if not has_checkpoint(Path(folder)):
            raise typer.BadParameter(f"--use {given}: {folder or 'nothing'} holds no checkpoint")
        found[name] = Path(folder)
    return found


def train(
    root: Path, runs: Runs, given: Mapping[str, Path], workers: int, console: Console, launcher: str = "basic"
) -> dict[str, list[Trained]]:
    """Trains what is neither given nor finished below ``root``; models by what stands before the slash."""
    for name, folder in given.items():
        console.print(f"{'given':>11}  {name}  {folder}", soft_wrap=True)
    missing = {name: overrides for name, overrides in runs.items() if name not in given}
    if missing:
        Campaign(root, missing, workers, launcher=launcher).run(console)
    found: dict[str, list[Trained]] = {}
    for name in runs:
        folder = given.get(name, root / name)
        found.setdefault(name.rpartition("/")[0], []).append(Trained(folder, load_model(str(folder), "last")))
    return found


def environments(model: Model, asked: Asked) -> list[Environment]:
    """One table a task: the model's own with the level and difficulty that are asked for."""
    node = model.config.env
    trained = (node.task,) if isinstance(node.task, str) else tuple(node.task)  # type: ignore[attr-defined]
    there = tasks_of(LEVELS[asked.level])
    chosen = asked.tasks or (there if asked.level == "L4" else tuple(t for t in trained if t in there))
    where = {"partition": LEVELS[asked.level], "difficulty": asked.difficulty, "slots": None}
    return [instantiate(replace(node, task=task, **where)) for task in chosen]


def play(
    folder: Path, model: Model, asked: Asked, episodes: int, policy: Literal["model", "random"] = "model"
) -> list[EpisodeRecord]:
    """``episodes`` episodes of every task of a cell, from ``<folder>/played`` where they were played already."""
    records: list[EpisodeRecord] = []
    for environment in environments(model, asked):
        described = repr(sorted(asdict(replace(asked, tasks=None)).items()))
        task = environment.task  # type: ignore[attr-defined]
        name = f"{policy}_{asked.level}_{task}_{zlib.crc32(described.encode()):08x}_{episodes}"
        kept = folder / "played" / name
        if not (kept / RECORDS).is_file():
            slots = min(_SLOTS, episodes)
            factory: PolicyFactory = partial(model.policy, asked.query(model), slots, environment)
            if policy == "random":
                factory = partial(RandomPolicy, environment.spec.with_role("action")[0], *environment.action_range)
            runner = RolloutRunner(environment, factory, 1, slots, progress=False)
            write_records(runner.run(EpisodePlan.build(episodes, SEED)), kept)
        records += read_records(kept)
    return records


def hits(records: Sequence[EpisodeRecord], event: str = "success") -> np.ndarray:
    """``(episodes,)`` 0 or 1: success, or ``strict_success``, within the task's minimum of actions."""
    return np.array([any(name == event for _, name in r.events) for r in records], np.float64)


def rate(seeds: Sequence[Sequence[EpisodeRecord]], event: str = "success") -> Measured:
    """Share of episodes with Wilson's interval; over several seeds their spread is added to that of the episodes."""
    found = [wilson(int(hits(records, event).sum()), len(records)) for records in seeds]
    if len(found) == 1:
        return Measured(found[0].value, found[0].low, found[0].high)
    mean, error = spread([f.value for f in found], [(f.high - f.low) / (2 * _Z) for f in found], shared=True)
    return Measured(mean, max(0.0, mean - _Z * error), min(1.0, mean + _Z * error))


def difference(a: Sequence[Sequence[EpisodeRecord]], b: Sequence[Sequence[EpisodeRecord]], event: str = "success") -> Measured:
    """Mean of a - b over the same episodes, averaged over seeds, with its bootstrap interval."""
    mean_a, mean_b = (np.mean([hits(records, event) for records in seeds], axis=0) for seeds in (a, b))
    found = paired_difference(mean_a, mean_b)
    return Measured(found.value, found.low, found.high)


def rates(cells: Cells, event: str = "success") -> dict[Key, Measured]:
    """Rates of what was played, by row and level."""
    return {key: rate(records, event) for key, records in cells.items()}


def claims(table: str) -> dict[Key, Measured]:
    """Published values of a table."""
    return {(c.row, c.column): Measured(c.value) for c in published("vima", table)}


def publish(
    root: Path,
    name: str,
    title: str,
    cells: Cells,
    console: Console,
    *,
    orderings: Sequence[Ordering] = (),
    paper: Mapping[Key, Measured] | None = None,
    differences: Mapping[Key, Measured] | None = None,
    figure: bytes | None = None,
) -> None:
    """Writes ``<root>/<name>.csv, .md, .png`` and, with orderings, ``<name>_orderings``; prints them. Orderings of rows that
    were not played are left out."""
    success, strict = rates(cells), rates(cells, "strict_success")
    orderings = [o for o in orderings if all(key in success for pair in o.pairs for key in pair)]
    rows: list[tuple[Cell, ...]] = []
    for key in dict.fromkeys([*success, *(paper or {})]):
        theirs = (paper or {}).get(key), (paper or {}).get((key[0], f"{key[1]} strict"))
        if key[1].endswith(" strict"):
            continue
        extra = () if differences is None else (differences.get(key),)
        rows.append((*key, success.get(key), strict.get(key), *extra, *(() if paper is None else theirs)))
    columns = ("", "level", "success", "strict", *(() if differences is None else ("difference",)))
    columns += () if paper is None else ("paper", "paper strict")
    notes = ("Strict: within the task's minimum of actions. Intervals: 95 %, of differences over the same episodes.",)
    table = Table(title, columns, tuple(rows), notes)
    root.mkdir(parents=True, exist_ok=True)
    table.save(root / name)
    (root / f"{name}.png").write_bytes(
        figure or png(grouped_bars(title, success, marks=paper, mark_label="paper", unit="success"))
    )
    console.print(table.to_rich())
    if orderings:
        held = ordering_table(f"{title}: orderings", orderings, [], success, lower_is_better=False)
        held.save(root / f"{name}_orderings")
        console.print(verdicts(held).to_rich())
    console.print(f"tables and figure: {root / name}.csv, .md, .png", soft_wrap=True)
