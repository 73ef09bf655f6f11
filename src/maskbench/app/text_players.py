"""Players of text games by name, and the games they play."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from maskbench.app.config.schema_env import EnvNode
from maskbench.app.config.schema_play import PolicyConfig
from maskbench.errors import ConfigError
from maskbench.policies.text_agents import TextAgent
from maskbench.policies.text_baselines import Expert, Noisy, RandomAdmissible, Retrieval
from maskbench.policies.text_meta import BestOfN, ExpectationGate, Lookahead, LoopGuard
from maskbench.policies.text_prompted import ChatCompletion, PromptedAgent
from maskbench.policies.text_search import Remembering
from maskbench.text.formats import get_format
from maskbench.text.rollout import read

#: Noise waits until the recipe was read; games without a cookbook have none to wait for.
RECIPE = "Recipe #"


def make_player(policy: PolicyConfig, recipe: bool = False) -> TextAgent:
    """The player that a configuration describes. ``recipe``: the game has one, which is read before noise sets in.

    Raises ConfigError for ``human``, who plays by ``maskbench.app.text_play``, and for ``model``.
    """
    agent: TextAgent
    if policy.name in ("random_admissible", "admissible_uniform"):
        agent = RandomAdmissible(policy.filter)
    elif policy.name in ("expert", "walkthrough"):
        agent = Expert()
    elif policy.name == "retrieval":
        agent = Retrieval(read(Path(policy.data or "")))
    elif policy.name == "api":
        if policy.engine is None:
            raise ConfigError("policy=api needs the name of a model: policy.engine=<model>")
        form = get_format(policy.format)
        agent = PromptedAgent(ChatCompletion(policy.url, policy.engine, form, policy.temperature), form)
    else:
        raise ConfigError(f"policy={policy.name} is no player of its own")
    return wrapped(agent, policy, recipe)


def load_player(run: str, policy: PolicyConfig, recipe: bool = False) -> TextAgent:
    """The text model of a run folder, one game at a time."""
    from maskbench.app.text_train import load_text_model
    from maskbench.policies.text import Decoding, TextModelAgent

    model = load_text_model(run)
    names = ("decode", "rank", "temperature", "condition", "value", "kappa", "filter")
    decoding = Decoding(**{name: getattr(policy, name) for name in names})
    return wrapped(TextModelAgent(model.network, model.encoding, model.scheme, decoding), policy, recipe)


def wrapped(agent: TextAgent, policy: PolicyConfig, recipe: bool = False) -> TextAgent:
    """``agent`` with the memory, meta-policy, noise and loop guard that the configuration asks for."""
    if policy.memory == "bm25":
        agent = Remembering(agent, policy.memories)
    if policy.meta == "best_of_n":
        agent = BestOfN(agent, policy.n, policy.rank_by, policy.beta)
    elif policy.meta == "expectation_gate":
        agent = ExpectationGate(agent, policy.surprise)
    elif policy.meta == "lookahead":
        agent = Lookahead(agent, policy.n, policy.depth)
    if policy.epsilon:
        agent = Noisy(agent, policy.epsilon, RECIPE if recipe else "", policy.filter)
    return agent if policy.loop_guard is None else LoopGuard(agent, policy.loop_guard)


def with_what_it_needs(env: EnvNode, policy: PolicyConfig) -> EnvNode:
    """The environment, telling its teacher's commands or the admissible ones where the player cannot do without."""
    changes: dict[str, Any] = {}
    if policy.name in ("expert", "walkthrough") and hasattr(env, "expert"):
        changes["expert"] = True
    if (policy.name in ("random_admissible", "admissible_uniform") or policy.epsilon) and hasattr(env, "admissible"):
        changes["admissible"] = True
    return replace(env, **changes)


def has_recipe(env: EnvNode) -> bool:
    """Whether the game is one of cooking."""
    return env.target.rpartition(".")[2] in ("Cooking", "KitchenLite")
