"""Acting from a sequence model: keep each episode's recent cells, ask by mask, decode the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from maskbench.data.goals import state_of
from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskSet, Returns
from maskbench.models.sequence import SequenceModel
from maskbench.policies.drawing import Drawing
from maskbench.policies.queries import Query
from maskbench.policies.two_stage import check_two_stage, foresee
from maskbench.tokens.layout import Attend
from maskbench.trajectory import Factor, TrajectorySpec, Window, part_slice

if TYPE_CHECKING:
    from maskbench.rollout.plan import PlanRow


class Scaling(Protocol):
    """How the model's continuous values relate to the environment's (``data.normalise.Normaliser``)."""

    def apply(self, name: str, value: Tensor) -> Tensor: ...

    def invert(self, name: str, value: Tensor) -> Tensor: ...


#: Time steps that one unit of the time column of a return factor stands for (uniMASK ``-rct``).
TIME_DIVISOR = 1000.0


@dataclass(frozen=True)
class ReturnUnits:
    """A return factor holds rewards summed from here on, divided by ``scale`` and, under ``mean``, by the steps left of
    ``horizon`` (None: of the environment's)."""

    scale: float = 1.0
    mean: bool = False
    horizon: int | None = None


class ModelPolicy:
    """Plays a ``SequenceModel`` in many slots at once; one batched forward a step.

    spec:    factors as the environment gives them (the layout may have split some into parts).
    query:   what is asked at every step.
    attend, returns: how the model was trained. A bidirectional one that learnt from all returns, averages of future rewards,
             is shown the wanted average in every timestep, whatever was earned meanwhile (MTM's RCBC; unimask.md section 6.3).
    units:   how its return-to-go factor was made from rewards.
    horizon: steps of an episode, the budget of rows that set none.
    goal_frames: timesteps in front of every window that show the goal (``data.goals``); nothing where none is asked for.
    length:  timesteps of the windows that it is asked with, where not those of its training (``SequenceModel.stretches``).

    A model whose tokens hold a goal (``data.goals.TokenGoals``) is shown the one that is due next, and nothing from before the
    last one was due (MaskDP spec 3.2).
    """

    def __init__(
        self,
        model: SequenceModel,
        spec: TrajectorySpec,
        scaling: Scaling,
        query: Query,
        attend: Attend,
        returns: Returns,
        horizon: int,
        num_slots: int,
        units: ReturnUnits,
        goal_frames: int = 0,
        length: int | None = None,
    ) -> None:
        self.model, self.spec, self.scaling, self.query = model.eval(), spec, scaling, query
        self.steady = attend == "bidirectional" and returns == "all" and units.mean
        self.attend, self.horizon, self.units = attend, horizon, units
        self.returns = returns
        self.layout = model.layout if length is None else model.layout.with_length(length)
        self.goals = [f for f in self.layout.inputs if f.role == "goal"]
        if query.mode == "open" and attend == "causal":
            raise ConfigError("query.mode=open asks for all actions at once; a causal model is asked for one step at a time")
        if query.mode == "two_stage":
            check_two_stage(model, attend, query.history or 0)
        self.device = next(model.parameters()).device
        self.actions = [f for f in self.layout.spec.with_role("action") if f.name in model.outputs]
        k = self.layout.length
        self.cells: dict[str, Tensor] = {f.name: _blank(self._observed(f), num_slots, k, self.device) for f in self.layout.spec}
        self.wanted_at = torch.full((num_slots, 0), -1, dtype=torch.long, device=self.device)
        self.wanted_states: dict[str, Tensor] = {f.name: _blank(f, num_slots, 0, self.device) for f in self._states}
        self.lead = goal_frames
        self.led = torch.zeros(num_slots, dtype=torch.bool, device=self.device)
        self.keep = torch.zeros(num_slots, dtype=torch.long, device=self.device)
        self.now = torch.full((num_slots,), -1, dtype=torch.long, device=self.device)
        self.time = np.zeros(num_slots, np.int64)
        self.budget = np.zeros(num_slots, np.int64)
        self.wanted = np.zeros(num_slots, np.float64)
        self.drawing = Drawing(query, num_slots)
        self.plans: dict[int, np.ndarray] = {}

    @property
    def _states(self) -> tuple[Factor, ...]:
        return tuple(self._observed(f) for f in self.layout.spec.with_role("state"))

    def _observed(self, f: Factor) -> Factor:
        """The factor as the environment shows it: more objects may lie there than in training."""
        return self.spec[f.name] if f.kind == "objects" else f

    def reset(self, slots: np.ndarray, rows: Sequence[PlanRow]) -> None:
        """Starts an episode in each slot; its noise comes from the row's policy seed alone."""
        at = torch.as_tensor(slots, device=self.device)
        for cell in self.cells.values():
            cell[at] = 0
        self.now[at] = self.lead - 1
        self.time[slots] = 0
        k = self.layout.length
        for slot, row in zip(slots, rows, strict=True):
            slot = int(slot)
            self.budget[slot] = row.budget or self.horizon
            self.wanted[slot] = row.target_return if row.target_return is not None else 0.0
            self.drawing.reset(slot, row.policy_seed)
            self.plans.pop(slot, None)
            wishes = self._wishes(row, int(self.budget[slot]))
            self._recall(slot, row)
            if self.lead:
                self.keep[slot] = min(self.lead + (self.query.history if self.query.history is not None else k), k - 1)
                self._lead_by(slot, wishes[1], row.approach or {})
            else:
                self.keep[slot] = self.query.kept(k, int(self.budget[slot]))
                self._want(slot, wishes)
            # positions beyond only completed the chunks of the others in training
            self.keep[slot] = min(int(self.keep[slot]), k - max(self.model.head(f.name).chunk for f in self.actions))

    def _wishes(self, row: PlanRow, budget: int) -> tuple[Sequence[int], Mapping[str, np.ndarray]]:
        """Times and states ``(W, *shape)`` that the query shows ahead; a goal is one at the end of the budget."""
        if self.query.name == "goal" and row.goal is not None:
            return [budget], {name: np.asarray(value)[None] for name, value in row.goal.items()}
        if self.query.name in ("waypoint", "multi_goal") and row.waypoints is not None:
            return row.waypoints.times.tolist(), row.waypoints.states
        return [], {}

    def _recall(self, slot: int, row: PlanRow) -> None:
        """Shows what happened before the episode begins."""
        if self.query.name != "prompt" or row.context is None:
            return
        shown = len(next(iter(row.context.values())))
        if shown >= self.layout.length:
            raise ConfigError(f"a prompt of {shown} timesteps leaves no room in a window of {self.layout.length}")
        for f in (*self._states, *self.layout.spec.with_role("action")):
            if f.parent in row.context:
                self.cells[f.name][slot, :shown] = self._to_model(f, torch.as_tensor(row.context[f.parent]))
        self.now[slot] = shown - 1

    def _want(self, slot: int, wishes: tuple[Sequence[int], Mapping[str, np.ndarray]]) -> None:
        """Keeps what a slot's episode wants, in model units; entries that are not asked for (NaN) are taken as zero in the
        environment's units."""
        times, states = wishes
        more = len(times) - self.wanted_at.shape[1]
        if more > 0:
            n = len(self.wanted_at)
            self.wanted_at = torch.cat([self.wanted_at, self.wanted_at.new_full((n, more), -1)], 1)
            for f in self._states:
                self.wanted_states[f.name] = torch.cat([self.wanted_states[f.name], _blank(f, n, more, self.device)], 1)
        self.wanted_at[slot] = -1
        self.wanted_at[slot, : len(times)] = torch.tensor(times, dtype=torch.long, device=self.device)
        for f in self._states:
            self.wanted_states[f.name][slot] = 0
            if f.parent in states:
                values = torch.nan_to_num(torch.as_tensor(np.asarray(states[f.parent])))
                self.wanted_states[f.name][slot, : len(times)] = self._to_model(f, values)

    def _lead_by(self, slot: int, goal: Mapping[str, np.ndarray], approach: Mapping[str, np.ndarray]) -> None:
        """Shows a goal, states ``(1, *shape)``, behind the states that led there, ``(n, *shape)``, in front of the window.
        Where these are too few or unknown the first one stands in every timestep before; nothing does where no goal is."""
        self.led[slot] = bool(goal)
        for f in self._states:
            if f.parent in goal:
                states = np.concatenate([approach[f.parent], goal[f.parent]]) if approach else goal[f.parent]
                frames = torch.nan_to_num(torch.as_tensor(states[-self.lead :]))
                values = self._to_model(f, frames)
                self.cells[f.name][slot, : self.lead] = values[:1]
                self.cells[f.name][slot, self.lead - len(values) : self.lead] = values

    def _to_model(self, f: Factor, value: Tensor) -> Tensor:
        """Values of the factor that ``f`` is (a part of), ``(n, ...)``, to model units."""
        if f.kind == "discrete":
            return value.long().to(self.device)
        if f.kind in ("image", "objects"):
            return value.to(self.device)
        part = value.float()[..., part_slice(self.spec[f.parent], f.name)]
        return self.scaling.apply(f.name, part.to(self.device))

    def act(self, observations: Mapping[str, np.ndarray], slots: np.ndarray) -> np.ndarray:
        """Actions ``(n, *shape)`` in the environment's units for the current observations of ``slots``."""
        with torch.no_grad():
            self._push(observations, slots)
            if self.query.mode == "open":
                return self._follow_plan(slots)
            at = torch.as_tensor(slots, device=self.device)
            if self.goals:
                self._show_goals(at, slots)
            values = {n: c[at] for n, c in self.cells.items()}
            window, masks = self._question(values, at, slots)
            if self.query.mode == "two_stage":
                window, masks = foresee(self.model, window, masks)
            drawn: dict[str, Tensor] = {}
            self.drawing.step(slots)
            for group in self._rounds():
                params = self._answer(window, masks, [f.name for f in group], self.now[at])
                for f in group:
                    cell = self.drawing.draw(f.name, self.model.head(f.name), params[f.name][:, 0], slots)
                    drawn[f.name] = cell
                    self.cells[f.name][at, self.now[at]] = cell
                    window.values[f.name][torch.arange(len(at), device=self.device), self.now[at]] = cell  # type: ignore[index]
                    masks.visible[torch.arange(len(at), device=self.device), self.now[at], self.layout.column(f.name)] = True
            self.time[slots] += 1
            return self._to_environment(drawn)

    @property
    def cloud(self) -> np.ndarray:
        """Every action drawn at the latest step, ``(n, query.action_batch, *shape)`` in the environment's units: the
        "ensembles" of the BeT study. One of them was played."""
        return self._to_environment(self.drawing.clouds)

    def record(self, slots: np.ndarray, rewards: np.ndarray) -> None:
        """The return that is still wanted falls by what was earned."""
        if not self.steady:
            self.wanted[slots] -= rewards

    def _answer(self, window: Window, masks: MaskSet, only: list[str], now: Tensor) -> dict[str, Tensor]:
        """Parameters at the current timesteps ``now`` ``(n,)``. Behind a goal or the end of a prompt there is padding, which a
        model of any window length is spared: rows are asked together with those that are as long, so that the shape of a row's
        question depends on itself alone."""
        valid = window.valid
        alone = valid is None or not self.model.stretches or self.model.cuts_padding(window)
        if valid is None or alone or not bool((valid[:, :-1] >= valid[:, 1:]).all()):
            return self.model(window, masks, only=only, at=now)  # type: ignore[no-any-return]
        lengths = valid.sum(1)
        parts: list[tuple[Tensor, dict[str, Tensor]]] = []
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            values = {name: value[rows, :length] for name, value in window.values.items()}
            start = None if window.start is None else window.start[rows]
            some = replace(masks, visible=masks.visible[rows, :length], predict=masks.predict[rows, :length])
            parts.append((rows, self.model(Window(values, None, start), some, only=only, at=now[rows])))
        order = torch.cat([rows for rows, _ in parts]).argsort()
        return {name: torch.cat([found[name] for _, found in parts])[order] for name in only}

    def _rounds(self) -> list[list[Factor]]:
        """Action factors that are drawn together. A causal model whose action is several tokens draws them one by one."""
        sequential = self.attend == "causal" and len(self.layout.streams) > 1 and len(self.actions) > 1
        return [[f] for f in self.actions] if sequential else [self.actions]

    def _push(self, observations: Mapping[str, np.ndarray], slots: np.ndarray) -> None:
        """Writes the current state and return-to-go, shifting windows that are full."""
        at = torch.as_tensor(slots, device=self.device)
        full = at[self.now[at] >= self.keep[at]]
        for cell in self.cells.values():
            cell[full, self.lead :] = torch.roll(cell[full, self.lead :], -1, dims=1)
        self.now[at] = torch.minimum(self.now[at] + 1, self.keep[at])
        for f in self._states:
            self.cells[f.name][at, self.now[at]] = self._to_model(f, torch.as_tensor(np.asarray(observations[f.parent])))
        for f in self.layout.spec.with_role("return"):
            self.cells[f.name][at, self.now[at]] = self._return_cell(f, self.wanted[slots], self.time[slots])

    def _show_goals(self, at: Tensor, slots: np.ndarray) -> None:
        """Writes the goal that is due next into every timestep; once another one is, what came before is forgotten."""
        time = torch.as_tensor(self.time[slots], device=self.device)[:, None]
        due = self.wanted_at[at]
        which = (due > time).int().argmax(1)  # after the last one is due, it stays
        over = ~(due > time).any(1)
        which = torch.where(over, (due >= 0).sum(1) - 1, which).clamp(min=0)
        turned = (due[:, :-1] == time).any(1) & ~over & (time[:, 0] > 0) if due.shape[1] > 1 else torch.zeros_like(over)
        for slot in at[turned].tolist():
            here = int(self.now[slot])
            for cell in self.cells.values():
                cell[slot] = torch.cat([cell[slot, here : here + 1], torch.zeros_like(cell[slot, 1:])])
            self.now[slot] = 0
        for goal in self.goals:
            states = self.wanted_states[state_of(goal.name)]
            self.cells[goal.name][at] = states[at, which][:, None].expand_as(self.cells[goal.name][at])

    def _return_cell(self, f: Factor, wanted: np.ndarray, time: np.ndarray) -> Tensor:
        """Cells ``(n, *shape)`` of a return ``wanted`` ``(n,)`` at step ``time`` ``(n,)`` of the episode."""
        if f.classes is not None:
            return torch.as_tensor(np.clip(np.rint(wanted) + f.offset, 0, f.classes - 1)).long().to(self.device)
        whole = self.spec[f.parent]
        if self.units.mean:
            steps = self.units.horizon or self.horizon
            wanted = wanted / (steps if self.steady else np.maximum(steps - time, 1))
        columns = np.stack([wanted / self.units.scale, time / TIME_DIVISOR], 1)[:, : whole.width]
        return self._to_model(f, torch.as_tensor(columns))

    def _question(self, values: dict[str, Tensor], at: Tensor, slots: np.ndarray) -> tuple[Window, MaskSet]:
        """The window and masks that put the query to the model."""
        now, k = self.now[at], self.layout.length
        time = torch.as_tensor(self.time[slots], device=self.device)
        ahead = self.wanted_at[at] - time[:, None]
        place = now[:, None] + ahead
        if self.query.name == "goal":  # one beyond the window stands at its end
            place = place.clamp(max=k - 1)
        there = (ahead > 0) & (place > now[:, None]) & (place < k) & (not self.goals)
        row, which = torch.nonzero(there, as_tuple=True)
        wanted = torch.zeros(len(at), k, dtype=torch.bool, device=self.device)
        wanted[row, place[row, which]] = True
        for f in self._states:
            values[f.name][row, place[row, which]] = self.wanted_states[f.name][at[row], which]
        masks = self.query.masks(now, wanted, self.layout, self.attend, self.returns)
        if self.steady and self.query.name == "return":
            masks = self._show_every_return(values, masks, now, slots)
        valid = None
        if self.lead:
            is_goal = torch.tensor([f.role == "state" for f in self.layout.spec], device=self.device)
            masks.visible[:, : self.lead] &= (self.led[at, None] & is_goal)[:, None]
        elif self.query.name in ("goal", "multi_goal") and self.attend == "bidirectional":
            t = torch.arange(k, device=self.device)[None]
            end = torch.where(wanted.any(1), (wanted * t).amax(1), k - 1)
            valid = t <= end[:, None]
        elif self.query.name == "prompt" and self.attend == "bidirectional":
            left = torch.as_tensor(self.budget[slots], device=self.device) - time
            valid = torch.arange(k, device=self.device)[None] < (now + left)[:, None]
        return Window(values, valid, start=time - now), masks

    def _show_every_return(self, values: dict[str, Tensor], masks: MaskSet, now: Tensor, slots: np.ndarray) -> MaskSet:
        """Writes the wanted average reward into every timestep of the window, and shows it (MTM)."""
        k = self.layout.length
        ahead = np.arange(k)[None] - now.cpu().numpy()[:, None]
        time, wanted = self.time[slots][:, None] + ahead, np.repeat(self.wanted[slots], k)
        for f in self.layout.spec.with_role("return"):
            values[f.name] = self._return_cell(f, wanted, time.ravel()).unflatten(0, (len(slots), k))
            masks.visible[:, :, self.layout.column(f.name)] = True
        return replace(masks, max_visible=self.layout.num_tokens)

    def _follow_plan(self, slots: np.ndarray) -> np.ndarray:
        """Plans the whole episode for slots that have no plan yet; plays the plans of all."""
        fresh = np.array([s for s in slots if int(s) not in self.plans], dtype=np.int64)
        if len(fresh):
            at = torch.as_tensor(fresh, device=self.device)
            window, masks = self._question({n: c[at] for n, c in self.cells.items()}, at, fresh)
            params = self.model(window, masks, only=[f.name for f in self.actions])
            plan = self._to_environment({f.name: self.model.head(f.name).mode(params[f.name]) for f in self.actions})
            for slot, row, first in zip(fresh, plan, self.now[at].tolist(), strict=True):
                self.plans[int(slot)] = row[first:]
        plans, step = [self.plans[int(s)] for s in slots], self.time[slots].copy()
        self.time[slots] += 1
        return np.stack([plan[min(i, len(plan) - 1)] for plan, i in zip(plans, step, strict=True)])

    def _to_environment(self, drawn: Mapping[str, Tensor]) -> np.ndarray:
        """Action cells ``(n, ...)`` in model units, parts put together, to the environment's units."""
        whole = self.spec[self.actions[0].parent]
        if whole.kind == "discrete":
            return drawn[whole.name].cpu().numpy()
        parts = [self.scaling.invert(f.name, drawn[f.name]) for f in self.actions]
        return torch.cat(parts, -1).float().cpu().numpy()


def _blank(f: Factor, num_slots: int, length: int, device: torch.device) -> Tensor:
    shape = (num_slots, length) if f.kind == "discrete" else (num_slots, length, *f.shape)
    dtypes = {"discrete": torch.long, "image": torch.uint8, "objects": torch.uint8}
    return torch.zeros(shape, dtype=dtypes.get(f.kind, torch.float32), device=device)
