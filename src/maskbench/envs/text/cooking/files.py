"""Making TextWorld's cooking games, once, and knowing which ones they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskbench.envs.text.levels import FIRST_SEED, Flavour, Split, level_of
from maskbench.errors import DataError, EnvError, MissingExtraError

MANIFEST, CARD = "manifest.json", "card.json"
#: Added to the seed of a game that TextWorld fails to make (TTM spec 8.22).
_NEXT_TRY, _TRIES = 10_000, 5


@dataclass(frozen=True)
class Collection:
    """The games of one level, flavour and split: ``<root>/<flavour>/level_<level>/<split>/game_<seed>.z8`` and ``.json``."""

    root: Path
    level: int
    flavour: Flavour
    split: Split

    @property
    def folder(self) -> Path:
        return self.root / self.flavour / f"level_{self.level}" / self.split

    def seeds(self, count: int) -> range:
        first = FIRST_SEED[self.split]
        return range(first, first + count)

    def file(self, seed: int) -> Path:
        return self.folder / f"game_{seed}.z8"

    def missing(self, count: int) -> list[int]:
        """Seeds of the first ``count`` games that are not there whole."""
        return [s for s in self.seeds(count) if not (self.file(s).is_file() and self.file(s).with_suffix(".json").is_file())]

    def manifest(self) -> dict[str, Any]:
        """What is known of each game that was made, by seed. Raises DataError for a manifest that cannot be read."""
        found = {}
        for path in sorted(self.folder.glob("game_*.about")):
            try:
                about = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise DataError(f"{path} is no description of a game ({error}); remove it and make the game again") from error
            found[str(about["seed"])] = about
        return found


def make_games(collection: Collection, count: int, jobs: int = 1) -> Iterator[int]:
    """Makes the games that are missing among the first ``count``, in ``jobs`` processes; yields each seed as it is done.

    A game appears whole or not at all, so that an interrupted call goes on where it stopped. Ends by writing the manifest
    (UUID, maximum score, walkthrough, hash) and a card. Raises MissingExtraError without TextWorld, EnvError where it fails.
    """
    require_textworld()
    seeds = collection.missing(count)
    collection.folder.mkdir(parents=True, exist_ok=True)
    work = [(collection, seed) for seed in seeds]
    if jobs > 1 and len(work) > 1:
        with multiprocessing.get_context("spawn").Pool(min(jobs, len(work))) as pool:
            yield from pool.imap_unordered(_make, work)
    else:
        for one in work:
            yield _make(one)
    if work or not (collection.folder / MANIFEST).is_file():
        _describe(collection)


def require_textworld() -> None:
    """Raises MissingExtraError, or EnvError where TextWorld lacks its compiler."""
    try:
        import textworld  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("textworld", "text", "playing the cooking games of TextWorld") from error


def _make(work: tuple[Collection, int]) -> int:
    """One game, under temporary names until it is whole."""
    import textworld
    from textworld.challenges.tw_cooking import cooking
    from textworld.generator import compile_game

    collection, seed = work
    level, wanted = level_of(collection.level, collection.flavour), collection.file(seed)
    settings = {
        "recipe": level.recipe,
        "take": level.take,
        "go": level.rooms,
        "open": level.closed,
        "cook": level.cook,
        "cut": level.cut,
        "drop": False,
        "split": collection.split,
        "recipe_seed": 0,
    }
    with tempfile.TemporaryDirectory(dir=collection.folder, prefix=".making_") as scratch:
        path = Path(scratch) / wanted.name
        for attempt in range(_TRIES):
            options = textworld.GameOptions()
            options.seeds, options.path = seed + attempt * _NEXT_TRY, str(path)
            try:
                game = cooking.make(settings, options)
                break
            except (AssertionError, IndexError, ValueError, AttributeError) as error:  # TextWorld's own dead ends
                if attempt == _TRIES - 1:
                    raise EnvError(f"TextWorld cannot make game {seed} of {collection.folder}: {error!r}") from error
        try:
            with _quiet():
                compile_game(game, options)
        except Exception as error:
            raise EnvError(
                f"TextWorld's Inform compiler failed on game {seed} of {collection.folder}: {error}. "
                "Reinstall it (pip install --force-reinstall textworld); it runs on Linux and macOS"
            ) from error
        if game.max_score != level.max_score:
            raise EnvError(f"game {seed} of {collection.folder} has {game.max_score} points; expected {level.max_score}")
        content = path.with_suffix(".json").read_bytes()
        about = {
            "seed": seed,
            "seed_used": seed + attempt * _NEXT_TRY,
            "uuid": game.metadata["uuid"],
            "max_score": game.max_score,
            "walkthrough": list(game.metadata.get("walkthrough", [])),
            "sha256": content_hash(content),
        }
        note = path.with_suffix(".about")
        note.write_text(json.dumps(about), encoding="utf-8")
        for part in (note, path.with_suffix(".json"), path):  # the game itself comes last
            os.replace(part, wanted.with_suffix(part.suffix))
    return seed


def content_hash(content: bytes) -> str:
    """SHA-256 of a game's world, not of its ``.z8``, whose header holds the day on which it was compiled, nor of
    ``metadata``, which names paths."""
    world = {k: v for k, v in json.loads(content).items() if k != "metadata"}
    return hashlib.sha256(json.dumps(world, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inform prints progress to the file descriptor of standard output."""
    with open(os.devnull, "w") as hole, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jericho, which tests the game
        kept = os.dup(1)
        os.dup2(hole.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def _describe(collection: Collection) -> None:
    from importlib.metadata import version

    games = collection.manifest()
    level = level_of(collection.level, collection.flavour)
    card = {
        "name": f"cooking_level_{collection.level} ({collection.flavour}, {collection.split})",
        "origin": "generated",
        "generator": f"textworld {version('textworld')}, challenge tw-cooking",
        "licence": "MIT (TextWorld); the games hold Inform's library, Artistic-2.0",
        "command": f"python -m maskbench text make-games --levels {collection.level} --flavour {collection.flavour}",
        "settings": asdict(level),
        "games": len(games),
        "as_published": _as_published(collection, games),
    }
    for name, content in ((MANIFEST, {"games": games}), (CARD, card)):
        part = collection.folder / f"{name}.{os.getpid()}.part"
        part.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(part, collection.folder / name)


def _as_published(collection: Collection, games: Mapping[str, Any]) -> str:
    """How many games are those of ``games.json``, whose hashes were taken when the published numbers were measured."""
    known = json.loads(Path(__file__).with_name("games.json").read_text(encoding="utf-8"))
    listed = known.get(f"{collection.flavour}/level_{collection.level}/{collection.split}", {})
    same = sum(listed.get(seed) == about["sha256"][:16] for seed, about in games.items() if seed in listed)
    return f"{same} of {sum(seed in listed for seed in games)}"
