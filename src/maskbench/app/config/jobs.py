"""The jobs of a multirun, so that all of them are checked before the first one starts."""

from __future__ import annotations

from hydra import compose as hydra_compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from maskbench.app.config.overrides import parse
from maskbench.errors import ConfigError


def jobs(command: str, overrides: list[str]) -> list[list[str]]:
    """Override lists of the jobs of a multirun. A search by intervals gives one sample job, then one per listed value."""
    parsed = parse(overrides)
    search = any(o.key_or_group == "sweep" and o.value() == "optuna" for o in parsed)
    if search:
        return _sample_jobs(command, parsed)
    for o in parsed:
        if isinstance(o.value(), IntervalSweep):
            problem = "an interval can only be searched; add sweep=optuna"
            raise ConfigError(f"{o.key_or_group}: {problem} (command line: {o.input_line})")
    found = [list(job) for job in BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]]
    if not found:
        raise ConfigError(f"the swept values give no job (command line: {' '.join(overrides)})")
    return found


def _sample_jobs(command: str, parsed: list[Override]) -> list[list[str]]:
    fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
    node = hydra_compose(command, fixed)
    given = {o.get_key_element() for o in parsed}
    space = parse([f"{k}={v}" for k, v in (node.sweep.params or {}).items() if k not in given])
    space += [o for o in parsed if o.is_sweep_override()]
    values = {o.get_key_element(): sample_values(o) for o in space}
    first = {k: v[0] for k, v in values.items()}
    variants = [first, *({**first, k: v} for k, options in values.items() for v in options[1:])]
    return [[*fixed, *(f"{k}={v}" for k, v in job.items())] for job in variants]


def sample_values(override: Override) -> list[str]:
    """Values that stand for a swept override when its jobs are checked: all of a list, the first of a range."""
    value = override.value()
    if isinstance(value, IntervalSweep | RangeSweep):
        return [f"{value.start}"]
    if isinstance(value, ChoiceSweep):
        return list(override.sweep_string_iterator())
    return [str(override.get_value_element_as_str())]
