"""Command line + YAML -> checked, typed configuration. Every mistake becomes one ``ConfigError`` paragraph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from maskbench.app.config.combinations import check
from maskbench.app.config.decode import KeyMistake, UnknownKey, decode, schema_keys
from maskbench.app.config.folder import config_folder
from maskbench.app.config.help import options
from maskbench.app.config.overrides import paragraph, parse, values
from maskbench.app.config.runs import saved_config, saved_overrides, seed_folders
from maskbench.app.config.schema import SCHEMAS
from maskbench.app.config.sources import origin
from maskbench.errors import ConfigError, MissingExtraError, did_you_mean

#: Launcher and sweeper options that come from optional packages.
EXTRAS = {
    "joblib": "hydra-joblib-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "submitit_local": "hydra-submitit-launcher",
}

#: Groups that may select nothing.
OPTIONAL_GROUPS = ("paper", "debug", "tuned", "rl")


@dataclass(frozen=True)
class Composed:
    """A valid job: its typed configuration and the overrides (in Hydra's grammar) that give it."""

    config: Any
    overrides: list[str]


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """Hydra's configuration loader on ``folder``, with the resolvers that the YAML files use."""
    OmegaConf.register_new_resolver("run_id", lambda: token_hex(3), use_cache=True, replace=True)
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(folder), version_base="1.3"):
        yield


def load(command: str, overrides: Sequence[str] = ()) -> Any:
    """The typed configuration of ``command`` (train, eval, run_on_env, collect) for a list of overrides, from Python."""
    folder = config_folder()
    with opened(folder):
        return compose(command, prepare(command, list(overrides)), folder).config


def prepare(command: str, overrides: list[str]) -> list[str]:
    """Lets overrides inherit from run folders: ``resume`` takes over a run's own command line; evaluation its environment
    and data, which become the group options ``env=run`` and ``dataset=run``."""
    parsed = parse(overrides)
    # Hydra knows only ~group on the command line, but null in its files
    overrides = [f"~{o.key_or_group}" if _switched_off(o) else o.input_line or "" for o in parsed]
    if command == "collect":
        return overrides
    if command == "train":
        return _resumed(parsed, overrides)
    runs = values(parsed, "model.load_dir")
    played_by = next(iter(values(parsed, "policy")), "model")
    if not runs and command == "run_on_env" and played_by != "model":
        return _without_model(parsed, overrides, played_by)
    if not runs:
        raise ConfigError("model.load_dir is missing: give the folder of a run, e.g. model.load_dir=train_runs/latest")
    index = next(iter(values(parsed, "experiment.cv_run_idx")), "all")
    if index.isdigit():
        runs = [_seed_of(run, int(index)) for run in runs]
        overrides = [o for o in overrides if not o.startswith("model.load_dir=")]
        overrides.append("model.load_dir=" + ",".join(f"'{run}'" for run in runs))
    saved = [saved_config(str(next(iter(seed_folders(run)), run)), "model.load_dir") for run in runs]
    if any(s.env != saved[0].env or s.dataset != saved[0].dataset for s in saved):
        raise ConfigError("model.load_dir: the runs of one sweep must share environment and data; start an evaluation for each")
    if saved[0].experiment.window_size is not None:
        saved[0].dataset.window = saved[0].experiment.window_size
    for group in ("env", "dataset"):
        ConfigStore.instance().store(group=group, name="run", node=saved[0][group])
    return overrides


def _without_model(parsed: list[Override], overrides: list[str], policy: str) -> list[str]:
    """Rollouts of a policy that needs no run: the environment must be named, and there are no data."""
    if not values(parsed, "env"):
        raise ConfigError(f"policy={policy} plays without a trained run; name the environment, e.g. env=lantern_house")
    base = OmegaConf.load(config_folder() / "dataset" / "base.yaml")
    ConfigStore.instance().store(group="dataset", name="run", node=base)
    return [*overrides, "model.load_dir=''"]


def _seed_of(run: str, index: int) -> str:
    """The folder of one seed of ``run``; a run with a single seed is its own first one."""
    found = {int(p.name.removeprefix("cv_")): p for p in seed_folders(run)} or {0: Path(run)}
    if index not in found:
        raise ConfigError(f"experiment.cv_run_idx={index}: '{run}' holds the seeds {sorted(found)}; give one of them, or all")
    return str(found[index])


def _resumed(parsed: list[Override], overrides: list[str]) -> list[str]:
    runs = [r for r in values(parsed, "resume") if r]
    if not runs:
        return overrides
    if len(runs) > 1:
        raise ConfigError("resume: continues one run; it cannot be swept")
    given = {o.key_or_group for o in parsed}
    if "model.load_dir" in given:
        raise ConfigError("resume: continues a run with its own weights; model.load_dir starts a new one. Give one of them")
    own = [o.input_line or "" for o in parse(saved_overrides(runs[0], "resume")) if o.key_or_group not in given]
    folder = [] if "hydra.run.dir" in given else [f"hydra.run.dir='{Path(runs[0]).resolve()}'"]
    return [*(o for o in own if not o.startswith("resume=")), *overrides, *folder]


def compose(command: str, overrides: list[str], folder: Path) -> Composed:
    """One job. Needs ``opened``. Raises ``ConfigError``."""
    node, accepted = _compose(command, overrides, folder)
    choices: dict[str, object] = dict(node.hydra.runtime.choices)
    try:
        job = OmegaConf.masked_copy(node, [str(k) for k in node if k != "hydra"])
        plain = OmegaConf.to_container(job, resolve=True)
        config = decode(SCHEMAS[command], plain)
        check(config)
    except KeyMistake as mistake:
        where = origin(mistake.key, overrides, choices, folder, command)
        hint = _elsewhere(mistake.key, plain) if isinstance(mistake, UnknownKey) else ""
        raise ConfigError(f"{mistake}{hint} ({where})") from None
    except OmegaConfBaseException as error:
        raise ConfigError(paragraph(error)) from None
    return Composed(config, accepted)


def _elsewhere(key: str, plain: Any) -> str:
    """Names a key of another group that is called like the unknown ``key``: ``lr`` is ``optimizer.lr``."""
    leaf = key.rpartition(".")[2]
    found = [f"{group}.{leaf}" for group, node in plain.items() if isinstance(node, dict) and leaf in node]
    return f" There is {' and '.join(f for f in found if f != key)}." if set(found) - {key} else ""


def _compose(command: str, overrides: list[str], folder: Path) -> tuple[DictConfig, list[str]]:
    """Hydra refuses keys that no YAML file holds, with little help; they are added by force and left to the schema."""
    parsed = parse(overrides)
    for o in parsed:
        _check_group(o, command, folder)
    try:
        try:
            return hydra_compose(command, overrides, return_hydra_config=True), overrides
        except MissingConfigException:
            raise
        except HydraException:
            accepted = forced(overrides, folder)
            return hydra_compose(command, accepted, return_hydra_config=True), accepted
    except MissingConfigException as error:
        raise _unknown_option(error, parsed, folder) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(paragraph(error)) from None
    except YAMLError as error:
        raise ConfigError(f"a configuration file cannot be read: {paragraph(error)}") from None


def _check_group(override: Override, command: str, folder: Path) -> None:
    """Refuses what Hydra answers with an exception of its own: a deleted group, a group without exactly one option."""
    group, value = override.key_or_group, override.value()
    if not group:
        raise ConfigError(f"cannot read the override '{override.input_line}'; expected key=value, e.g. experiment.seed=1")
    if override.is_delete() and group in schema_keys(SCHEMAS[command]):
        raise ConfigError(f"{group}: is required and cannot be deleted (command line: {override.input_line})")
    if not (folder / group).is_dir() or override.is_delete() or override.is_sweep_override():
        return
    optional = group in OPTIONAL_GROUPS
    if not (isinstance(value, str) and value):
        names = ", ".join([*options(folder, group), *(["null"] if optional else [])])
        where = f"command line: {override.input_line}"
        raise ConfigError(f"{group}: expected one option; found '{value}'. Valid: {names}. ({where})")


def _switched_off(override: Override) -> bool:
    return override.key_or_group in OPTIONAL_GROUPS and override.value() is None


def forced(overrides: list[str], folder: Path) -> list[str]:
    """The same overrides, adding keys that no YAML file holds."""
    return [_force(o, folder) for o in parse(overrides)]


def _force(override: Override, folder: Path) -> str:
    line, key = override.input_line or "", override.key_or_group
    if (folder / key).is_dir():
        return line.lstrip("+")
    plain = not line.startswith(("+", "~")) and "@" not in line.partition("=")[0]
    return f"++{line}" if plain and not key.startswith("hydra") else line


def _unknown_option(error: MissingConfigException, parsed: list[Override], folder: Path) -> ConfigError:
    missing = error.missing_cfg_file or ""
    group, _, option = missing.rpartition("/")
    if option in EXTRAS and group == "hydra/launcher":
        return ConfigError(str(MissingExtraError(EXTRAS[option], "sweep", f"launcher={option.partition('_')[0]}")))
    given = [o for o in parsed if f"{o.key_or_group}/{o.value()}" == missing]
    if given:
        group, option = given[0].key_or_group, str(given[0].value())
    known = options(folder, group) or list(error.options or ())
    if not known:
        return ConfigError(paragraph(error))
    where = f" (command line: {given[0].input_line})" if given else ""
    return ConfigError(f"{group}: there is no option '{option}'. {did_you_mean(option, known)}{where}")
