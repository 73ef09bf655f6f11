"""Where the YAML files are."""

from __future__ import annotations

from pathlib import Path

import maskbench
from maskbench.errors import ConfigError


def config_folder() -> Path:
    """The YAML tree: ``configs/`` of a source checkout, else the copy inside the package."""
    package = Path(maskbench.__file__).parent
    candidates = (package.parents[1] / "configs", package / "configs")
    for folder in candidates:
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(f"no configuration files in {' or '.join(map(str, candidates))}; reinstall maskbench")
