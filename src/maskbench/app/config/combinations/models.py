"""Masking schemes, tokens, models and heads that do not fit each other."""

from __future__ import annotations

from collections.abc import Iterator

from maskbench.app.config.decode import KeyMistake
from maskbench.app.config.schema import TrainConfig
from maskbench.app.config.schema_masking import Mixture, SchemeNode
from maskbench.app.config.schema_model import Autoencoder

#: Heads of continuous factors.
NUMERIC_HEADS = ("auto", "mse", "gaussian", "mdn", "bins", "vq", "uniform_bins", "given_bins", "poses")


def schemes(scheme: SchemeNode) -> Iterator[SchemeNode]:
    """The scheme, or those that a mixture holds."""
    if isinstance(scheme, Mixture):
        for child in scheme.schemes.values():
            yield from schemes(child)
    else:
        yield scheme


def attention_fits_model(c: TrainConfig) -> None:
    """A scheme and its model must follow the same attention rule."""
    rules = {s.attention for s in schemes(c.masking.train)}
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
        key, rules = "dataset.sampling.goal_frames", {s.attention for s in schemes(c.masking.train)}
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
        if {s.attention for s in schemes(c.masking.train)} != {"causal"}:
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
