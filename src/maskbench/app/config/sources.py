"""Where a value came from: the command line, or which YAML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

#: Groups whose files are written at the root of the configuration, strongest first.
GLOBAL_GROUPS = ("debug", "paper", "tuned", "sweep", "masking", "agent", "learner")


def origin(key: str, overrides: Sequence[str], choices: Mapping[str, object], folder: Path, primary: str) -> str:
    """Sentence fragment for ``key`` (dotted): the override or the file that last wrote it or something inside it."""
    key = key.partition("[")[0]
    for override in reversed(overrides):
        name = override.partition("=")[0].lstrip("+~")
        if key == name or key.startswith(f"{name}.") or name.startswith(f"{key}."):
            return f"command line: {override}"
    group = key.partition(".")[0]
    for name in (*GLOBAL_GROUPS, group):
        choice = choices.get(name)
        if isinstance(choice, str):
            inside = key if name in GLOBAL_GROUPS else key.partition(".")[2]
            for path in _files(folder, f"{name}/{choice}"):
                if not inside or _holds(path, inside):
                    return f"file: {path.relative_to(folder.parent)}"
    return f"file: {folder.name}/{primary}.yaml"


def _files(folder: Path, name: str) -> Iterator[Path]:
    """The file of an option, then those that its defaults list names inside the same group."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        return
    yield path
    for entry in OmegaConf.to_container(OmegaConf.load(path)).get("defaults", []):  # type: ignore[union-attr]
        if isinstance(entry, str) and entry != "_self_":
            yield from _files(folder, f"{name.rpartition('/')[0]}/{entry}")


def _holds(path: Path, key: str) -> bool:
    loaded = OmegaConf.load(path)
    return isinstance(loaded, DictConfig) and OmegaConf.select(loaded, key, throw_on_resolution_failure=False) is not None
