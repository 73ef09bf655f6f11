"""What ``train.py``, ``eval.py`` and ``run_on_env.py`` do: refuse what cannot run, then hand over to Hydra.

The command line is composed and checked once before Hydra runs it, so that a mistake costs a second, writes nothing and
is told in one paragraph (exit code 2); in a multirun every job is checked before the first one starts. Hydra then makes
run folders, launches and sweeps.
"""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from maskbench.errors import ConfigError, MaskbenchError, did_you_mean

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: ``run(config, run_dir)`` of a command: trains, evaluates or rolls out; returns what a sweep minimises.
RunTask = Callable[[Any, Path], float | None]

TASKS = {"train": "maskbench.app.train", "eval": "maskbench.app.evaluate", "run_on_env": "maskbench.app.rollout"}
RUN_ROOTS = {"train": "train_runs", "eval": "eval_runs", "run_on_env": "eval_runs"}

#: Exit codes: a mistake of the user, and Ctrl-C or a termination signal after the state was saved.
MISTAKE, INTERRUPTED = 2, 130


def main(command: str, run_task: RunTask | None = None) -> None:
    """Runs ``command`` with the arguments of this process. ``run_task`` replaces the command's own function."""
    try:
        if {"-h", "--help"} & set(sys.argv[1:]):
            _show_help(command)
        else:
            _run(command, sys.argv[1:], run_task)
    except MaskbenchError as error:
        _exit_with(command, error)
    except KeyboardInterrupt as error:
        _tell(command, str(error) or "interrupted")
        sys.exit(INTERRUPTED)


def _show_help(command: str) -> None:
    from maskbench.app.config.folder import config_folder
    from maskbench.app.config.help import help_page

    sys.stdout.write(help_page(command, config_folder()))


def _run(command: str, argv: list[str], run_task: RunTask | None) -> None:
    import hydra

    from maskbench.app.config.compose import opened
    from maskbench.app.config.folder import config_folder

    flags, overrides, mode = _arguments(argv)
    folder = config_folder()
    if mode != "hydra":
        with opened(folder):
            overrides = _checked(command, overrides, folder, multirun=mode == "multirun")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach main() as they are
    sys.argv = [sys.argv[0], *flags, *overrides]
    run = hydra.main(version_base="1.3", config_path=str(folder), config_name=command)(_task(command, run_task))
    try:
        run()
    finally:  # jobs that failed leave the others' results
        if mode == "multirun":
            parent = next(o for o in reversed(overrides) if o.startswith("hydra.sweep.dir=")).split("=", 1)[1]
            _tabulate(Path(parent.strip("'\"")))


def _tabulate(folder: Path) -> None:
    """The finished jobs of a multirun side by side."""
    from rich.console import Console

    from maskbench.reports.collect import find_runs
    from maskbench.reports.sweep import write_sweep

    if find_runs(folder):
        console = Console(stderr=True)
        console.print(write_sweep(folder).to_rich())
        console.print(f"tables: {', '.join(str(p) for p in sorted(folder.glob('summary.*')))}", soft_wrap=True)


def _arguments(argv: list[str]) -> tuple[list[str], list[str], str]:
    """Splits flags from overrides; the mode is ``run``, ``multirun`` or ``hydra`` (informative flags that run nothing)."""
    from hydra._internal.utils import get_args_parser

    parser: ArgumentParser = get_args_parser()
    parser.error = _refuse_arguments  # type: ignore[method-assign]
    args, unknown = parser.parse_known_intermixed_args(argv)
    if unknown:
        flags = [s for action in parser._actions for s in action.option_strings]
        raise ConfigError(f"unknown flag '{unknown[0]}'. {did_you_mean(unknown[0], flags)}")
    if args.config_name or args.config_path:
        raise ConfigError("--config-name and --config-path are fixed here; add options of your own with --config-dir <folder>")
    if sum(map(bool, (args.run, args.multirun, args.cfg, args.info, args.shell_completion))) > 1:
        raise ConfigError("give only one of --run, --multirun, --cfg, --info and --shell-completion")
    if args.resolve and not args.cfg:
        raise ConfigError("--resolve belongs to --cfg: python train.py --cfg job --resolve")
    informative = args.hydra_help or args.shell_completion or args.experimental_rerun
    multirun = args.multirun or "hydra.mode=MULTIRUN" in args.overrides
    given = set(args.overrides)
    flags = [a for a in argv if a not in given]
    if args.config_dir:
        if not Path(args.config_dir).is_dir():
            raise ConfigError(f"--config-dir: the folder '{args.config_dir}' does not exist")
        args.overrides = [f"hydra.searchpath=['file://{Path(args.config_dir).resolve()}']", *args.overrides]
        flags = _without(flags, args.config_dir)
    return flags, args.overrides, "hydra" if informative else "multirun" if multirun else "run"


def _without(flags: list[str], config_dir: str) -> list[str]:
    kept = [f for f in flags if f != config_dir and not f.endswith(f"={config_dir}")]
    return [f for f in kept if f not in ("--config-dir", "-cd")]


def _refuse_arguments(message: str) -> NoReturn:
    raise ConfigError(message)


def _checked(command: str, overrides: list[str], folder: Path, multirun: bool) -> list[str]:
    """The overrides as Hydra takes them, after every job was composed and found valid."""
    from maskbench.app.config.compose import compose, forced, prepare
    from maskbench.app.config.jobs import jobs

    if multirun and any(o.startswith("resume=") for o in overrides):
        raise ConfigError("resume continues one run; leave -m out")
    _refuse_used_folder(overrides)
    overrides = prepare(command, overrides)
    if not multirun:
        if "sweep=optuna" in overrides:
            raise ConfigError("sweep=optuna searches over many jobs; add -m")
        return compose(command, overrides, folder).overrides
    plain = jobs(command, overrides)
    composed = [compose(command, job, folder) for job in plain]
    if any(c.overrides != job for c, job in zip(composed, plain, strict=True)):
        overrides = forced(overrides, folder)
    if not any(o.startswith("hydra.sweep.dir=") for o in overrides):
        names = {c.config.experiment.name for c in composed}
        parent = names.pop() if len(names) == 1 else "multirun"
        overrides = [*overrides, f"hydra.sweep.dir={RUN_ROOTS[command]}/{parent}/{datetime.now():%Y-%m-%d/%H-%M-%S}"]
    return overrides


def _refuse_used_folder(overrides: list[str]) -> None:
    """A folder chosen by hand must not hold a run already: Hydra would write over its configuration. The further processes of
    a data-parallel run share the first one's folder."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    for key in ("hydra.run.dir", "hydra.sweep.dir"):
        for chosen in (o.split("=", 1)[1].strip("'\"") for o in overrides if o.startswith(f"{key}=")):
            used = next(Path(chosen).glob("**/.hydra"), None) if Path(chosen).is_dir() else None
            if used is not None:
                raise ConfigError(
                    f"{key}: '{chosen}' already holds a run ({used.parent}); name another folder, or resume=<run>"
                )


def _task(command: str, run_task: RunTask | None) -> Callable[[DictConfig], float | None]:
    """The function that Hydra (or a launcher, in another process) calls with a job's configuration."""

    def task(node: DictConfig) -> float | None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode
        from omegaconf import OmegaConf

        from maskbench.app.config.decode import decode
        from maskbench.app.config.schema import SCHEMAS

        hydra_config = HydraConfig.get()
        try:
            config = decode(SCHEMAS[command], OmegaConf.to_container(node, resolve=True))
            run = run_task or importlib.import_module(TASKS[command]).run
            return run(config, Path(hydra_config.runtime.output_dir))
        except MaskbenchError as error:
            if hydra_config.mode != RunMode.MULTIRUN:
                _exit_with(command, error)
            # the other jobs go on, so each tells its own mistake; only the message travels between processes
            _tell(command, f"job {hydra_config.job.num}: {error}")
            raise MaskbenchError(f"job {hydra_config.job.num}: {error}") from None

    return task


def _exit_with(command: str, error: MaskbenchError) -> NoReturn:
    _tell(command, str(error))
    sys.exit(MISTAKE)


def _tell(command: str, message: str) -> None:
    text = f"{command}.py: {' '.join(message.split())}"
    sys.stderr.write(textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n")
