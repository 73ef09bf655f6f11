"""Search with Optuna's ask and tell, continuing a study that its journal file holds.

hydra-optuna-sweeper pins Optuna 2 and fails with persistent storage. This sweeper asks for a batch of trials, lets
Hydra's launcher run them and tells their results; the space comes from ``sweep.params`` and from swept keys on the
command line, both in Hydra's grammar (``choice``, ``range``, ``interval``, ``int``, ``tag(log, ...)``).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, Transformer
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)


class OptunaSweeper(Sweeper):
    """Minimises (or maximises) what the task returns. Its settings are ``config.sweep``."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context: HydraContext | None = hydra_context
        self.config: DictConfig | None = config
        self.launcher: Launcher | None = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Adds ``sweep.trials`` trials to the study, numbered as jobs. A trial that returns no finite number has failed."""
        assert self.config is not None and self.hydra_context is not None  # noqa: PT018 - set by Hydra before
        settings = self.config.sweep
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = parser.parse_overrides(arguments)
        keys = {o.get_key_element() for o in given}
        params = [f"{k}={v}" for k, v in (settings.params or {}).items() if k not in keys]
        fixed = [str(o.input_line) for o in given if not o.is_sweep_override()]
        space = {
            o.get_key_element(): distribution(o) for o in [*parser.parse_overrides(params), *given] if o.is_sweep_override()
        }
        fixed += [p for p, o in zip(params, parser.parse_overrides(params), strict=True) if not o.is_sweep_override()]

        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        study = open_study(settings)
        done = 0
        while done < settings.trials:
            trials = [study.ask(space) for _ in range(min(settings.parallel, settings.trials - done))]
            self._run(study, trials, fixed)
            done += len(trials)
        if any(t.value is not None for t in study.trials):
            best = study.best_trial
            log.info("best of %d trials: %s with %s", len(study.trials), best.value, best.params)
            OmegaConf.save({"value": best.value, "params": best.params}, folder / "best.yaml")

    def _run(self, study: optuna.Study, trials: Sequence[optuna.Trial], fixed: list[str]) -> None:
        from optuna.trial import TrialState

        overrides = [[*fixed, *(f"{k}={v}" for k, v in t.params.items())] for t in trials]
        assert self.launcher is not None
        self.validate_batch_is_legal(overrides)
        results = self.launcher.launch(overrides, initial_job_idx=trials[0].number)  # of the study: none is written twice
        failures = []
        for trial, result in zip(trials, results, strict=True):
            try:
                value = result.return_value
            except Exception as error:
                failures.append(error)
                study.tell(trial, state=TrialState.FAIL)
                continue
            valid = isinstance(value, int | float) and math.isfinite(value)
            study.tell(trial, float(value) if valid else None, state=None if valid else TrialState.FAIL)
        if len(failures) == len(trials):  # every trial of a batch failed: a mistake, not bad luck
            raise failures[0]


def open_study(settings: DictConfig) -> optuna.Study:
    """The study called ``settings.study`` in the journal file, created where it does not exist."""
    optuna = _optuna()
    path = Path(settings.storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    study = optuna.create_study(
        study_name=settings.study,
        storage=storage,
        direction=settings.direction,
        load_if_exists=True,
        sampler=samplers[settings.sampler](seed=settings.seed),
    )
    # a fresh sampler with the same seed would repeat the first trials of a continued study
    study.sampler = samplers[settings.sampler](seed=settings.seed + len(study.trials))
    return study  # type: ignore[no-any-return]


def distribution(override: Override) -> optuna.distributions.BaseDistribution:
    """Hydra's sweep as Optuna's distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value: Any = override.value()
    kind, logarithmic = type(value), "log" in getattr(value, "tags", ())
    if kind is ChoiceSweep:
        choices: list[Any] = [Transformer.encode(v) for v in value.list]
        return CategoricalDistribution(choices)
    if kind is RangeSweep:
        start, step = value.start or 0, value.step
        if float(step).is_integer() and float(start).is_integer():
            last = int(start) + (math.ceil((value.stop - start) / step) - 1) * int(step)  # Hydra's range excludes its stop
            return IntDistribution(int(start), last, step=int(step))
        return FloatDistribution(float(start), float(value.stop), step=float(step))
    if kind is IntervalSweep:
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=logarithmic)
        return FloatDistribution(float(value.start), float(value.end), log=logarithmic)
    raise TypeError(f"{override.input_line} is not a range")


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        from maskbench.errors import MissingExtraError

        raise MissingExtraError("optuna", "sweep", "sweep=optuna") from error
    return optuna
