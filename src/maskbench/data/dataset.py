"""The data of a run: an environment's own episodes or a user's files, split, with returns, ready to be windowed."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskbench.data.card import package_versions
from maskbench.data.goals import add_goals
from maskbench.data.growing import Keep
from maskbench.data.labels import Known, complete, known_factors
from maskbench.data.normalise import Mode, Normaliser
from maskbench.data.returns import add_return
from maskbench.data.split import Split, split_episodes
from maskbench.data.statistics import return_statistics
from maskbench.data.store import EpisodeStore, Place, grow_store, write_store
from maskbench.errors import ConfigError, DataError, did_you_mean
from maskbench.trajectory import Episode, Factor, TrajectorySpec

if TYPE_CHECKING:
    from maskbench.envs.base import Environment

#: Packages whose versions shape generated data.
_SIMULATORS = ("gymnasium", "gymnasium-robotics", "mujoco", "dm_control", "textworld", "jericho")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Episodes with their split and the normaliser fitted on its training part; ``spec`` is the store's.

    known: per factor that some episodes lack ``(E,)`` bool, which of them have it (``data.labels``).
    """

    store: EpisodeStore
    split: Split
    normaliser: Normaliser
    spec: TrajectorySpec
    known: Known = field(default_factory=dict)

    def training_episodes(self, name: str) -> np.ndarray:
        """``(n,)`` training episodes that have this factor: what statistics may be fitted on."""
        train = self.split.train
        return train[self.known[name][train]] if name in self.known else train

    def training_rows(self, name: str) -> np.ndarray:
        """``(n,)`` rows of these episodes."""
        return self.store.rows(self.training_episodes(name))


def load_dataset(
    env: Environment,
    *,
    path: str | Path | None = None,
    format: str = "auto",
    generate: Mapping[str, Any] | None = None,
    split: Mapping[str, Any] | None = None,
    returns: Mapping[str, Any] | None = None,
    normalise: Mapping[str, Mode] | None = None,
    normalise_floor: float = 1e-4,
    unlabelled: Mapping[str, Any] | None = None,
    place: Place = "auto",
    root: str | Path | None = None,
    select: Mapping[str, Any] | None = None,
    hindsight: bool = False,
    keep: Keep | None = None,
) -> Dataset:
    """Opens, imports or generates the episodes of ``env``.

    path:      a store, or files in a format that an importer reads (``format``); relative to the working directory, else to
               ``root``. None generates with the environment's expert, once: ``<root>/generated/<env>-<hash of all arguments>``.
    generate:  ``episodes``, ``seed`` and ``options`` of ``Environment.generate``.
    split:     ``train, validation, test, seed`` of ``split_episodes``.
    returns:   arguments of ``add_return``; None adds no return factor.
    normalise: mode by role or factor (``Normaliser.fit``); fitted on the training episodes.
    normalise_floor: spread below which a dimension is only centred (``Normaliser.fit``).
    unlabelled: ``factor, fraction, seed`` of ``known_factors``: training episodes that lack a factor; ``keep=False`` leaves
               these out of the training part altogether.
    root:      where stores are kept; ``$MASKBENCH_DATA`` or ``./data`` by default.
    select:    ``tasks, qualities, limit`` of the MaskDP importer: which episodes of a published tree. Other formats
               have no such folders and refuse them.
    hindsight: adds a goal factor for each state factor (``goals.add_goals``), which windows fill in.
    keep:      what else is kept of the episodes (prompts), beside their store.
    Raises ``DataError`` where the state and action factors differ from the environment's, naming each difference.
    """
    root = Path(root or os.environ.get("MASKBENCH_DATA") or "data")
    if path is None:
        store = _generated(env, generate or {}, root, place, keep)
    else:
        store = _recorded(env, Path(path), format, root, place, select or {}, keep)
    store = paid_by(match_environment(store, env), env)
    if returns is not None:
        store = add_return(store, **returns)
    if hindsight:
        store = add_goals(store)
    parts = split_episodes(store.num_episodes, **(split or {}))
    options = dict(unlabelled or {})
    whole = options.pop("keep", True)
    known = known_factors(store, parts.train, **options)
    if not whole:
        parts = replace(parts, train=complete(parts.train, known))
    normaliser = Normaliser.fit(store, normalise or {}, parts.train, normalise_floor, known)
    return Dataset(store, parts, normaliser, store.spec, known)


def match_environment(store: EpisodeStore, env: Environment) -> EpisodeStore:
    """The store with the environment's state and action factors (which may declare parts), where they agree.

    A simulator factor that the environment could not restore (of another size) is left out: such data train a model but offer
    no states to start rollouts from.
    Raises ``DataError`` listing every factor that is missing, unknown, or of another kind, role, shape or number of classes.
    """
    found = {f.name: f for f in store.spec.with_role("state", "action")}
    expected = {f.name: f for f in env.spec.with_role("state", "action")}
    differences = [f"'{n}' is missing" for n in expected if n not in found]
    differences += [f"'{n}' is unknown to the environment" for n in found if n not in expected]
    for name in expected.keys() & found.keys():
        if _layout(found[name]) != _layout(expected[name]):
            differences.append(f"'{name}' is {_layout(found[name])}, expected {_layout(expected[name])}")
    if differences:
        raise DataError(
            f"the data '{store.card.name}' do not fit the environment '{env.name}': {'; '.join(sorted(differences))}. "
            "Choose the environment that they were recorded in, or other data."
        )
    restorable = {f.name: f for f in env.spec.with_role("simulator")}
    kept = [f for f in store.spec if f.role != "simulator" or f == restorable.get(f.name)]
    spec = TrajectorySpec(tuple(expected.get(f.name, f) for f in kept))
    return replace(store, spec=spec, arrays={n: store.arrays[n] for n in spec.names})


def paid_by(store: EpisodeStore, env: Environment) -> EpisodeStore:
    """Recorded episodes with the rewards that ``env`` pays (``Environment.recorded_rewards``); its own are kept."""
    rewards = store.spec.with_role("reward")
    if store.card.origin == "generated" or not rewards or rewards[0].kind != "continuous":
        return store
    found = store.array(rewards[0].name)
    paid = env.recorded_rewards(found)
    if paid is found:
        return store
    card = replace(store.card, returns=return_statistics(rewards[0], paid, store.ends))
    return replace(store, arrays={**store.arrays, rewards[0].name: paid}, card=card)


def environment_options(env: Environment) -> dict[str, Any]:
    """The arguments that ``env`` was built with, read back from the attributes of the same name."""
    options = {}
    for name, parameter in inspect.signature(type(env)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not hasattr(env, name) and not hasattr(env, f"_{name}"):
            raise DataError(
                f"{type(env).__name__} does not keep its argument '{name}' as an attribute, so its generated data cannot be "
                f"told apart from that of other arguments. Keep it as self.{name}."
            )
        options[name] = getattr(env, name) if hasattr(env, name) else getattr(env, f"_{name}")
    return options


def _generated(env: Environment, generate: Mapping[str, Any], root: Path, place: Place, keep: Keep | None) -> EpisodeStore:
    for key in generate:
        if key not in ("episodes", "seed", "options"):
            raise ConfigError(f"generate has no key '{key}'. {did_you_mean(key, ('episodes', 'seed', 'options'))}")
    episodes, seed, options = generate.get("episodes"), generate.get("seed", 0), dict(generate.get("options") or {})
    if episodes is None:
        raise ConfigError("without a path the data are generated: set generate.episodes to how many, or path to recorded data")
    identity = {
        "env": [env.name, type(env).__qualname__, env.data_version, environment_options(env), env.spec.to_json()],
        "generate": [episodes, seed, options],
    }
    target = root / "generated" / f"{env.name}-{_digest(identity)}"
    if target.exists():
        return EpisodeStore.open(target, place)
    arguments = {"episodes": episodes, "seed": seed} | {
        f"options.{k}": json.dumps(v, default=_plain) for k, v in options.items()
    }
    command = [
        f"python -m maskbench data generate env={env.name}",
        *(f"dataset.generate.{k}={v}" for k, v in arguments.items()),
    ]
    title = f"generating {env.name}"
    return grow_store(
        target,
        env.spec,
        episodes,
        lambda first: _with_progress(env.generate(range(first, episodes), seed, **options), episodes, title, first),
        name=target.name,
        env=env.name,
        origin="generated",
        command=" ".join(command),
        licence="MIT",
        provenance=f"{type(env).__qualname__} {json.dumps(environment_options(env), default=_plain)}",
        versions=package_versions(*_SIMULATORS),
        keep=keep,
        place=place,
    )


def _recorded(
    env: Environment, path: Path, format: str, root: Path, place: Place, select: Mapping[str, Any], keep: Keep | None
) -> EpisodeStore:
    candidates = [path] if path.is_absolute() else [path, root / path]
    existing = next((p.resolve() for p in candidates if p.exists()), None)
    if existing is None:
        raise DataError(
            f"no data at {' or '.join(str(p) for p in candidates)}. Correct dataset.path, or leave it null to generate."
        )
    if (existing / "card.json").is_file():
        if any(select.values()):
            raise DataError(f"{existing} is a store; dataset.tasks, qualities and limit choose episodes of a published tree")
        return EpisodeStore.open(existing, place)
    files = sorted(p for p in existing.rglob("*") if p.is_file()) if existing.is_dir() else [existing]
    stamps = [[str(p.relative_to(existing)), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    from maskbench.data.importers import find_importer

    importer = find_importer(existing, format)
    chosen = {k: list(v) if isinstance(v, tuple) else v for k, v in select.items() if v}
    if chosen and importer.format != "maskdp":
        raise DataError(
            f"{existing} is in format '{importer.format}'; {', '.join(f'dataset.{k}' for k in chosen)} choose episodes of a "
            "tree in MaskDP's format"
        )
    options = {**env.import_options(importer.format), **chosen}
    identity = [str(existing), format, stamps, *([options] if options else [])]
    target = root / "imported" / f"{existing.stem}-{_digest(identity)}"
    if target.exists():
        return EpisodeStore.open(target, place)
    imported = importer.read(existing, **options)
    return write_store(
        target,
        imported.spec,
        _with_progress(imported.episodes(), imported.count, f"importing {existing.name}"),
        name=target.name,
        env=env.name,
        origin=imported.origin,
        command=f"python -m maskbench data import path={existing} format={format} env={env.name}"
        + "".join(f" {k}={v}" for k, v in options.items() if k != "domain"),
        licence=imported.licence,
        provenance=imported.provenance,
        keep_existing=True,
        keep=keep,
        place=place,
    )


def _with_progress(episodes: Iterable[Episode], total: int | None, title: str, done: int = 0) -> Iterator[Episode]:
    """A progress bar on the error stream, where a human watches it; ``done`` of ``total`` episodes were there before."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(title, total=total, completed=done)
        for episode in episodes:
            yield episode
            progress.advance(bar)


def _layout(factor: Factor) -> str:
    size = f"{factor.classes} classes" if factor.kind == "discrete" else f"shape {factor.shape}"
    return f"{factor.role} {factor.kind} {size}"


def _digest(value: Any) -> str:
    """First 12 hex digits of the sha256 of plain values; the same in every process."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=_plain).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise DataError(
        f"an option of type {type(value).__name__} has no stable identity; use plain numbers, strings and lists: {value!r}"
    )
