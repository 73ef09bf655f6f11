"""Body of ``python -m maskbench masks show``: draws the scheme that a training configuration would use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from maskbench.errors import ConfigError


def show(overrides: Sequence[str], rows: int, seed: int, save: Path | None) -> None:
    """Prints ``rows`` masks and the attention rule; ``save`` also writes them as SVG.

    ``overrides`` are those of ``train.py``; a bare word is a masking option (``waypoint`` is ``masking=waypoint``).
    """
    from maskbench.app.config.combinations.windows import window_of
    from maskbench.app.config.compose import load
    from maskbench.app.config.instantiate import instantiate
    from maskbench.app.config.schema_model import Autoencoder

    overrides = [o if "=" in o else f"masking={o}" for o in overrides]
    if save is not None and save.suffix != ".svg":
        raise ConfigError(f"--save writes SVG; found '{save}', expected a name that ends in .svg")
    config = load("train", overrides)  # refuses mistakes before anything heavy is imported
    from maskbench.app.experiment import build_scheme, make_layout
    from maskbench.data.returns import return_factor
    from maskbench.masking.preview import Preview
    from maskbench.trajectory import TrajectorySpec

    spec = instantiate(config.env).spec
    if config.dataset.returns.mode != "none" and not spec.with_role("return"):
        spec = TrajectorySpec((*spec, return_factor(config.dataset.returns.with_time)))
    layout = make_layout(config, spec, window_of(config))
    scheme = build_scheme(config.masking)
    title = f"{type(config.masking.train).__name__} on {config.env.name}"
    preview = Preview.of(title, scheme, layout, rows=rows, seed=seed, visible_only=isinstance(config.model, Autoencoder))
    Console().print(preview.terminal())
    if save is not None:
        save.write_text(preview.svg())
        Console().print(f"written: {save}")
