"""Checkpoints that a kill at any moment leaves whole. No pickle is written or read.

    <run>/checkpoints/
        step-000000500/    model.safetensors  optimizer.safetensors  trainer.json  [ema.safetensors]
        last -> step-000000500
        best -> step-000000500

A checkpoint is written under a temporary name, flushed to disk and renamed; then ``last`` and, for the best model so far,
``best`` are repointed, each by one atomic rename. Hence ``last`` is never older than ``best``, and at every moment each
existing link names a complete checkpoint. ``trainer.json`` is written last and holds size and CRC-32 of the other files.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Optimizer

from maskbench.data.shards import durable
from maskbench.errors import ConfigError, DataError

FORMAT = 1
MODEL, OPTIMIZER, EMA, STATE = "model.safetensors", "optimizer.safetensors", "ema.safetensors", "trainer.json"

Which = Literal["best", "last"]


def save(
    run_dir: str | Path,
    *,
    model: Mapping[str, Tensor],
    optimizer: Optimizer,
    state: Mapping[str, Any],
    ema: Mapping[str, Tensor] | None = None,
    best: bool = False,
) -> Path:
    """Writes a checkpoint, points ``last`` (and ``best`` if asked) at it and deletes those that nothing points at.

    ``state`` is JSON with at least an integer ``step``. Returns the new folder.
    """
    root = _root(run_dir)
    root.mkdir(parents=True, exist_ok=True)
    tensors, optimizer_json = flatten_optimizer(optimizer)
    files = {MODEL: _pack(model), OPTIMIZER: _pack(tensors)} | ({EMA: _pack(ema)} if ema is not None else {})
    record = {
        "format": FORMAT,
        **state,
        "optimizer": optimizer_json,
        "files": {name: {"bytes": len(data), "crc32": zlib.crc32(data)} for name, data in files.items()},
    }
    temporary = root / f".tmp-{os.getpid()}"
    try:
        temporary.mkdir()
        for name, data in files.items():
            _write(temporary / name, data)
        _write(temporary / STATE, json.dumps(record).encode())
        durable(temporary)
        folder = _free_name(root, int(state["step"]))
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _point(root / "last", folder.name)
    if best:
        _point(root / "best", folder.name)
    _delete_unreferenced(root)
    return folder


def mark_last_as_best(run_dir: str | Path) -> None:
    """Points ``best`` at the checkpoint that ``last`` names: what a kill between the two renames of ``save`` left undone."""
    root = _root(run_dir)
    _point(root / "best", (root / "last").resolve().name)


def tidy(run_dir: str | Path) -> None:
    """Removes what a killed run left half-written, and turns ``last`` and ``best`` that were copied as folders into links."""
    root = _root(run_dir)
    if not root.is_dir():
        return
    for which in ("last", "best"):
        link = root / which
        if link.is_dir() and not link.is_symlink():
            folder = _free_name(root, int(_read_state(link)["step"]))
            os.rename(link, folder)
            _point(link, folder.name)
    for leftover in root.glob(".tmp-*"):
        leftover.unlink() if leftover.is_symlink() else shutil.rmtree(leftover)
    _delete_unreferenced(root)


def exists(run_dir: str | Path, which: Which = "last") -> bool:
    """Whether the run folder holds such a checkpoint."""
    return (_root(run_dir) / which).exists()


def load_model(run_dir: str | Path, which: Which = "best", ema: bool = True) -> dict[str, Tensor]:
    """State dict of a saved model, on the CPU, with its EMA weights (which validation judged) in place where it has them.

    A run without validation has no ``best``; then ``last`` is what ``best`` means. Raises DataError for a run without
    checkpoints and for a corrupt, truncated or incomplete checkpoint or one of another format version.
    """
    folder = _folder(run_dir, which)
    state = _read_state(folder)
    weights = _read_tensors(folder, MODEL, state)
    if ema and EMA in state["files"]:
        weights |= _read_tensors(folder, EMA, state)
    return weights


def load_trainer_state(run_dir: str | Path, which: Which = "last") -> dict[str, Any]:
    """The checkpoint's ``trainer.json``: step, best, schedule, ``extra`` and so on. Raises DataError like ``load_model``."""
    return _read_state(_folder(run_dir, which))


def load_optimizer(run_dir: str | Path, optimizer: Optimizer, which: Which = "last") -> None:
    """Restores an optimiser. Raises DataError where its groups or shapes differ from the saved ones."""
    folder = _folder(run_dir, which)
    state = _read_state(folder)
    unflatten_optimizer(optimizer, _read_tensors(folder, OPTIMIZER, state), state["optimizer"])


def load_ema(run_dir: str | Path, which: Which = "last") -> dict[str, Tensor] | None:
    """The averaged weights, or None where the run keeps none."""
    folder = _folder(run_dir, which)
    state = _read_state(folder)
    return _read_tensors(folder, EMA, state) if EMA in state["files"] else None


def load_weights(
    model: nn.Module, run_dir: str | Path, which: Which = "best", strict: bool = True, ema: bool = True
) -> list[str]:
    """Starts ``model`` from a saved one (finetuning); ``ema`` prefers its averaged weights.

    Raises ConfigError that names every missing, unexpected and differently shaped tensor. With ``strict=False`` those are
    left alone, and their names are returned; it is still an error if nothing fits.
    """
    saved, own = load_model(run_dir, which, ema), model.state_dict()
    problems = {n: f"{n}: the model has {tuple(own[n].shape)}, the checkpoint lacks it" for n in own.keys() - saved.keys()}
    problems |= {n: f"{n}: the checkpoint has {tuple(saved[n].shape)}, the model lacks it" for n in saved.keys() - own.keys()}
    problems |= {
        n: f"{n}: the model has {tuple(own[n].shape)}, the checkpoint {tuple(saved[n].shape)}"
        for n in own.keys() & saved.keys()
        if own[n].shape != saved[n].shape
    }
    fitting = {n: saved[n] for n in own if n in saved and n not in problems}
    if problems and (strict or not fitting):
        lines = "\n  ".join(problems[n] for n in sorted(problems))
        fix = "Build the model with the checkpoint's configuration" + (", or load with strict=False." if fitting else ".")
        raise ConfigError(f"the checkpoint in {run_dir} does not fit the model:\n  {lines}\n{fix}")
    model.load_state_dict(fitting, strict=False)
    return sorted(problems)


def flatten_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors called ``<parameter index>/<name>`` and JSON for everything else."""
    full = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for index, entries in full["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{name}"] = value
            else:
                scalars.setdefault(str(index), {})[name] = value
    return tensors, {"param_groups": full["param_groups"], "scalars": scalars}


def unflatten_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], saved: Mapping[str, Any]) -> None:
    """Inverse of ``flatten_optimizer``. How the update is computed (fused, foreach) stays what ``optimizer`` was built with."""
    groups = [dict(g) for g in saved["param_groups"]]
    own = optimizer.param_groups
    if [len(g["params"]) for g in groups] != [len(g["params"]) for g in own]:
        raise DataError(
            f"the saved optimizer has groups of {[len(g['params']) for g in groups]} parameters, "
            f"this one of {[len(g['params']) for g in own]}: resume with the configuration of the run"
        )
    for group, mine in zip(groups, own, strict=True):
        group.update({k: mine[k] for k in ("fused", "foreach", "capturable") if k in mine})
        group.update({k: tuple(v) for k, v in group.items() if k != "params" and isinstance(v, list)})
    state: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in saved["scalars"].items()}
    parameters = [p for g in own for p in g["params"]]
    for key, value in tensors.items():
        index, name = key.split("/", 1)
        if value.dim() and value.shape != parameters[int(index)].shape:
            found, expected = tuple(value.shape), tuple(parameters[int(index)].shape)
            raise DataError(f"the saved optimizer's {name} of parameter {index} has shape {found}; the model's has {expected}")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _root(run_dir: str | Path) -> Path:
    return Path(run_dir) / "checkpoints"


def _folder(run_dir: str | Path, which: Which) -> Path:
    root = _root(run_dir)
    link = root / which if which == "last" or (root / "best").exists() else root / "last"
    if not link.exists():
        raise DataError(f"{run_dir} holds no checkpoint: expected the folder {link}. Name a run folder that train.py wrote.")
    return link.resolve()


def _read_state(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    if not path.is_file():
        raise DataError(f"the checkpoint {folder} is incomplete: {STATE} is missing")
    try:
        state = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is corrupt: {error}. Use another checkpoint of the run, or train again.") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else None
        raise DataError(f"{path} has checkpoint format {found}; this version of maskbench reads format {FORMAT}")
    return state


def _read_tensors(folder: Path, name: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
    path = folder / name
    if not path.is_file():
        raise DataError(f"the checkpoint {folder} is incomplete: {name} is missing")
    data, expected = path.read_bytes(), state["files"][name]
    if len(data) != expected["bytes"]:
        raise DataError(f"{path} is truncated or overwritten: {len(data)} bytes, expected {expected['bytes']}")
    if zlib.crc32(data) != expected["crc32"]:
        raise DataError(f"{path} is corrupt: its checksum differs from the one in {STATE}")
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise DataError(f"{path} is not a safetensors file: {error}") from error


def _pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Safetensors refuses tensors that share memory (tied weights): each later one is copied."""
    seen: set[int] = set()
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        host = tensor.detach().cpu().contiguous()
        packed[name] = host.clone() if host.untyped_storage().data_ptr() in seen else host
        seen.add(host.untyped_storage().data_ptr())
    return safetensors.torch.save(packed)


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _free_name(root: Path, step: int) -> Path:
    """``step-<step>``, or a variant where a checkpoint of that step is already there."""
    name = root / f"step-{step:09d}"
    while name.exists():
        name = name.with_name(name.name + "+")
    return name


def _point(link: Path, target: str) -> None:
    """Atomically makes ``link`` name ``target``, and makes it durable."""
    temporary = link.with_name(f".tmp-{link.name}")
    temporary.unlink(missing_ok=True)
    os.symlink(target, temporary)
    os.replace(temporary, link)
    durable(link.parent)


def _delete_unreferenced(root: Path) -> None:
    kept = {(root / which).resolve().name for which in ("last", "best")}
    for folder in root.glob("step-*"):
        if folder.name not in kept:
            shutil.rmtree(folder)
