"""Body of ``python -m maskbench encode``: a trained model's representation of every recorded timestep, for other learners."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from maskbench.errors import ConfigError


def encode(overrides: Sequence[str], roles: Sequence[str], steps: int, out: Path | None) -> Path:
    """Writes ``<out>.npz`` (``representation`` ``(N, width)`` float32 and ``ends`` ``(E,)`` int64 episode ends) and its card
    ``<out>.json``.

    overrides: those of ``eval.py``; ``model.load_dir=<run>`` is needed, and ``dataset.path=...`` encodes other episodes.
    out:       ``<run>/encodings/<roles>_<steps>`` by default.
    """
    from maskbench.app.config.compose import load
    from maskbench.app.config.instantiate import instantiate

    config = load("eval", overrides)  # refuses mistakes before anything heavy is imported
    if unknown := set(roles) - {"state", "action", "return"}:
        raise ConfigError(f"--roles takes state, action and return; found {sorted(unknown)}")
    from maskbench.app.experiment import build_dataset, load_model, pick_device
    from maskbench.data.card import package_versions
    from maskbench.models.encode import FrozenEncoder, encode_store

    run, which = config.model.load_dir, config.model.which
    model = load_model(run, which, pick_device(config.experiment.device))
    store = build_dataset(config.dataset, instantiate(config.env), config.experiment.data_root).store
    encoder = FrozenEncoder(model.network, model.normaliser, tuple(roles), steps)  # type: ignore[arg-type]
    out = out or Path(run) / "encodings" / f"{'_'.join(roles)}_{steps}"
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(out.with_suffix(".npz"), representation=encode_store(encoder, store), ends=store.ends)
    card = {
        "run": str(run),
        "checkpoint": which,
        "trained_on": model.data_hash,
        "encoded": {"name": store.card.name, "content_hash": store.card.content_hash, "licence": store.card.licence},
        "roles": list(roles),
        "steps": steps,
        "inputs": list(encoder.inputs),
        "width": encoder.width,
        "episodes": store.num_episodes,
        "timesteps": store.num_steps,
        "created": datetime.date.today().isoformat(),
        "versions": package_versions("torch"),
    }
    out.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    Console().print(f"{out.with_suffix('.npz')}: {store.num_steps} x {encoder.width} numbers", soft_wrap=True)
    return out.with_suffix(".npz")
