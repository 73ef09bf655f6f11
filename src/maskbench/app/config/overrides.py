"""Reading overrides (``key=value``) in Hydra's grammar."""

from __future__ import annotations

import os

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException, OverrideParseException

from maskbench.errors import ConfigError


def values(parsed: list[Override], key: str) -> list[str]:
    """Values given for ``key`` on the command line, several when it is swept."""
    found = [o for o in parsed if o.key_or_group == key and not o.is_delete()]
    if not found:
        return []
    value = found[-1].value()
    return [str(v) for v in value.list] if isinstance(value, ChoiceSweep) else [str(value)] if value is not None else []


def parse(overrides: list[str]) -> list[Override]:
    """Overrides as Hydra reads them. Raises ``ConfigError`` for one that it cannot read."""
    gh = GlobalHydra.instance()
    parser = OverridesParser.create(config_loader=gh.config_loader() if gh.is_initialized() else None)
    try:
        return parser.parse_overrides(overrides)
    except OverrideParseException as error:
        raise ConfigError(
            f"cannot read the override '{error.override}'; expected key=value, e.g. experiment.seed=1 "
            "(quote special characters: \"key='a value'\")"
        ) from None
    except HydraException as error:
        raise ConfigError(paragraph(error)) from None


def paragraph(error: BaseException) -> str:
    """A message of Hydra or OmegaConf and its cause as one paragraph."""
    parts = [str(error)]
    if error.__cause__ is not None and str(error.__cause__) not in parts[0]:
        parts.append(str(error.__cause__))
    return " ".join(" ".join(part.split()) for part in parts).replace(os.linesep, " ")
