"""Rollouts of text games: what was read, what was answered, what it earned, and what the player wrote about it in hindsight.

One rollout is one line of JSON in ``<root>/<policy>/run=<r>/epoch=<e>/partition=<p>/env=<env>/split=<s>/rollouts.jsonl``, so
the selectors of the original (run, epoch, partition, environment, split) are folders and typed fields, never text to search.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from maskbench.errors import DataError, did_you_mean

SCHEMA = 1
Partition = Literal["teacher", "student_train", "student_test"]
Split = Literal["train", "valid", "test"]
PARTITIONS: tuple[str, ...] = get_args(Partition)
SPLITS: tuple[str, ...] = get_args(Split)

#: The goal that every published prompt prints; a game's own objective is kept in ``TextRollout.objective``.
GOAL = "get a high batch_fitness"


@dataclass(frozen=True)
class Label:
    """A hindsight summary written at step ``t`` about the steps ``t - length ... t - 1``.

    value:    how good they were, in [0, 1]; None = not said.
    accurate: a person's judgement of a machine's words; None = not judged.
    source:   who wrote it: ``player`` or the name of an automatic labeller.
    """

    summary: str
    length: int
    value: float | None = None
    accurate: bool | None = None
    source: str = "player"

    def __post_init__(self) -> None:
        if self.length < 0:
            raise DataError(f"a label covers 0 or more steps; found length {self.length} of '{self.summary}'")
        if self.value is not None and not 0 <= self.value <= 1:
            raise DataError(f"the value of a label lies in 0..1; found {self.value} of '{self.summary}'")


@dataclass(frozen=True)
class TextStepRecord:
    """One observation and its answer.

    obs:        text of the game before the command.
    command:    what was sent; ``''`` where nothing was (the observation that ends a game).
    reward:     points earned by ``command``; ``score`` those held before it.
    labels:     hindsight written here, when ``obs`` had been read.
    texts:      other words written here, by field: ``hindsight_expectation`` (foretold before the command), ``summary``,
                ``expectation``, ``update``, ``hindsight_length`` and ``value`` where they were no numbers, ``question`` ...
    admissible, inventory, location, expert: what the environment told, None = not asked.
    noise:      the command was drawn at random: seen by models, not imitated.
    system:     book-keeping that no training text shows.
    """

    obs: str
    command: str
    reward: float = 0.0
    score: float = 0.0
    labels: tuple[Label, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    admissible: tuple[str, ...] | None = None
    inventory: str | None = None
    location: str | None = None
    expert: str | None = None
    noise: bool = False
    system: bool = False


@dataclass(frozen=True)
class TextRollout:
    """A whole game as one agent played it.

    agent, engine: who played (``human``, a policy's name) and with which model.
    game:          file or identifier of the game; ``seed`` its seed.
    score:         final score, ``max_score`` the most that can be had; None = unknown.
    labelled:      whether the player was asked for hindsight (admission rule of spec §1.3).
    """

    env: str
    steps: tuple[TextStepRecord, ...]
    policy: str = "default"
    run_id: int = 0
    epoch: int = 0
    partition: Partition = "teacher"
    split: Split = "train"
    game: str = ""
    seed: int | None = None
    agent: str = "human"
    engine: str = ""
    goal: str = GOAL
    objective: str = ""
    score: float = 0.0
    max_score: float | None = None
    won: bool = False
    lost: bool = False
    labelled: bool = True
    timestamp: str = ""

    def __post_init__(self) -> None:
        for name, valid in (("partition", PARTITIONS), ("split", SPLITS)):
            if getattr(self, name) not in valid:
                raise DataError(f"{name} '{getattr(self, name)}' is unknown. {did_you_mean(str(getattr(self, name)), valid)}")
        for name in ("policy", "env"):
            if not re.fullmatch(r"[\w.+-]+", getattr(self, name)):
                raise DataError(f"{name} '{getattr(self, name)}' names a folder: letters, digits and ._+- only")
        if self.run_id < 0 or self.epoch < 0:
            raise DataError(f"run_id and epoch count from 0; found {self.run_id} and {self.epoch}")

    @property
    def visible(self) -> tuple[TextStepRecord, ...]:
        """The steps without book-keeping."""
        return tuple(s for s in self.steps if not s.system)

    @property
    def normalised_score(self) -> float | None:
        """Score / max score, None where the maximum is unknown."""
        return self.score / self.max_score if self.max_score else None

    @property
    def folder(self) -> Path:
        """Where the rollout lies below the root of all text data."""
        parts = {"run": self.run_id, "epoch": self.epoch, "partition": self.partition, "env": self.env, "split": self.split}
        return Path(self.policy, *(f"{k}={v}" for k, v in parts.items()))

    def with_steps(self, steps: Iterable[TextStepRecord]) -> TextRollout:
        return replace(self, steps=tuple(steps))


def to_json(rollout: TextRollout) -> dict[str, Any]:
    """Plain types, defaults left out, ``schema`` first."""
    return {"schema": SCHEMA, **_plain(rollout)}


def from_json(row: Mapping[str, Any], where: str = "a rollout") -> TextRollout:
    """The inverse of ``to_json``. Raises DataError naming ``where`` for another schema, unknown fields or wrong types."""
    if row.get("schema") != SCHEMA:
        raise DataError(f"{where}: expected schema {SCHEMA}; found {row.get('schema')!r}: write it with this version")
    values = {k: v for k, v in row.items() if k != "schema"}
    steps = []
    for i, step in enumerate(_list(values.pop("steps", None), f"{where}, steps")):
        here = f"{where}, step {i}"
        step = dict(_mapping(step, here))
        labels = tuple(_build(Label, _mapping(x, here), f"{here}, label") for x in _list(step.pop("labels", []), here))
        if step.get("admissible") is not None:
            step["admissible"] = tuple(_list(step["admissible"], f"{here}, admissible"))
        steps.append(_build(TextStepRecord, {**step, "labels": labels}, here))
    return _build(TextRollout, {**values, "steps": tuple(steps)}, where)


def append(root: Path, rollout: TextRollout) -> Path:
    """Adds one line to the file of the rollout's folder below ``root``, in one write, and returns the file."""
    file = root / rollout.folder / "rollouts.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(to_json(rollout), ensure_ascii=False, allow_nan=False) + "\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
    return file


def write(file: Path, rollouts: Iterable[TextRollout]) -> None:
    """One JSONL file, under a temporary name until it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with part.open("w", encoding="utf-8") as out:
        for rollout in rollouts:
            out.write(json.dumps(to_json(rollout), ensure_ascii=False, allow_nan=False) + "\n")
    part.replace(file)


def read(path: Path) -> Iterator[TextRollout]:
    """The rollouts of a file, or of all files below a folder in the order of their names. Raises DataError where there is no
    such path, or for a line that is no rollout."""
    if not path.exists():
        raise DataError(f"there are no rollouts at {path}: collect some, or import them")
    for file in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                where = f"{file}, line {number}"
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(
                        f"{where}: expected one rollout as JSON; {error}. Remove the line if it was cut off"
                    ) from error
                yield from_json(_mapping(row, where), where)


def _plain(value: Any) -> Any:
    if isinstance(value, TextRollout | TextStepRecord | Label):
        out = {}
        for f in fields(value):
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            if getattr(value, f.name) != default:
                out[f.name] = _plain(getattr(value, f.name))
        return out
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return dict(value) if isinstance(value, Mapping) else value


#: Python types that a field's annotation admits; annotations are text here.
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "None": (type(None),),
    "Partition": (str,),
    "Split": (str,),
}


def _build(cls: type, values: Mapping[str, Any], where: str) -> Any:
    known = {f.name: str(f.type) for f in fields(cls)}
    for name, value in values.items():
        if name not in known:
            raise DataError(f"{where}: unknown field '{name}'. {did_you_mean(name, known)}")
        if name == "texts":
            texts = _mapping(value, f"{where}, texts")
            good = all(isinstance(k, str) and isinstance(v, str) for k, v in texts.items())
        elif isinstance(value, tuple):
            good = name != "admissible" or all(isinstance(v, str) for v in value)
        else:
            wanted = tuple(t for part in known[name].split(" | ") for t in _TYPES.get(part, ()))
            good = isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))
        if not good:
            raise DataError(f"{where}: field '{name}' should be {known[name]}; found {value!r}")
    missing = [n for n in ("obs", "command", "env", "summary", "length") if n in known and n not in values]
    if missing:
        raise DataError(f"{where}: field '{missing[0]}' is missing")
    return cls(**values)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: expected named fields; found {type(value).__name__}")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(f"{where}: expected a list; found {type(value).__name__}")
    return value
