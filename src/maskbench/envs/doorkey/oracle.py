"""Exact inference over key-door trajectories: the lowest loss that any model can expect on any mask.

Generated trajectories come from a hidden Markov model with known tables: joint state ``h_t``, action ``a_t ~ policy(h_t)``,
``h_{t+1} = successor(h_t, a_t)``. Visible positions and actions are evidence at their own step. Returns-to-go telescope,
``rtg_t = distance(h_t) - distance(h_T)``, so with the final distance ``d`` fixed they are evidence at their own step as well;
rows that show one are summed over ``d``. The loss is that of uniMASK's
validation matrix: cross-entropy averaged over the predicted cells of a factor, then summed over factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from maskbench.envs.doorkey.env import DoorKey
from maskbench.errors import EnvError, did_you_mean

INFERRED = ("state", "state_key", "action", "rtg")
#: Floats per (state, action, row) block, chosen to stay in the processor's cache.
_BLOCK = 2**17


class Oracle:
    """Forward-backward over the joint states of ``env`` under its own data policy, batched over rows (float64)."""

    def __init__(self, env: DoorKey) -> None:
        self.env = env
        self._world = tables = env.world
        self._states = len(tables.agent)
        self._policy = tables.policy(env.beta)[:, :, None]
        edges = np.arange(self._states * 4)
        #: (S, 4 S): adds what flows along every (state, action) edge into the edge's successor.
        self._gather = sparse.csr_array((np.ones(len(edges)), (tables.successor.ravel(), edges)), (self._states, len(edges)))
        self._start = np.zeros((self._states, 1))
        self._start[tables.starts] = 1 / len(tables.starts)
        self._finals = np.unique(tables.distance)

    def cell_losses(
        self,
        values: Mapping[str, np.ndarray],
        visible: np.ndarray,
        factors: Sequence[str],
        targets: Sequence[str] = ("state", "state_key", "action"),
    ) -> dict[str, np.ndarray]:
        """``-log p(true value | all visible cells)`` of every cell of ``targets``, each ``(B, T)`` float64 nats.

        values:  ``(B, T)`` class indices of each of ``factors``; ``T`` is the whole episode.
        visible: ``(B, T, F)`` bool, last axis in the order of ``factors``.
        targets: any of state, state_key, action and rtg (rtg costs one pass for each possible final distance).
        Visible cells cost 0. Raises EnvError where the visible cells cannot occur together.
        """
        visible = self._checked(values, visible, factors, targets)
        column = {name: i for i, name in enumerate(factors)}
        shown = {n: visible[:, :, column[n]] if n in column else np.zeros(visible.shape[:2], bool) for n in INFERRED}
        data = {n: np.asarray(values[n], np.int64) for n in INFERRED if n in values}
        rows, finals = self._hypotheses(data, shown, "rtg" in targets)
        mass = {n: np.zeros(visible.shape[:2]) for n in targets}
        evidence = np.zeros(len(visible))
        block = max(1, _BLOCK // (4 * self._states))
        for first in range(0, len(rows), block):
            row, final = rows[first : first + block], finals[first : first + block]
            part = self._smooth({n: v[row] for n, v in data.items()}, {n: v[row] for n, v in shown.items()}, final, targets)
            np.add.at(evidence, row, part.pop("evidence"))
            for name, joint in part.items():
                np.add.at(mass[name], row, joint.T)
        if not (evidence > 0).all():
            raise EnvError(
                f"rows {np.flatnonzero(evidence <= 0)[:5].tolist()} show cells that cannot occur together in {self.env.name}"
            )
        with np.errstate(divide="ignore"):
            return {n: np.maximum(np.log(evidence)[:, None] - np.log(m), 0.0) for n, m in mass.items()}

    def floor(
        self, values: Mapping[str, np.ndarray], visible: np.ndarray, predict: np.ndarray, factors: Sequence[str]
    ) -> dict[str, float]:
        """Mean loss over the predicted cells of each predicted factor, and their sum ``total``.

        predict: ``(B, T, F)`` bool as ``visible``. Return-to-go is reported where predicted but, having loss weight 0 in
        every published run, it is no part of ``total``.
        """
        predict = np.asarray(predict, bool)
        targets = [n for i, n in enumerate(factors) if predict[:, :, i].any()]
        losses = self.cell_losses(values, visible, factors, targets)
        means = {n: float(losses[n][predict[:, :, list(factors).index(n)]].mean()) for n in targets}
        return {**means, "total": sum(v for n, v in means.items() if n != "rtg")}

    def _checked(
        self, values: Mapping[str, np.ndarray], visible: np.ndarray, factors: Sequence[str], targets: Sequence[str]
    ) -> np.ndarray:
        for name in targets:
            if name not in INFERRED:
                raise EnvError(f"the oracle cannot infer '{name}'. {did_you_mean(name, INFERRED)}")
        visible = np.asarray(visible, bool)
        if visible.ndim != 3 or visible.shape[1:] != (self.env.horizon, len(factors)):
            expected = f"(B, {self.env.horizon}, {len(factors)})"
            raise EnvError(f"the oracle reads whole episodes: expected visible of shape {expected}; found {visible.shape}")
        needed = {n for i, n in enumerate(factors) if n in INFERRED and visible[:, :, i].any()} | set(targets)
        for name in needed:
            if name not in values or np.shape(values[name]) != visible.shape[:2]:
                found = np.shape(values[name]) if name in values else "nothing"
                raise EnvError(f"the oracle needs values['{name}'] of shape {visible.shape[:2]}; found {found}")
        return visible

    def _hypotheses(
        self, data: Mapping[str, np.ndarray], shown: Mapping[str, np.ndarray], every_row: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of (row, final distance) to sum over; -1 stands for "any" in rows that show no return-to-go."""
        conditioned = np.asarray(shown["rtg"].any(1) | every_row)
        possible = np.repeat(conditioned[:, None], len(self._finals), 1)
        both = shown["rtg"] & shown["state"]
        if both.any():  # a state shown beside its return-to-go all but names the final distance
            row, t = np.nonzero(both)
            position_distance = np.zeros(self._world.goal + 1, np.int64)
            position_distance[self._world.agent] = self._world.distance
            distance = position_distance[data["state"][row, t]]
            fits = self.env.rtg_class(distance[:, None] - self._finals) == data["rtg"][row, t][:, None]
            np.logical_and.at(possible, row, fits)
        row, column = np.nonzero(possible)
        free = np.flatnonzero(~conditioned)
        return np.concatenate([free, row]), np.concatenate([np.full(len(free), -1), self._finals[column]])

    def _smooth(
        self, data: Mapping[str, np.ndarray], shown: Mapping[str, np.ndarray], final: np.ndarray, targets: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Probability of the evidence ``(b,)`` and, per target, of evidence and true value together ``(T, b)``."""
        tables, horizon = self._world, self.env.horizon
        distance = tables.distance[:, None]
        rtg = self.env.rtg_class(distance - final)
        own = {"state": tables.agent[:, None], "state_key": tables.key[:, None], "rtg": rtg}
        likelihood = np.ones((horizon + 1, self._states, len(final)))
        for name, have in own.items():
            for t in np.flatnonzero(shown[name].any(0)).tolist():
                likelihood[t] *= (have == data[name][:, t]) | ~shown[name][:, t]
        likelihood[horizon] = (distance == final) | (final < 0)

        forward = [self._start * likelihood[0]]
        flows = []
        for t in range(horizon):
            flow = forward[t][:, None, :] * self._policy
            if shown["action"][:, t].any():
                flow *= (np.arange(4)[:, None] == data["action"][:, t]) | ~shown["action"][:, t]
            flows.append(flow)
            forward.append(self._gather @ flow.reshape(-1, len(final)) * likelihood[t + 1])

        out = {n: np.empty((horizon, len(final))) for n in targets}
        ahead = likelihood[horizon]  # p(evidence after the transition | state)
        for t in reversed(range(horizon)):
            edge = flows[t] * ahead[tables.successor]  # p(all evidence, h_t, a_t)
            if "action" in out:
                by_action = edge.sum(0)
                out["action"][t] = np.take_along_axis(by_action, data["action"][None, :, t], 0)[0]
            node = edge.sum(1)
            for name, have in own.items():
                if name in out:
                    out[name][t] = np.where(have == data[name][:, t], node, 0.0).sum(0)
            if t:
                ahead = self._behind(ahead, shown["action"][:, t], data.get("action"), t) * likelihood[t]
        return {**out, "evidence": node.sum(0)}

    def _behind(self, ahead: np.ndarray, shown: np.ndarray, action: np.ndarray | None, t: int) -> np.ndarray:
        """``p(evidence from action t on | h_t)`` from that of the successor."""
        weight = self._policy * ahead[self._world.successor]
        if action is not None and shown.any():
            weight *= (np.arange(4)[:, None] == action[:, t]) | ~shown
        return np.asarray(weight.sum(1))
