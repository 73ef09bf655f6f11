"""Windows that do not fit the episodes, the masks or the model."""

from __future__ import annotations

from maskbench.app.config.combinations.models import schemes
from maskbench.app.config.decode import KeyMistake
from maskbench.app.config.schema import TrainConfig
from maskbench.app.config.schema_masking import CustomMask, NamedTask, PatternMask, SpanMask

#: Tasks that ask about two neighbouring timesteps.
PAIRWISE = ("goal", "forward_dynamics", "inverse_dynamics", "inverse_dynamics_action", "last_state", "action_between")
#: Tasks whose index cannot be the window's last, or its last but one.
NEVER_AT = {"last": PAIRWISE, "second_last": ("forward_dynamics",)}


def window_of(config: TrainConfig) -> int:
    """Timesteps per training window."""
    return config.experiment.window_size or config.dataset.window


def window_fits_episode(c: TrainConfig) -> None:
    """A window may not be longer than the episodes that are generated."""
    window, horizon = window_of(c), getattr(c.env, "horizon", None)
    if horizon is not None and c.dataset.path is None:
        if window > horizon:
            raise KeyMistake(_window_key(c), f"{window} timesteps do not fit episodes of env.horizon={horizon}")
        if window == horizon and c.dataset.sampling.legacy_slicing:
            raise KeyMistake(
                "dataset.sampling.legacy_slicing", f"drops the only window of {window} timesteps in episodes of {horizon}"
            )


def window_fits_masks(c: TrainConfig) -> None:
    """Tasks about neighbouring timesteps, spans and hand-written masks must fit the window."""
    window = window_of(c)
    pairs = [t for t in c.masking.tasks if t in PAIRWISE]
    if window < 2 and pairs:
        raise KeyMistake(_window_key(c), f"task '{pairs[0]}' needs windows of at least 2 timesteps; found {window}")
    for scheme in schemes(c.masking.train):
        if isinstance(scheme, PatternMask) and scheme.name in ("fd", "goal_n") and window < 2:
            problem = f"pattern '{scheme.name}' needs windows of at least 2 timesteps; found {window}"
            raise KeyMistake(_window_key(c), problem)
        if isinstance(scheme, SpanMask) and scheme.limits is not None:
            low, high = scheme.limits
            if not low <= high <= window:
                raise KeyMistake("masking.train.limits", f"expected 0 <= lo <= hi <= window={window}; found [{low}, {high}]")
        if isinstance(scheme, CustomMask):
            rows = [("visible", *row) for row in scheme.visible.items()]
            rows += [("predict", *row) for row in (scheme.predict or {}).items()]
            for part, name, row in rows:
                if len(row) != window:
                    problem = f"expected {window} numbers, one per timestep of the window; found {len(row)}"
                    raise KeyMistake(f"masking.train.{part}.{name}", problem)


def index_fits_task(c: TrainConfig) -> None:
    """A task may only be fixed at an index that it takes."""
    for scheme in schemes(c.masking.train):
        if isinstance(scheme, NamedTask) and scheme.at is not None and scheme.name in NEVER_AT[scheme.at]:
            raise KeyMistake("masking.train.at", f"task '{scheme.name}' asks nothing at the {scheme.at} timestep of a window")


def timesteps_fit_episodes(c: TrainConfig) -> None:
    """Embeddings of the timestep must reach to the end of the episodes that are generated."""
    limit, horizon = c.model.episode_limit, getattr(c.env, "horizon", None)
    if limit is not None and horizon is not None and horizon > limit:
        raise KeyMistake("model.max_timesteps", f"episodes of env.horizon={horizon} have no embedding beyond {limit}; raise it")


def _window_key(c: TrainConfig) -> str:
    return "dataset.window" if c.experiment.window_size is None else "experiment.window_size"
