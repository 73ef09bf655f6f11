"""Asking a model for its next action: the named tasks of training, used as questions during a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from maskbench.errors import ConfigError, did_you_mean
from maskbench.masking.prompt import PromptRule
from maskbench.masking.scheme import MaskSet, Returns, cells
from maskbench.masking.tasks import NamedTask
from maskbench.models.heads.sampling import Sampling
from maskbench.tokens.layout import Attend, TokenLayout

#: Questions that a rollout can put, by what they need besides the history.
QUERIES = ("bc", "return", "goal", "waypoint", "multi_goal", "prompt", "future")
#: Queries that can be answered by one plan.
OPEN = ("goal", "multi_goal", "prompt")
#: Queries that show states which lie ahead.
AHEAD = ("goal", "waypoint", "multi_goal")


def waypoint_spacing(window: int) -> int:
    """Timesteps between waypoints: those of the ``waypoint`` task in windows of this length."""
    return max(1, window // 3)


@dataclass(frozen=True)
class Query:
    """What is asked at every step of a rollout.

    name:    ``bc`` continues the history; ``return`` also shows the return-to-go that is wanted; ``goal`` also shows the
             state that is wanted at the end of the budget; ``waypoint`` those that are wanted on the way, as far as they fall
             into the window; ``multi_goal`` those of MaskDP's protocol, likewise; ``prompt`` goes on from recorded steps that
             stand in front of the first one; ``future`` asks for all that follows at once and takes its first action.
    mode:    ``closed`` asks again after every step; ``open`` asks once for all actions up to the goal and plays them;
             ``two_stage`` asks, at every step, for the states ahead and then for the action that leads there (MTM).
    history: past timesteps kept in front of the current one. None keeps what the window holds; when the budget is longer
             than the window, none under ``goal``, and under ``waypoint`` what leaves room for two waypoints ahead; none under
             ``two_stage``.
    temperature, greedy, top_k, top_p, spread, offsets: how actions are drawn (``Sampling``).
    commit_steps: steps for which a drawn bin (component, code, class) is held; its offset is that of the current step.
    commit_legacy: adds the offset of a bin that is drawn anew at every step to the held bin's centre, as the BeT study's
             ``action_update_every`` does.
    action_batch: independent draws at every step, of which one, chosen at random, is played: the same distribution as one
             draw, but all of them can be looked at (``ModelPolicy.cloud``).
    perturb, prompt: how instructions are changed, and what is shown of them (``tokens.perturb``, ``masking.prompt``).
    shuffle_slots: permutes the objects of every observation.
    """

    name: str = "bc"
    mode: Literal["closed", "open", "two_stage"] = "closed"
    history: int | None = None
    temperature: float = 1.0
    greedy: bool = False
    top_k: int | None = None
    top_p: float | None = None
    spread: float = 1.0
    offsets: bool = True
    commit_steps: int = 1
    commit_legacy: bool = False
    action_batch: int = 1
    perturb: tuple[str, ...] = ()
    prompt: PromptRule = field(default_factory=PromptRule)
    shuffle_slots: bool = False

    def __post_init__(self) -> None:
        if self.name not in QUERIES:
            raise ConfigError(f"no rollout query is called '{self.name}'. {did_you_mean(self.name, QUERIES)}")
        if self.mode == "open" and self.name not in OPEN:
            raise ConfigError(f"query.mode=open plans once: it needs query={', '.join(OPEN)}, not '{self.name}'")
        if self.mode == "two_stage" and self.name not in ("bc", "return"):
            raise ConfigError(f"query.mode=two_stage plans for query=bc or return, not '{self.name}'")
        if min(self.commit_steps, self.action_batch) < 1:
            found = f"{self.commit_steps} and {self.action_batch}"
            raise ConfigError(f"query.commit_steps and query.action_batch must be at least 1; found {found}")
        self.sampling  # noqa: B018 - refuses what cannot be drawn

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.greedy, self.top_k, self.top_p, self.spread, self.offsets)

    def most_visible(self, layout: TokenLayout) -> int:
        """Tokens that any row can show: the history, the current timestep and what is wanted. A bound that all rows share, so
        that a row's sums do not depend on how much its neighbours show."""
        if self.history is None or self.name in ("waypoint", "multi_goal", "prompt"):
            return layout.num_tokens
        roles = [{layout.spec.factors[c].role for c in stream.columns} for stream in layout.streams]
        now = sum(found != {"action"} for found in roles)  # the present action is asked for
        ahead = sum("state" in found for found in roles) if self.name == "goal" else 0
        return min(layout.num_tokens, len(roles) * self.history + now + ahead)

    def kept(self, window: int, budget: int) -> int:
        """Past timesteps that a row with this ``budget`` keeps in front of the current one."""
        if self.history is not None and self.name != "prompt":
            return min(self.history, window - 1)
        if self.mode == "two_stage":
            return 0
        if budget <= window or self.name not in AHEAD:
            return window - 1
        return 0 if self.name == "goal" else max(0, window - 1 - 2 * waypoint_spacing(window))

    def masks(self, now: Tensor, wanted: Tensor, layout: TokenLayout, attend: Attend, returns: Returns) -> MaskSet:
        """Masks for rows whose current timestep is ``now`` ``(B,)`` and that want given states at ``wanted`` ``(B, T)`` bool,
        all beyond ``now``.

        ``returns`` is how the model was shown returns-to-go in training: ``all`` asks with those up to now, anything else with
        the first of the window.
        """
        t = torch.arange(layout.length, device=now.device)[None]
        past = t <= now[:, None]
        every_return = self.name == "return" and returns in ("all", "all_half")
        if attend == "bidirectional":
            task = NamedTask(self.name if self.name in ("return", "future") else "bc")
            masks = replace(task.at(now + 1, layout), max_visible=self.most_visible(layout))
            if every_return:
                masks = replace(masks, visible=masks.visible | cells(layout, {"return": past}, len(now), now.device))
            if self.name in AHEAD:
                masks = replace(masks, visible=masks.visible | cells(layout, {"state": wanted}, len(now), now.device))
                if self.mode == "open":
                    planned = (t >= now[:, None]) & (t < (wanted * t).amax(1, keepdim=True))
                    masks = replace(masks, predict=cells(layout, {"action": planned}, len(now), now.device))
            return masks
        rules = {"state": past, "goal": past, "action": t < now[:, None]}
        if self.name == "return":
            rules["return"] = past if every_return else t == 0
        asked = cells(layout, {"action": t == now[:, None]}, len(now), now.device)
        return MaskSet(cells(layout, rules, len(now), now.device), asked, attend="causal")


def answerable(
    layout: TokenLayout,
    attend: Attend,
    returns: Returns,
    outputs: Sequence[str],
    environment_queries: Sequence[str],
    goal_frames: int = 0,
    saved_states: bool = False,
) -> dict[str, str | None]:
    """Per query None where model and environment can answer it, else the reason why not. A causal model can be asked for a
    goal where it learned with goals in front of its windows (``goal_frames``) or in its tokens. ``saved_states``: whether
    episodes can begin in recorded ones."""
    inputs = {f.role for f in layout.inputs}
    conditioned = "goal" in inputs
    acts = any(layout.spec[n].role == "action" for n in outputs)
    reasons: dict[str, str | None] = {}
    for name in QUERIES:
        reason = None
        if not acts:
            reason = "the model predicts no actions"
        elif name in ("return", "goal") and name not in environment_queries:
            reason = "the environment gives it nothing to ask for"
        elif name == "return" and "return" not in inputs:
            reason = "returns-to-go are no part of the model's tokens"
        elif name == "return" and attend == "causal" and returns == "none":
            reason = "the model never saw a return-to-go in training"
        elif conditioned and name not in ("goal", "multi_goal"):
            reason = "the model reads a goal at every step"
        elif name in ("multi_goal", "prompt") and not saved_states:
            reason = "the environment cannot start inside a recorded episode"
        elif conditioned:
            reason = None
        elif (name in ("waypoint", "multi_goal") or (name == "goal" and not goal_frames)) and attend == "causal":
            reason = f"a causal model cannot look ahead at a {name}"
        elif name == "future" and attend == "causal":
            reason = "a causal model is asked for one step at a time (bc)"
        elif name in AHEAD and "state" not in inputs:
            reason = "states are no part of the model's tokens"
        reasons[name] = reason
    return reasons
