"""Combinations of valid values that cannot be run, each refused by one short function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from maskbench.app.config.combinations_play import policies_play_text
from maskbench.app.config.decode import KeyMistake
from maskbench.app.config.runs import has_checkpoint, saved_config, start_of_seed
from maskbench.app.config.schema import EvalConfig, Query, RolloutConfig, TrainConfig
from maskbench.app.config.schema_env import Carla
from maskbench.app.config.schema_masking import CustomMask, Mixture, NamedTask, PatternMask, SchemeNode, SpanMask, TextScheme
from maskbench.app.config.schema_model import Autoencoder, LanguageModel
from maskbench.envs.carla import NEEDS

#: Tasks that ask about two neighbouring timesteps.
PAIRWISE = ("goal", "forward_dynamics", "inverse_dynamics", "inverse_dynamics_action", "last_state", "action_between")
#: Tasks whose index cannot be the window's last, or its last but one.
NEVER_AT = {"last": PAIRWISE, "second_last": ("forward_dynamics",)}
#: Heads of continuous factors.
NUMERIC_HEADS = ("auto", "mse", "gaussian", "mdn", "bins", "vq", "uniform_bins", "given_bins")


def check(config: Any) -> None:
    """Raises ``KeyMistake`` for the first combination that cannot be run."""
    text = isinstance(config, TrainConfig) and config.env.text
    for rule in TEXT_RULES if text else RULES[type(config)]:
        rule(config)


def window_of(config: TrainConfig) -> int:
    """Timesteps per training window."""
    return config.experiment.window_size or config.dataset.window


def _schemes(scheme: SchemeNode) -> Iterator[SchemeNode]:
    if isinstance(scheme, Mixture):
        for child in scheme.schemes.values():
            yield from _schemes(child)
    else:
        yield scheme


def attention_fits_model(c: TrainConfig) -> None:
    """A scheme and its model must follow the same attention rule."""
    rules = {s.attention for s in _schemes(c.masking.train)}
    if len(rules) > 1:
        raise KeyMistake("masking.train.schemes", "a mixture cannot hold causal and bidirectional schemes")
    name, model = type(c.masking.train).__name__, type(c.model).__name__
    if rules == {"causal"} and "causal" not in c.model.attention:
        raise KeyMistake("model", f"a causal masking scheme needs model=decoder, lstm or mlp; found {model}")
    if rules == {"bidirectional"} and "bidirectional" not in c.model.attention:
        fix = "choose model=encoder, masking=gpt or masking=gpt_random"
        if hasattr(c.masking.train, "attend"):
            fix += ", or masking.train.attend=causal"
        raise KeyMistake("model", f"the {model.lower()} is causal, but {name} is bidirectional; {fix}")


def mixture_is_complete(c: TrainConfig) -> None:
    """A mixture needs schemes, and weights for all of them or for none."""
    scheme = c.masking.train
    if not isinstance(scheme, Mixture):
        return
    if not scheme.schemes:
        raise KeyMistake("masking.train.schemes", "a mixture needs at least one scheme")
    if scheme.weights is not None and (set(scheme.weights) != set(scheme.schemes) or sum(scheme.weights.values()) <= 0):
        names = ", ".join(scheme.schemes)
        raise KeyMistake("masking.train.weights", f"expected one weight for each of {names}; found {dict(scheme.weights)}")


def autoencoder_has_whole_tokens(c: TrainConfig) -> None:
    """An autoencoder drops tokens whole, so factors may not share one."""
    if isinstance(c.model, Autoencoder) and c.tokens.by == "timestep":
        raise KeyMistake(
            "tokens.by",
            "the autoencoder drops hidden tokens whole and needs a token per factor; choose tokens=interleaved or per_factor",
        )


def goals_come_first(c: TrainConfig) -> None:
    """Goals in front of a window are for causal schemes that read states."""
    if c.dataset.sampling.goal_frames:
        key, rules = "dataset.sampling.goal_frames", {s.attention for s in _schemes(c.masking.train)}
        if rules != {"causal"}:
            raise KeyMistake(key, "puts goals in front of causal windows; bidirectional models learn goals by masking=goal")
        if "state" not in c.tokens.inputs or "return" in c.tokens.inputs:
            raise KeyMistake(key, f"needs tokens of states and none of returns; found tokens.inputs={list(c.tokens.inputs)}")
        if c.model.episode_limit is not None:
            raise KeyMistake(key, "goals have no timestep inside the episode; choose model.timesteps=none")


def chunks_are_causal(c: TrainConfig) -> None:
    """Chunks of actions are predicted from the past, and by the action's head alone."""
    if c.head.state.vq.chunk > 1 or c.head.return_.vq.chunk > 1:
        raise KeyMistake("head.state.vq.chunk", "only actions are predicted in chunks")
    if c.head.action.kind == "vq" and c.head.action.vq.chunk > 1:
        if {s.attention for s in _schemes(c.masking.train)} != {"causal"}:
            raise KeyMistake("head.action.vq.chunk", "chunks of actions need a causal scheme, e.g. masking=vqbet")
        if c.env.discrete:
            raise KeyMistake("head.action.vq.chunk", f"the actions of env={c.env.name} are classes, predicted one at a time")
        if c.tokens.pieces or c.tokens.split:
            raise KeyMistake("head.action.vq.chunk", "chunks are of whole actions; leave tokens.split and tokens.pieces empty")


def heads_divide_width(c: TrainConfig) -> None:
    """Attention heads split the width evenly."""
    n_embd, n_head = getattr(c.model, "n_embd", 1), getattr(c.model, "n_head", 1)
    if n_embd % n_head:
        raise KeyMistake("model.n_embd", f"must be a multiple of model.n_head; found {n_embd} and {n_head}")


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
    for scheme in _schemes(c.masking.train):
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
    for scheme in _schemes(c.masking.train):
        if isinstance(scheme, NamedTask) and scheme.at is not None and scheme.name in NEVER_AT[scheme.at]:
            raise KeyMistake("masking.train.at", f"task '{scheme.name}' asks nothing at the {scheme.at} timestep of a window")


def timesteps_fit_episodes(c: TrainConfig) -> None:
    """Embeddings of the timestep must reach to the end of the episodes that are generated."""
    limit, horizon = c.model.episode_limit, getattr(c.env, "horizon", None)
    if limit is not None and horizon is not None and horizon > limit:
        raise KeyMistake("model.max_timesteps", f"episodes of env.horizon={horizon} have no embedding beyond {limit}; raise it")


def returns_can_be_shown(c: TrainConfig) -> None:
    """Returns-to-go can only be shown where there are any."""
    if c.masking.returns in (None, "none"):
        return
    if c.dataset.returns.mode == "none":
        raise KeyMistake("masking.returns", "shows returns-to-go, but dataset.returns.mode is none")
    if "return" not in c.tokens.inputs:
        raise KeyMistake("masking.returns", f"shows returns-to-go, but tokens.inputs has only {', '.join(c.tokens.inputs)}")


def tasks_can_be_asked(c: TrainConfig) -> None:
    """A task may only show roles that are tokens."""
    tasks = c.masking.tasks
    if "return" in tasks and c.dataset.returns.mode == "none":
        raise KeyMistake("masking.tasks", "task 'return' needs returns-to-go, but dataset.returns.mode is none")
    for task, role in (("return", "return"), ("forward_dynamics", "action"), ("last_state", "action")):
        if task in tasks and role not in c.tokens.inputs:
            raise KeyMistake(
                "masking.tasks", f"task '{task}' shows the {role}, but tokens.inputs has only {', '.join(c.tokens.inputs)}"
            )


def tokens_have_inputs(c: TrainConfig) -> None:
    """Something must become a token, and bins need whole actions."""
    if not c.tokens.inputs:
        raise KeyMistake("tokens.inputs", "expected at least one of return, goal, prompt, state, action; found none")
    if c.tokens.pieces and c.tokens.by == "dimension":
        raise KeyMistake("tokens.pieces", "tokens.by=dimension makes every scalar a token already; leave one of them out")
    if c.tokens.by == "dimension" and c.head.action.kind in ("bins", "vq"):
        raise KeyMistake(
            "head.action.kind", f"{c.head.action.kind} span all action dimensions and cannot predict tokens of one dimension"
        )


def heads_fit_factors(c: TrainConfig) -> None:
    """Regression is for numbers, classes are for classes."""
    discrete = c.env.discrete
    for role, head in (("action", c.head.action), ("state", c.head.state), ("return", c.head.return_)):
        fitting = ("auto", "categorical", "bins", "vq") if discrete else NUMERIC_HEADS
        if head.kind not in fitting:
            nature = "discrete" if discrete else "continuous"
            problem = f"the {role} of env={c.env.name} is {nature}; expected {', '.join(fitting)}; found {head.kind}"
            raise KeyMistake(f"head.{role}.kind", problem)
        if head.kind == "given_bins" and head.values is None:
            raise KeyMistake(f"head.{role}.values", "kind=given_bins needs the values that cells may take, in rising order")


def starts_from_one_run(c: TrainConfig) -> None:
    """Each seed starts from one trained run; one that goes on from its own checkpoint needs it no more."""
    if c.model.load_dir is not None:
        seeds = c.experiment.num_cv_runs
        for i in range(seeds):
            if c.resume is None or not has_checkpoint(Path(c.resume) / (f"cv_{i}" if seeds > 1 else "")):
                saved_config(start_of_seed(c.model.load_dir, i, seeds), "model.load_dir")


def environment_is_here(c: TrainConfig | EvalConfig | RolloutConfig) -> None:
    """CARLA has a name, and a message that says what it needs."""
    if isinstance(c.env, Carla):
        raise KeyMistake("env", NEEDS)


def seed_is_one_of_the_runs(c: TrainConfig) -> None:
    """A seed that is trained alone must be one of those of the run."""
    index, seeds = c.experiment.cv_run_idx, c.experiment.num_cv_runs
    if index is not None and 1 < seeds <= index:
        raise KeyMistake("experiment.cv_run_idx", f"found {index}; experiment.num_cv_runs={seeds} has 0 to {seeds - 1}")


def seeds_can_be_stacked(c: TrainConfig) -> None:
    """Seeds trained as one model share a process, a device and a log."""
    if c.trainer.stack_seeds is True and c.experiment.num_cv_runs > 1:
        reason = why_not_stacked(c)
        if reason is not None:
            raise KeyMistake("trainer.stack_seeds", f"{reason}; choose auto or false")


def why_not_stacked(c: TrainConfig) -> str | None:
    """None, or the setting that keeps the seeds of a run from being trained as one model."""
    if c.trainer.devices > 1 or c.trainer.strategy == "ddp":
        return "trainer=ddp trains one model on several devices"
    if c.trainer.profile:
        return "trainer.profile records one run"
    if c.logger.name == "wandb":
        return "logger=wandb logs one run at a time"
    return None


def name_is_a_folder(c: TrainConfig | EvalConfig | RolloutConfig) -> None:
    """The name of an experiment becomes a folder."""
    name = c.experiment.name
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise KeyMistake("experiment.name", f"names a folder below the run folders; found '{name}'")


def data_is_there(c: TrainConfig | EvalConfig) -> None:
    """Recorded episodes must exist before anything starts."""
    path = c.dataset.path
    if path is not None and not any((Path(folder) / path).exists() for folder in (".", c.experiment.data_root)):
        raise KeyMistake("dataset.path", f"'{path}' does not exist; null generates episodes with the environment's expert")


def normalise_fits_factors(c: TrainConfig) -> None:
    """Classes have no scale."""
    if c.env.discrete:
        for role, kind in c.dataset.normalise.items():
            if kind != "none":
                problem = f"the {role} of env={c.env.name} is discrete; expected none, found {kind}"
                raise KeyMistake(f"dataset.normalise.{role}", problem)


def split_fits_episodes(c: TrainConfig | EvalConfig) -> None:
    """The parts of a split may not exceed the episodes."""
    split, total = c.dataset.split, c.dataset.generate.episodes
    parts = (split.train, split.validation, split.test)
    if parts.count(None) > 1:
        raise KeyMistake("dataset.split", "only one of train, validation and test may be null (the rest)")
    counts = [p if isinstance(p, int) else int(p * total) for p in parts if p is not None]
    if c.dataset.path is None and (sum(counts) > total or (None in parts and sum(counts) == total)):
        raise KeyMistake("dataset.split", f"asks for {sum(counts)} episodes or more of dataset.generate.episodes={total}")
    if sum(p for p in parts if isinstance(p, float)) > 1:
        raise KeyMistake("dataset.split", "fractions add up to more than 1")


def labels_take_turns(c: TrainConfig) -> None:
    """Alternating batches need both kinds of episodes, and no passes over all windows."""
    unlabelled = c.dataset.unlabelled
    if unlabelled.ratio is None:
        return
    if not unlabelled.keep:
        raise KeyMistake("dataset.unlabelled.ratio", "dataset.unlabelled.keep=false leaves nothing to alternate with")
    if c.experiment.num_prior_epochs is not None:
        raise KeyMistake("dataset.unlabelled.ratio", "alternating batches have no epochs; give experiment.num_steps instead")


def query_is_complete(c: TrainConfig | EvalConfig | RolloutConfig) -> None:
    """A query has the target that it needs, and a history that fits the window."""
    query: Query | None = c.query
    if query is None:
        return
    if query.name == "return" and query.target is None:
        raise KeyMistake("query.target", "query 'return' needs a target: a number, expert or nearest")
    target = query.target
    if isinstance(target, str) and target not in ("expert", "nearest") and re.fullmatch(r"\d+(\.\d+)?%", target) is None:
        raise KeyMistake("query.target", f"expected a number, expert, nearest or a percentage such as 90%; found '{target}'")
    if query.mode == "two_stage" and query.name not in ("bc", "return"):
        raise KeyMistake("query.mode", f"two_stage plans for query=bc or return; found {query.name}")
    asked = {query.name, *(c.evaluation.rollout if isinstance(c, TrainConfig) else ())}
    if not asked & {"return", "return_two_stage"} and target is not None:
        raise KeyMistake("query.target", f"query '{query.name}' takes no target; found {query.target}")
    window = window_of(c) if isinstance(c, TrainConfig) else c.dataset.window
    if query.history is not None and query.history > window:
        raise KeyMistake("query.history", f"{query.history} timesteps do not fit the window of {window}")


def one_thing_is_asked(c: EvalConfig) -> None:
    """A query and a list of tasks both say which losses to report."""
    if c.query is not None and c.tasks is not None:
        raise KeyMistake("tasks", f"query={c.query.name} reports the loss of its own task; give either tasks or query")


def text_goes_with_text(c: TrainConfig) -> None:
    """Text games are learnt by a text scheme and a language model, and nothing else is."""
    scheme, model = type(c.masking.train), type(c.model)
    schemes = {type(s) for s in _schemes(c.masking.train)}
    if c.env.text and schemes != {TextScheme}:
        raise KeyMistake("masking", f"env={c.env.name} is a text game; expected masking=text_bc or another text_* scheme")
    if c.env.text and model is not LanguageModel:
        raise KeyMistake("model", f"env={c.env.name} is a text game; expected model=text_gpt_s or another text_gpt_*")
    if not c.env.text and (TextScheme in schemes or model is LanguageModel):
        key = "masking" if scheme is TextScheme else "model"
        raise KeyMistake(key, f"env={c.env.name} is no text game, which this {key} is for")
    if c.env.text and c.experiment.num_cv_runs > 1:
        raise KeyMistake("experiment.num_cv_runs", "text models are trained one at a time; give experiment.seed")


def text_can_be_read(c: TrainConfig) -> None:
    """Fresh kitchens, stored rollouts, or both."""
    if c.text.kitchen < 1 and c.dataset.path is None:
        found = f"text.kitchen={c.text.kitchen:g}"
        raise KeyMistake("dataset.path", f"{found} leaves a share to stored rollouts; give their folder, e.g. data/text/expert")


def _window_key(c: TrainConfig) -> str:
    return "dataset.window" if c.experiment.window_size is None else "experiment.window_size"


#: Of training on text games, whose episodes are no windows.
TEXT_RULES: list[Callable[[Any], None]] = [
    environment_is_here,
    name_is_a_folder,
    text_goes_with_text,
    text_can_be_read,
    heads_divide_width,
]
RULES: dict[type, list[Callable[[Any], None]]] = {
    TrainConfig: [
        environment_is_here,
        name_is_a_folder,
        text_goes_with_text,
        data_is_there,
        split_fits_episodes,
        labels_take_turns,
        normalise_fits_factors,
        mixture_is_complete,
        attention_fits_model,
        autoencoder_has_whole_tokens,
        goals_come_first,
        chunks_are_causal,
        heads_divide_width,
        window_fits_episode,
        window_fits_masks,
        index_fits_task,
        timesteps_fit_episodes,
        returns_can_be_shown,
        tasks_can_be_asked,
        tokens_have_inputs,
        heads_fit_factors,
        starts_from_one_run,
        seed_is_one_of_the_runs,
        seeds_can_be_stacked,
        query_is_complete,
    ],
    EvalConfig: [
        environment_is_here,
        name_is_a_folder,
        data_is_there,
        split_fits_episodes,
        query_is_complete,
        one_thing_is_asked,
    ],
    RolloutConfig: [environment_is_here, name_is_a_folder, query_is_complete, policies_play_text],
}
