"""Bodies of ``python -m maskbench data ...``: look at, make, import, fetch and verify episode stores."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from maskbench.errors import DataError

if TYPE_CHECKING:
    from maskbench.data.store import EpisodeStore


def data_root() -> Path:
    """Where stores are kept: ``$MASKBENCH_DATA``, else ``data`` in the working directory."""
    return Path(os.environ.get("MASKBENCH_DATA") or "data")


def list_data(root: Path) -> None:
    """Published data sets that can be fetched, and the stores below ``root``."""
    from maskbench.data.catalog import catalog

    published = Table("name", "what", "format", "size", "licence", title="published data (data fetch <name>)")
    published.columns[0].no_wrap = True
    for name, entry in sorted(catalog().items()):
        published.add_row(name, entry.title, entry.format, entry.size_text, entry.licence)
    local = Table("store", "environment", "origin", "episodes", "steps", "licence", title=f"stores in {root}")
    for path in stores(root):
        card = _open(path).card
        local.add_row(str(path), card.env, card.origin, str(card.episodes), str(card.steps), card.licence)
    Console().print(published, local)


def stores(root: Path) -> Iterator[Path]:
    """Folders below ``root`` that hold a store."""
    yield from (card.parent for card in sorted(root.glob("**/card.json")))


def generate(overrides: Sequence[str]) -> None:
    """Makes (or finds) the episodes that ``python train.py <overrides>`` would train on."""
    store = load_store(overrides)
    Console().print(f"{store.path}: {store.num_episodes} episodes, {store.num_steps} steps")


def import_data(path: Path, format: str, name: str | None, root: Path) -> None:
    """Turns foreign files into a store below ``root/imported``."""
    from maskbench.data.importers import find_importer
    from maskbench.data.store import write_store

    imported = find_importer(path, format).read(path)
    store = write_store(
        root / "imported" / (name or imported.name),
        imported.spec,
        imported.episodes(),
        name=name or imported.name,
        env="",
        origin=imported.origin,
        command=f"python -m maskbench data import {path} --format {format}",
        licence=imported.licence,
        provenance=imported.provenance,
    )
    Console().print(f"{store.num_episodes} episodes, {store.num_steps} steps; use them with dataset.path={store.path}")


def fetch_data(name: str, root: Path) -> None:
    """Downloads a published data set of the catalog."""
    from maskbench.data.fetch import fetch

    Console().print(f"{name}: {fetch(name, root)}")


def export_data(path: Path, name: str) -> None:
    """Writes a store as a Minari data set."""
    from maskbench.data.export_minari import export_minari

    store = _open(path)
    episodes = (store.episode(i) for i in range(store.num_episodes))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="minari")  # about authors and links that only their owners can fill in
        folder = export_minari(store.spec, episodes, name, description=store.card.provenance, algorithm=store.card.origin)
    Console().print(f"written: {folder}")


def export_tree(path: Path, root: Path, domain: str, task: str, quality: str) -> None:
    """Writes a store as a tree of MaskDP's and ExoRL's episode files."""
    from maskbench.data.importers.maskdp import write_tree

    store = _open(path)
    files = write_tree(root, (store.episode(i) for i in range(store.num_episodes)), domain, task, quality)
    Console().print(f"written: {len(files)} files below {root}; use them with dataset.path={root}", soft_wrap=True)


def verify(path: Path, task: str | None = None, every: int = 1) -> None:
    """Hashes and scans one store, or every store below a folder; a tree of MaskDP episodes is simulated again, each so many
    rows. Raises DataError at the first fault of a store, and after the last episode of a tree with faults."""
    found = list(stores(path))
    if not found:
        _simulate(path, task, every)
    for folder in found:
        _open(folder).verify()
        Console().print(f"{folder}: every file has its recorded hash, every value is valid")


def _simulate(path: Path, task: str | None, every: int) -> None:
    from maskbench.collect.validate import check_tree
    from maskbench.data.importers.maskdp import MaskdpImporter

    if not MaskdpImporter().recognises(path):
        raise DataError(f"{path} holds no store (no card.json below it), and no episode_<index>_<length>.npz either")
    console, faults, count, worst, paid = Console(), 0, 0, 0.0, 0.0
    for check in check_tree(path, task=task, every=every):
        count, worst, paid = count + 1, max(worst, check.state), max(paid, check.reward or 0.0)
        if check.fault is not None:
            faults += 1
            console.print(f"{check.file}: {check.fault}", soft_wrap=True, highlight=False)
    summary = f"{count} episodes simulated again: observations differ by up to {worst:.3g}, rewards by up to {paid:.3g}"
    if faults:
        raise DataError(f"{path}: {faults} of {summary}")
    console.print(f"{path}: {summary}", soft_wrap=True)


def relabel(path: Path, out: Path, task: str) -> None:
    """Writes episodes with the rewards of another task, and says what they earn."""
    from maskbench.collect.relabel import relabel_tree

    returns = [total for _, total in relabel_tree(path, out, task)]
    mean = sum(returns) / len(returns)
    Console().print(f"{out}: {len(returns)} episodes; as {task} they return {mean:.1f} on average", soft_wrap=True)


def show(target: Sequence[str]) -> None:
    """Card, factors and statistics of a store: its path, or the overrides that a run would use (``env=doorkey``)."""
    is_path = len(target) == 1 and "=" not in target[0]
    store = _open(Path(target[0])) if is_path else load_store(target)
    card = store.card
    head = Table.grid(padding=(0, 2))
    facts = {
        "store": store.path,
        "environment": card.env,
        "origin": card.origin,
        "episodes": store.num_episodes,
        "steps": store.num_steps,
        "episode length": f"{store.lengths.min()} to {store.lengths.max()}",
        "episode return": None if card.returns is None else " ".join(f"{k} {v:.4g}" for k, v in card.returns.items()),
        "licence": card.licence,
        "provenance": card.provenance,
        "made by": card.command,
        "content": card.content_hash,
    }
    for name, value in facts.items():
        if value not in (None, ""):
            head.add_row(name, str(value))
    factors = Table("factor", "role", "kind", "shape", "classes")
    for f in store.spec:
        factors.add_row(f.name, f.role, f.kind, str(f.shape), "" if f.classes is None else str(f.classes))
    Console().print(head, factors)


def load_store(overrides: Sequence[str]) -> EpisodeStore:
    """The store behind the data of a training configuration."""
    from maskbench.app.config.compose import load
    from maskbench.app.config.instantiate import instantiate

    config = load("train", overrides)  # refuses mistakes before anything heavy is imported
    from maskbench.app.experiment import keep_prompts
    from maskbench.data.dataset import load_dataset

    data, env = config.dataset, instantiate(config.env)
    generate = {"episodes": data.generate.episodes, "seed": data.generate.seed, "options": dict(data.generate.options)}
    select = {"tasks": data.tasks, "qualities": data.qualities, "limit": data.limit}
    source = {"path": data.path, "format": data.format, "generate": generate, "select": select}
    return load_dataset(env, **source, root=config.experiment.data_root, keep=keep_prompts(env)).store


def _open(path: Path) -> EpisodeStore:
    from maskbench.data.store import EpisodeStore

    return EpisodeStore.open(path, place="mmap")
