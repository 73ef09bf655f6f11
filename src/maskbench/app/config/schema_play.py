"""Schemas of acting: what a model is asked, who plays, under which protocol, and how it is judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from maskbench.app.config.decode import Bound
from maskbench.app.config.schema_data import Change
from maskbench.app.config.schema_masking import PromptRule, TaskName

Count = Annotated[int, Bound(least=1)]
CountOrNone = Annotated[int, Bound(least=0)]
Positive = Annotated[float, Bound(above=0)]
NonNegative = Annotated[float, Bound(least=0)]


@dataclass(frozen=True)
class Query:
    """What the model is asked in a rollout."""

    name: TaskName | Literal["multi_goal", "prompt"]
    mode: Literal["closed", "open", "two_stage"]
    history: CountOrNone | None
    #: A number, ``expert``, ``nearest``, or a percentage of the range of the data's returns (``90%``).
    target: float | str | None
    temperature: Positive
    greedy: bool
    # runs of earlier versions do not have these
    top_k: Count | None = None
    top_p: Annotated[float, Bound(above=0, most=1)] | None = None
    spread: NonNegative = 1.0
    offsets: bool = True
    commit_steps: Count = 1
    commit_legacy: bool = False
    action_batch: Count = 1
    references: tuple[Literal["nearest", "lwr"], ...] = ()
    #: Of ``prompt``: timesteps that are shown, and steps to go on for.
    context: Count = 5
    forecast: Count = 20
    perturb: tuple[Change, ...] = ()
    prompt: PromptRule = field(default_factory=PromptRule)
    shuffle_slots: bool = False
    #: Where goals come from; None = the environment's own, else ``near``.
    goals: Literal["own", "near", "demonstrated"] | None = None


@dataclass(frozen=True)
class Protocol:
    """How goals and prompts are taken from held-out episodes, and how long a model may try: the ``protocol`` group.

    Keys that end in ``_causal`` hold for baselines (causal models), the others for bidirectional ones.
    """

    name: Literal["fair", "paper", "code"]
    goal_steps: tuple[Count, Count]
    extra_steps: CountOrNone
    extra_steps_causal: CountOrNone
    waypoints: tuple[Count, ...]
    random_waypoints: bool
    grace: CountOrNone
    segment_steps_causal: CountOrNone
    judged: Literal["by_deadline", "segment", "episode"]
    judged_causal: Literal["by_deadline", "segment", "episode"]
    latest_start: Count | None
    latest_waypoint_start: Count | None
    prompt_start: CountOrNone
    history: CountOrNone | None


@dataclass(frozen=True)
class PolicyConfig:
    """Who plays: the ``policy`` group. All but ``model`` play text games."""

    name: Literal["model", "human", "random_admissible", "admissible_uniform", "expert", "walkthrough", "retrieval", "api"] = (
        "model"
    )
    filter: Literal["none", "gata"] = "gata"
    epsilon: Annotated[float, Bound(least=0, most=1)] = 0.0
    data: str | None = None
    loop_guard: Count | None = None
    meta: Literal["fixed", "best_of_n", "expectation_gate", "lookahead"] = "fixed"
    n: Count = 5
    rank_by: Literal["logprob", "value", "both"] = "both"
    beta: NonNegative = 1.0
    surprise: NonNegative = 3.0
    depth: CountOrNone = 0
    memory: Literal["none", "bm25"] = "none"
    memories: Count = 2
    labels: bool = True
    # of text models
    decode: Literal["greedy", "sample", "admissible", "trie"] = "admissible"
    rank: Literal["sum", "mean"] = "sum"
    temperature: NonNegative = 0.0
    condition: Literal["highest", "fixed", "tilt"] = "highest"
    value: CountOrNone = 9
    kappa: NonNegative = 5.0
    # of models that play by prompt: a chat endpoint, or a text model trained on pairs
    format: str = "hindsight_expectation_str"
    url: str = "https://api.openai.com/v1"
    engine: str | None = None


@dataclass(frozen=True)
class Metrics:
    """How rollouts are judged: the ``metrics`` group."""

    version: Literal["paper", "strict", "repstudy_legacy"]


#: What runs of earlier versions, which do not have these groups, were judged by.
PAPER = Metrics("paper")
FAIR = Protocol(
    name="fair",
    goal_steps=(14, 18),
    extra_steps=0,
    extra_steps_causal=0,
    waypoints=(12, 24, 36, 48, 60),
    random_waypoints=False,
    grace=0,
    segment_steps_causal=0,
    judged="by_deadline",
    judged_causal="by_deadline",
    latest_start=None,
    latest_waypoint_start=None,
    prompt_start=100,
    history=None,
)
