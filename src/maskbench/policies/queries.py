"""Asking a model for its next action: the named tasks of training, used as questions during a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from maskbench.errors import ConfigError, did_you_mean
from maskbench.masking.scheme import MaskSet, Returns, cells
from maskbench.masking.tasks import NamedTask
from maskbench.tokens.layout import Attend, TokenLayout

#: Questions that a rollout can put, by what they need besides the history.
QUERIES = ("bc", "return", "goal")


@dataclass(frozen=True)
class Query:
    """What is asked at every step of a rollout.

    name:    ``bc`` continues the history; ``return`` also shows the return-to-go that is wanted; ``goal`` also shows the
             state that is wanted at the end of the budget.
    mode:    ``closed`` asks again after every step; ``open`` asks once for all actions up to the goal and plays them;
             ``two_stage`` asks, at every step, for the states ahead and then for the action that leads there (MTM).
    history: past timesteps kept in front of the current one. None keeps what the window holds; under ``goal``, when the
             budget is longer than the window, and under ``two_stage`` none.
    temperature, greedy: how actions are drawn from stochastic heads.
    """

    name: str = "bc"
    mode: Literal["closed", "open", "two_stage"] = "closed"
    history: int | None = None
    temperature: float = 1.0
    greedy: bool = False

    def __post_init__(self) -> None:
        if self.name not in QUERIES:
            raise ConfigError(f"no rollout query is called '{self.name}'. {did_you_mean(self.name, QUERIES)}")
        if self.mode == "open" and self.name != "goal":
            raise ConfigError(f"open-loop plans end at a goal: query.mode=open needs query=goal, not '{self.name}'")
        if self.mode == "two_stage" and self.name not in ("bc", "return"):
            raise ConfigError(f"query.mode=two_stage plans for query=bc or return, not '{self.name}'")
        if self.temperature <= 0:
            raise ConfigError(
                f"query.temperature must be positive; found {self.temperature}. For the mode use query.greedy=true"
            )

    def most_visible(self, layout: TokenLayout) -> int:
        """Tokens that any row can show: the history, the current timestep and a goal. A bound that all rows share, so that a
        row's sums do not depend on how much its neighbours show."""
        timesteps = layout.length if self.history is None else self.history + 1 + (self.name == "goal")
        return min(layout.num_tokens, len(layout.streams) * timesteps)

    def masks(self, now: Tensor, goal_at: Tensor, layout: TokenLayout, attend: Attend, returns: Returns) -> MaskSet:
        """Masks for rows whose current timestep is ``now`` ``(B,)`` and whose goal lies at ``goal_at`` ``(B,)`` (a value not
        beyond ``now`` = none).

        ``returns`` is how the model was shown returns-to-go in training: ``all`` asks with those up to now, anything else with
        the first of the window.
        """
        t = torch.arange(layout.length, device=now.device)[None]
        if attend == "bidirectional":
            task = NamedTask("return" if self.name == "return" else "bc")
            masks = replace(task.at(now + 1, layout), max_visible=self.most_visible(layout))
            if self.name == "return" and returns == "all":
                seen = cells(layout, {"return": t <= now[:, None]}, len(now), now.device)
                masks = replace(masks, visible=masks.visible | seen)
            if self.name == "goal":
                shown = (t == goal_at[:, None]) & (goal_at > now)[:, None]
                masks = replace(masks, visible=masks.visible | cells(layout, {"state": shown}, len(now), now.device))
                if self.mode == "open":
                    planned = (t >= now[:, None]) & (t < goal_at[:, None])
                    masks = replace(masks, predict=cells(layout, {"action": planned}, len(now), now.device))
            return masks
        past = t <= now[:, None]
        rules = {"state": past, "action": t < now[:, None]}
        if self.name == "return":
            rules["return"] = past if returns == "all" else t == 0
        asked = cells(layout, {"action": t == now[:, None]}, len(now), now.device)
        return MaskSet(cells(layout, rules, len(now), now.device), asked, attend="causal")


def answerable(
    layout: TokenLayout, attend: Attend, returns: Returns, outputs: Sequence[str], environment_queries: Sequence[str]
) -> dict[str, str | None]:
    """Per query None where model and environment can answer it, else the reason why not."""
    inputs = {f.role for f in layout.inputs}
    acts = any(layout.spec[n].role == "action" for n in outputs)
    reasons: dict[str, str | None] = {}
    for name in QUERIES:
        reason = None
        if not acts:
            reason = "the model predicts no actions"
        elif name != "bc" and name not in environment_queries:
            reason = "the environment gives it nothing to ask for"
        elif name == "return" and "return" not in inputs:
            reason = "returns-to-go are no part of the model's tokens"
        elif name == "return" and attend == "causal" and returns == "none":
            reason = "the model never saw a return-to-go in training"
        elif name == "goal" and attend == "causal":
            reason = "a causal model cannot look ahead at a goal"
        elif name == "goal" and "state" not in inputs:
            reason = "states are no part of the model's tokens"
        reasons[name] = reason
    return reasons
