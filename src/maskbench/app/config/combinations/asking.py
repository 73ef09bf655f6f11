"""Queries that lack something, and players that do not fit the environment."""

from __future__ import annotations

import re

from maskbench.app.config.combinations.windows import window_of
from maskbench.app.config.decode import KeyMistake
from maskbench.app.config.schema import EvalConfig, RolloutConfig, TrainConfig
from maskbench.app.config.schema_play import Query


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


def policies_play_text(c: RolloutConfig) -> None:
    """People and baselines play text games; other environments are for models."""
    policy = c.policy
    if not c.env.text and policy.name != "model":
        raise KeyMistake("policy", f"{policy.name} plays text games, and env={c.env.name} is none; expected policy=model")
    if policy.name == "retrieval" and policy.data is None:
        raise KeyMistake("policy.data", "retrieval copies from rollouts; give their folder, e.g. data/text/expert")
    store = c.experiment.store
    if not re.fullmatch(r"[\w.+-]+", store):
        raise KeyMistake("experiment.store", f"names a folder: letters, digits and ._+- only; found '{store}'")
